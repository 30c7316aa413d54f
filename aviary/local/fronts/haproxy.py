"""HAProxy as the stack's router: Debian's package, Aviary's folder, the master's socket."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.routers.envoy.names import pool_name
from adapters.routers.haproxy.folder import HaproxyFolder, Pool
from adapters.routers.haproxy.map_file import MAP, parse
from adapters.routers.haproxy.names import version_in
from adapters.routers.haproxy.router import HaproxyRouter, Pace
from adapters.routers.haproxy.values import route_of
from aviary.local import configs, parts, probes
from aviary.local.fronts.front import Instances, PoolCount
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildFailedError, ChildSpec
from aviary.local.unpacked import environment, unpacked
from schemas.deployment import Endpoint

_WITHIN_S: Final = 20.0
_HEALTH: Final = "/healthz"
_POLL_S: Final = 0.05
_POOLS: Final = 'proxy=~"[a-z0-9-]+:.*",proxy!~".*:apart"'
_SUM: Final = "sum by (proxy)"
_RULE: Final = configs.Rule(
    done=f"{_SUM} (haproxy_backend_http_responses_total{{{_POOLS}}}#)",
    good=f'{_SUM} (haproxy_backend_http_responses_total{{{_POOLS},code="2xx"}}#)',
    service='{{ reReplaceAll ":.*" "" $labels.proxy }}',
    version='{{ reReplaceAll "::" "+" (reReplaceAll "^[^:]*:" "" $labels.proxy) }}',
)
_MAIN: Final = """\
global
    stats socket {stats} mode 600 level admin expose-fd listeners
    hard-stop-after 10s
    nbthread 2

