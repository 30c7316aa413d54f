"""The bridge: what Kafka brings becomes releases and signals in Temporal."""

from aviary.bridge.run import run_bridge

__all__ = ["run_bridge"]
