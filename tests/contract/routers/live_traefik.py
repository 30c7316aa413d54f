"""A real Traefik on free loopback ports, an etcd for it, and the services behind it."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from adapters.routers.files import write_whole
from adapters.routers.traefik.names import of_provider, pool_name
from adapters.routers.traefik.pools import Pool
from adapters.routers.traefik.store import flatten
from tests.contract.routers.live import free_port
from tests.contract.routers.served import Served
from tests.contract.routers.wire import Instances
from tests.unpacked import unpacked


def coded(text: str) -> str:
    """As etcd's gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


class Pools(Protocol):
    """Puts pools where the Traefik under test reads them."""

    def put(self, pool: Pool, *, first: bool = False) -> None: ...


class LiveTraefik(Served):
    """One Traefik.

    Args:
        binary: its program.
        folder: for its log.
        instances: what the pools are made of.
        provider: of its dynamic configuration, as its API names it.
        flags: that set the provider up.
        pools: writes for the provider.
        throttle: how long it waits between two configurations.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        instances: Instances,
        *,
        provider: str,
        flags: list[str],
        pools: Pools,
        throttle: str = "10ms",
    ) -> None:
        self._throttle = throttle
        self._binary = binary
        self._instances = instances
        self.provider = provider
        self._flags = flags
        self._pools = pools
        self.api_port, self.port = free_port(), free_port()
        super().__init__(self.api_url, folder / "traefik.log", ("/api/overview", "features"))

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def twin(self, folder: Path) -> LiveTraefik:
        """Another Traefik of the same provider, on ports of its own."""
        return LiveTraefik(
            self._binary,
            folder,
            self._instances,
            provider=self.provider,
            flags=self._flags,
            pools=self._pools,
        )

    def command(self) -> list[str]:
        """As the how-to says, on ports of its own."""
        return [
            str(self._binary),
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            f"--entryPoints.web.address=127.0.0.1:{self.port}",
            f"--entryPoints.traefik.address=127.0.0.1:{self.api_port}",
            "--api.insecure=true",
            "--metrics.prometheus.addServicesLabels=true",
            f"--providers.providersThrottleDuration={self._throttle}",
            "--log.level=ERROR",
            *self._flags,
        ]

    def add_version(self, service: str, version: str, *ports: int) -> None:
        """Put up one version, and wait until Traefik knows it."""
        self.put(service, version, *(ports or (self._instances.port(version),)))
        self.wait_for(self.pool_path(service, version), '"UP"')

    def instance_ports(self, version: str, count: int) -> list[int]:
        """Ports of so many instances that answer with a version; Traefik is not told."""
        return [self._instances.port(version, number) for number in range(count)]

    def put(self, service: str, version: str, *ports: int) -> None:
        """Give a version these instances."""
        servers = tuple(f"http://127.0.0.1:{port}" for port in ports)
        self._pools.put(Pool(service=service, version=version, servers=servers, health_path="/"))

    def put_first(self, pool: Pool) -> None:
        """Put a pool where Traefik finds it before all others."""
        self._pools.put(pool, first=True)

    def pool_path(self, service: str, version: str) -> str:
        """Path of a pool in the API."""
        return f"/api/http/services/{of_provider(pool_name(service, version), self.provider)}"

    def counted(self, service: str) -> dict[str, int]:
        """All requests of each of Traefik's services whose name begins so, as its metrics say."""
        found: dict[str, int] = {}
        for line in self.ask("/metrics").splitlines():
            if line.startswith("traefik_service_requests_total{"):
                name = line.partition('service="')[2].partition("@")[0]
                if name.startswith(f"{service}_"):
                    found[name] = found.get(name, 0) + int(float(line.rpartition(" ")[2]))
        return found


class EtcdPools:
    """Puts pools into etcd, as a pipeline might: with its JSON gateway."""

    def __init__(self, etcd: LiveEtcd) -> None:
        self._etcd = etcd

    def put(self, pool: Pool, *, first: bool = False) -> None:
        del first  # there is one key of a name
        self._etcd.put(flatten(pool.document))


class FilePools:
    """Puts pools into a folder, each in a file of its own, as a person might."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, pool: Pool, *, first: bool = False) -> None:
        name = pool_name(pool.service, pool.version)
        write_whole(self._folder / f"{'a' if first else 'of'}-{name}.yaml", pool.document)


class LiveEtcd(Served):
    """One etcd of Debian's package on free loopback ports."""

    def __init__(self, folder: Path) -> None:
        self._program = unpacked("etcd", "etcd-server") / "usr/bin/etcd"
        self._folder = folder
        self.port, self._peer_port = free_port(), free_port()
        super().__init__(self.url, folder / "etcd.log", ("/health", '"true"'))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """A cluster of one."""
        peer = f"http://127.0.0.1:{self._peer_port}"
        return [
            str(self._program),
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def put(self, entries: Mapping[str, str]) -> None:
        """Write keys below Traefik's root in one transaction."""
        changes = [
            {"request_put": {"key": coded(f"traefik/{name}"), "value": coded(value)}}
            for name, value in entries.items()
        ]
        assert self.post("kv/txn", {"success": changes})["succeeded"]

    def post(self, path: str, question: object) -> dict[str, object]:
        """Ask its JSON gateway."""
        body = json.dumps(question).encode()
        request = urllib.request.Request(f"{self.url}/v3/{path}", body, method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: dict[str, object] = json.loads(answer.read())
            return found
