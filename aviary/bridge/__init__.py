"""The bridge: what Kafka brings becomes releases and signals in Temporal.

Here belongs what reads topics and hands on what it read, each record once in effect. What a release
does with it does not (`workflows`).
"""

from aviary.bridge.run import Beside, run_bridge

__all__ = ["Beside", "run_bridge"]
