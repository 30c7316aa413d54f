"""A real Envoy on free loopback ports, and the services behind it."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from tests.contract.routers.served import Served
from tests.contract.routers.wire import Instances

_names = itertools.count(1)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveEnvoy(Served):
    """One Envoy of a fleet."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        instances: Instances,
        port: int | None = None,
        countries: Path | None = None,
    ) -> None:
        self._binary = binary
        self._instances = instances
        self.fleet = EnvoyFleet(directory)
        self.admin_port, self.port = free_port(), port or free_port()
        self._config = self.fleet.bootstrap(self.admin_port, self.port, countries=countries)
        super().__init__(self.admin_url, directory / "envoy.log", ("/ready", "LIVE"))

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def twin(self) -> LiveEnvoy:
        """Another Envoy on the same files and the same port."""
        return LiveEnvoy(self._binary, self.fleet.directory, self._instances, self.port)

    def command(self) -> list[str]:
        """With two threads, beside others on one machine."""
        flags = ["--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warning"]
        return [str(self._binary), "-c", str(self._config), *flags]

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
