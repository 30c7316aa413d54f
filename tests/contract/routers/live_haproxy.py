"""A real HAProxy on free loopback ports, and the services behind it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from adapters.routers.haproxy.folder import HaproxyFolder, Pool
from tests.contract.routers.live import free_port
from tests.contract.routers.names import new_name
from tests.contract.routers.wire import Instances
from tests.unpacked import environment, unpacked

_MAIN = """\
global
    stats socket {admin} mode 600 level admin expose-fd listeners
    stats socket ipv4@127.0.0.1:{tcp} level admin
    hard-stop-after 30s
    nbthread 2

frontend exporter
    mode http
    timeout client 10s
    bind 127.0.0.1:{metrics}
    http-request use-service prometheus-exporter
"""


def haproxy_root() -> Path:
    """Where HAProxy is unpacked.

    Raises:
        DebianError: it can't be had here.
    """
    return unpacked("haproxy", "haproxy")


class LiveHaproxy:
    """One HAProxy with a master, as `systemd` runs it; `restart` kills it as a crash would."""

    def __init__(
        self,
        root: Path,
        directory: Path,
        instances: Instances,
        port: int | None = None,
        name: str = "one",
    ) -> None:
        self._root = root
        self._instances = instances
        self.folder = HaproxyFolder(directory)
        self.tcp, self.metrics, self.port = free_port(), free_port(), port or free_port()
        self._run = directory / f"run-{name}"
        files = self.folder.prepare(f"127.0.0.1:{self.port}")
        self._run.mkdir(exist_ok=True)
        main = self._run / "haproxy.cfg"
        main.write_text(_MAIN.format(admin=self.stats, tcp=self.tcp, metrics=self.metrics))
        self._files = (main, *files)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def stats(self) -> str:
        return str(self._run / "admin.sock")

    @property
    def master(self) -> str:
        return str(self._run / "master.sock")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def twin(self) -> LiveHaproxy:
        """Another HAProxy on the same folder and the same port."""
        return LiveHaproxy(self._root, self.folder.directory, self._instances, self.port, "other")

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self._run / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._root / "usr/sbin/haproxy"), *self.words()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment(self._root)),
                start_new_session=True,
            )
        self.wait_for("show info", "Uptime_sec")
        # A master that is not there yet misses a signal.
        self.wait_for("show proc", "worker", self.master)

    def words(self) -> list[str]:
        """What its program is told."""
        files = [arg for file in self._files for arg in ("-f", str(file))]
        return ["-W", "-S", self.master, *files]

    def stop(self) -> None:
        """Kill it, and its workers with it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on the same files."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have it read its files again, and wait for the new worker."""
        before = self.worker()
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 20
        while self.worker() in {before, ""}:
            assert time.monotonic() < deadline, f"no new worker; see {self._run}/haproxy.log"
            time.sleep(0.02)
        self.wait_for("show proc", "worker", self.master)

    def worker(self) -> str:
        """Process id of the one that answers on the stats socket; empty while none does."""
        lines = self.ask("show info").splitlines()
        return next((line[5:] for line in lines if line.startswith("Pid: ")), "")

    def add_service(self, *versions: str, length: int = 0) -> str:
        """Put up a service under a new name, with one instance of each version."""
        service = new_name(length)
        for version in versions:
            self.folder.put_pool(self.pool(service, version))
        self.reload()
        for version in versions:
            self.wait_until_up(service, version)
        return service

    def pool(self, service: str, version: str, *ports: int) -> Pool:
        """One version on these ports, or on that of its instance."""
        found = ports or (self._instances.port(version),)
        endpoints = tuple(("127.0.0.1", port) for port in found)
        return Pool(service=service, version=version, endpoints=endpoints)

    def instance_ports(self, version: str, count: int) -> list[int]:
        """Ports of so many instances that answer with a version; HAProxy is not told."""
        return [self._instances.port(version, number) for number in range(count)]

    def wait_until_up(self, service: str, version: str) -> None:
        """Wait until an instance was found healthy."""
        name = self.pool(service, version).name
        self.wait_for(f"show stat {name} 4 -1", ",L4OK,")

    def ask(self, command: str, address: str = "") -> str:
        """The answer on the stats socket, or another; empty while there is none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(address or self.stats)
                client.sendall(f"{command}\n".encode())
                client.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()
            except OSError:
                return ""

    def wait_for(self, command: str, text: str, address: str = "") -> None:
        """Ask until the answer holds the text."""
        deadline = time.monotonic() + 20
        while text not in self.ask(command, address):
            assert time.monotonic() < deadline, f"HAProxy never said {text!r} at {command}"
            if self._process is not None:
                assert self._process.poll() is None, f"it ended; see {self._run}/haproxy.log"
            time.sleep(0.02)
