"""The bridge: what Kafka brings becomes releases and signals in Temporal."""

from aviary.bridge.run import Beside, run_bridge

__all__ = ["Beside", "run_bridge"]
