"""What one node of Apache Kafka is started with, in KRaft mode."""

from __future__ import annotations

import base64
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aviary.local.kafka.programs import CLUSTER, write

_COMMON: Final = {
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": (
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL"
    ),
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    # A killed broker is known to be gone after two seconds, not nine.
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "2000",
    "replica.lag.time.max.ms": "5000",
    "num.network.threads": "2",
    "num.io.threads": "3",
    "log.cleaner.enable": "false",
}
_JAVA: Final = ("java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def prepare(folder: Path, jars: Path, number: int, properties: Mapping[str, str]) -> Path:
    """Make the log folder of a node, and the file that it is started with.

    Args:
        folder: the node's own, which is made.
        jars: what `programs.install` fetched.
        number: the node's id.
        properties: what differs from a small broker on loopback.

    Returns:
        The file.
    """
    data = folder / "data"
    data.mkdir(parents=True)
    shutil.copy(jars / "format/bootstrap.checkpoint", data)
    directory = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    identity = {"version": "1", "cluster.id": CLUSTER, "node.id": str(number)}
    write(data / "meta.properties", identity | {"directory.id": directory})
    told = {**_COMMON, "node.id": str(number), "log.dirs": str(data), **properties}
    file = folder / "server.properties"
    write(file, told)
    return file


def command(jars: Path, properties: Path) -> tuple[str, ...]:
    """What starts a node: a heap of at most 256 MB."""
    logged = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return (*_JAVA, logged, "-cp", f"{jars}/*", "kafka.Kafka", str(properties))