frontend exporter
    mode http
    timeout client 10s
    bind {host}:{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


class HaproxyFront:
    """HAProxy.

    Args:
        folder: the stack's.
        ports: its ports; those of Envoy are HAProxy's.
    """

    title: Final = "HAProxy"

    def __init__(self, folder: Path, ports: parts.Ports) -> None:
        self._folder = HaproxyFolder(folder / "haproxy")
        self._sockets = _sockets(folder)
        self._ports = ports

    @property
    def addresses(self) -> Mapping[str, str]:
        """What Prometheus reads, and the master's socket."""
        metrics = f"http://{LOOPBACK}:{self._ports.envoy_admin}/metrics"
        return {"haproxy_metrics": metrics, "haproxy_master": self._master}

    def catalog(self) -> dict[str, Any]:
        """Its folder and its master."""
        directory = str(self._folder.directory)
        options = {"sockets": [self._master], "health_path": _HEALTH}
        return {"kind": "haproxy", "directory": directory, **options}

    def scrape(self) -> dict[str, Any]:
        """Its own exporter: of backends alone, and without what nobody asks for."""
        return {
            "job_name": "haproxy",
            "static_configs": [{"targets": [f"{LOOPBACK}:{self._ports.envoy_admin}"]}],
            "params": {"scope": ["backend", "server"]},
        }

    def alert_rules(self) -> str:
        """From the counters of its backends."""
        return configs.alert_rules(_RULE)

    async def prepare(self, instances: Instances) -> Sequence[ChildSpec]:
        """Write its files, with all pools; the first routes it takes up while it runs."""
        root = await asyncio.to_thread(unpacked, "haproxy", "haproxy")
        directory = self._folder.directory
        files = await asyncio.to_thread(self._folder.prepare, f"{LOOPBACK}:{self._ports.envoy}")
        pools = [_pool(service, version, port) for (service, version), port in instances.items()]
        await asyncio.to_thread(self._folder.set_pools, pools)
        main = directory / "haproxy.cfg"
        metrics = self._ports.envoy_admin
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        text = _MAIN.format(stats=self._sockets / "admin.sock", host=LOOPBACK, metrics=metrics)
        main.write_text(text)
        words = [word for file in (main, *files) for word in ("-f", str(file))]
        return (
            ChildSpec(
                "haproxy",
                (str(root / "usr/sbin/haproxy"), "-W", "-S", self._master, *words),
                env={"LD_LIBRARY_PATH": environment(root)["LD_LIBRARY_PATH"]},
                probe=probes.http(metrics, "/metrics"),
            ),
        )

    async def begin(self, instances: Instances) -> None:
        """Wait until it sees all healthy, and give it the first routes."""
        await self._until_healthy([_pool(*name, port) for name, port in instances.items()])
        router = self._router()
        for service, version in instances:
            await router.apply(await router.register(service, version))

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Tell it where the version is, and wait until it is healthy."""
        there = [Endpoint(host=LOOPBACK, port=port)]
        await self._router().put_endpoints(service, version, there, 0)
        await self._until_healthy([_pool(service, version, port)])

    async def take_down(self, service: str, version: str) -> None:
        """Have it forget the version."""
        await self._router().drop_endpoints(service, version, 0)

    async def routed(self, service: str) -> dict[str, int]:
        """As its map has it."""
        text = await self._ask(f"@1 show map {self._folder.directory / MAP}")
        values = parse("\n".join(line.partition(" ")[2] for line in text.splitlines()))
        route = route_of(service, values.get(service, ""))
        arms = () if route is None else route.arms
        return {pool_name(service, arm.version): round(100 * arm.weight) for arm in arms}

    async def counts(self) -> Mapping[str, PoolCount]:
        """Its statistics; they begin again with each version that is put up or taken down."""
        found: defaultdict[str, PoolCount] = defaultdict(lambda: PoolCount(0, 0))
        for row in await self._statistics():
            service = row["pxname"].partition(":")[0]
            version = version_in(row["pxname"], service)
            if version is not None and row["svname"] == "BACKEND":
                done = sum(int(row[f"hrsp_{code}"]) for code in ("2xx", "3xx", "4xx", "5xx"))
                found[pool_name(service, version)] = PoolCount(done, int(row["hrsp_5xx"]))
        return found

    @property
    def _master(self) -> str:
        return str(self._sockets / "master.sock")

    def _router(self) -> HaproxyRouter:
        pace = Pace(endpoints_within=_WITHIN_S)
        sockets = [self._master]
        return HaproxyRouter(self._folder.directory, sockets, pace=pace, health_path=_HEALTH)

    async def _until_healthy(self, pools: Sequence[Pool]) -> None:
        missing = {pool.name for pool in pools}
        deadline = time.monotonic() + _WITHIN_S
        while missing := missing - await self._healthy():
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"haproxy: sees no healthy instance of {', '.join(sorted(missing))} "
                    f"after {_WITHIN_S:g} s"
                )
            await asyncio.sleep(_POLL_S)

    async def _healthy(self) -> set[str]:
        """Backends with an instance that was looked at and is up."""
        rows = await self._statistics()
        return {row["pxname"] for row in rows if row["check_status"] in {"L4OK", "L7OK"}}

    async def _statistics(self) -> list[dict[str, str]]:
        text = (await self._ask("@1 show stat -1 6 -1")).removeprefix("# ")
        return list(csv.DictReader(io.StringIO(text)))

    async def _ask(self, command: str) -> str:
        """The master's answer; empty while it is being reloaded, and takes nobody's call."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._master)
        except (ConnectionRefusedError, FileNotFoundError):
            return ""
        try:
            writer.write(f"{command}\n".encode())
            writer.write_eof()
            return (await reader.read()).decode()
        except ConnectionError:
            return ""
        finally:
            writer.close()


def _pool(service: str, version: str, port: int) -> Pool:
    return Pool(
        service=service, version=version, endpoints=((LOOPBACK, port),), health_path=_HEALTH
    )


def _sockets(folder: Path) -> Path:
    """Where the sockets of this stack are: HAProxy takes paths of at most 97 characters."""
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    return Path(tempfile.gettempdir()) / f"aviary-haproxy-{os.getuid()}-{digest[:8]}"
