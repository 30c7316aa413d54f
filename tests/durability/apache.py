"""Apache Kafka itself: fetched once, then brokers that can be killed and started again."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

from aviary.local.debian import cache_folder
from aviary.local.kafka import nodes, programs
from aviary.local.kafka.programs import KafkaFetchError
from aviary.local.ports import FreePorts

PATIENCE_S: Final = 120.0
CONTROLLER: Final = 100


def install() -> Path:
    """Return the folder of Kafka's jars, fetched from Maven Central the first time.

    Where that can't be, the test is skipped with the reason; on CI (`CI` is set) it fails.
    """
    try:
        return programs.install(cache_folder(), lambda _: None)
    except KafkaFetchError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


class Node:
    """One Kafka process with a log folder of its own."""

    def __init__(
        self, folder: Path, jars: Path, number: int, properties: Mapping[str, str]
    ) -> None:
        self.number = number
        self._folder = folder / f"node-{number}"
        self._jars = jars
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = nodes.prepare(self._folder, jars, number, properties)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                nodes.command(self._jars, self._properties), stdout=log, stderr=subprocess.STDOUT
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
