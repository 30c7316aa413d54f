"""Apache Kafka itself: fetched once, then brokers that can be killed and started again."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

from aviary.local.debian import cache_folder
from aviary.local.ports import FreePorts

VERSION: Final = "4.1.1"
CLUSTER: Final = "AviaryDurabilityTestsA"
POM: Final = Path(__file__).with_name("pom.xml")
PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PATIENCE_S: Final = 120.0
CONTROLLER: Final = 100
COMMON: Final = {
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


def install() -> Path:
    """Return the folder of Kafka's jars, fetched from Maven Central the first time.

    Where that can't be, the test is skipped with the reason; on CI (`CI` is set) it fails.
    """
    folder = cache_folder() / f"kafka-{VERSION}"
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if "java" in missing or (missing and not folder.is_dir()):
        _give_up(f"not installed: {', '.join(missing)}")
    if not folder.is_dir():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        command = ["mvn", "-q", "-B", "-C", "-f", str(POM), PLUGIN, f"-DoutputDirectory={fresh}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            _give_up(f"Maven Central is out of reach: {(done.stdout or done.stderr)[-500:]}")
        _format(fresh)
        if not folder.is_dir():  # another run may have been quicker
            fresh.rename(folder)
    return folder


def _give_up(reason: str) -> None:
    text = f"Apache Kafka {VERSION}: {reason}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def _format(jars: Path) -> None:
    """Make the beginning of a log folder once; each node's is a copy with its own ids."""
    properties = jars / "format.properties"
    _write(
        properties,
        COMMON
        | {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@127.0.0.1:1",
            "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:1",
            "log.dirs": str(jars / "format"),
        },
    )
    told = ["-t", CLUSTER, "-c", str(properties)]
    command = ["java", "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", *told]
    subprocess.run(command, capture_output=True, timeout=120, check=True)


def _write(path: Path, properties: Mapping[str, str]) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


class Node:
    """One Kafka process with a log folder of its own."""

    def __init__(
        self, folder: Path, jars: Path, number: int, properties: Mapping[str, str]
    ) -> None:
        self.number = number
        self._folder = folder / f"node-{number}"
        self._jars = jars
        self._process: subprocess.Popen[bytes] | None = None
        data = self._folder / "data"
        data.mkdir(parents=True)
        shutil.copy(jars / "format" / "bootstrap.checkpoint", data)
        directory = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        identity = {"version": "1", "cluster.id": CLUSTER, "node.id": str(number)}
        _write(data / "meta.properties", identity | {"directory.id": directory})
        told = {**COMMON, "node.id": str(number), "log.dirs": str(data), **properties}
        _write(self._folder / "server.properties", told)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    *("-cp", f"{self._jars}/*", "kafka.Kafka"),
                    str(self._folder / "server.properties"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


class Cluster:
    """Kafka with one broker (which is its own controller) or with several and a controller."""

    def __init__(
        self,
        folder: Path,
        brokers: int,
        extra: Mapping[str, str] | None = None,
        *,
        also: str | None = None,
    ) -> None:
        """Make the folders; nothing runs yet.

        Args:
            folder: where logs and data go.
            brokers: how many.
            extra: properties of each broker.
            also: more listeners, comma-separated, where there is one broker.
        """
        jars = install()
        free = FreePorts()
        self.ports = {number: free.take() for number in range(1, brokers + 1)}
        quorum = free.take()
        alone = brokers == 1
        voter = 1 if alone else CONTROLLER
        shared = {"controller.quorum.voters": f"{voter}@127.0.0.1:{quorum}"} | {
            "offsets.topic.replication.factor": str(brokers),
            "min.insync.replicas": str(max(1, brokers - 1)),
        }
        control = f"CONTROLLER://127.0.0.1:{quorum}"
        self.brokers = {}
        for number, port in self.ports.items():
            plain = f"PLAINTEXT://127.0.0.1:{port}"
            listeners = [plain, *([control] if alone else []), *([also] if also else [])]
            own = {
                "process.roles": "broker,controller" if alone else "broker",
                "listeners": ",".join(listeners),
            }
            self.brokers[number] = Node(folder, jars, number, shared | own | dict(extra or {}))
        roles = {"process.roles": "controller", "listeners": control}
        self.controllers = [] if alone else [Node(folder, jars, CONTROLLER, shared | roles)]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def start(self, numbers: Iterable[int] = ()) -> None:
        """Start what does not run (of these brokers only), and wait until brokers answer."""
        wanted = set(numbers) or set(self.brokers)
        for node in (*self.controllers, *(self.brokers[number] for number in wanted)):
            if not node.running:
                node.start()
        end = time.monotonic() + PATIENCE_S
        for number in wanted:
            while not _listens(self.ports[number]):
                node = self.brokers[number]
                assert node.running, node.log()
                assert time.monotonic() < end, node.log()
                time.sleep(0.1)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            self.brokers[number].kill()

    def kill_all(self) -> None:
        for node in (*self.brokers.values(), *self.controllers):
            node.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
