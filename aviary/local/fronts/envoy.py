"""Envoy as the stack's router: its folder, its admin port, its statistics."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.names import ROUTES_NAME
from adapters.routers.envoy.router import EnvoyRouter
from aviary.local import configs, parts, probes
from aviary.local.fronts.front import ALL, Instances, PoolCount
from aviary.local.http1 import fetch
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildFailedError, ChildSpec

_HEALTH: Final = "/healthz"
_HEALTHY_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.05
# Without the metrics that nobody asks for a scrape is a twentieth of the size.
_METRICS: Final = "^cluster\\..*(upstream_rq|upstream_cx|membership|outlier_detection)"
_POOLS: Final = 'envoy_cluster_name=~"[^@/]+@[^/]+"'
_SUM: Final = "sum by (envoy_cluster_name)"
RULE: Final = configs.Rule(
    done=f"{_SUM} (envoy_cluster_upstream_rq_completed{{{_POOLS}}}#)",
    good=f'{_SUM} (envoy_cluster_upstream_rq_xx{{{_POOLS},envoy_response_code_class="2"}}#)',
    service='{{ reReplaceAll "@.*" "" $labels.envoy_cluster_name }}',
    # The pool's name has ~ for the dots of the version.
    version='{{ reReplaceAll "~" "." (reReplaceAll ".*@" "" $labels.envoy_cluster_name) }}',
)


class EnvoyFront:
    """Envoy.

    Args:
        folder: the stack's.
        ports: its ports.
        further_hosts: addresses to listen on beside loopback.
        health_path: what it asks instances for; None: a connection is enough.
        further_admins: admin ports of further Envoys; all listen on the same port, and the kernel
            gives each some of the connections.
    """

    title: Final = "Envoy"

    def __init__(
        self,
        folder: Path,
        ports: parts.Ports,
        *further_hosts: str,
        health_path: str | None = _HEALTH,
        further_admins: Sequence[int] = (),
    ) -> None:
        self._fleet = EnvoyFleet(folder / "envoy", health_path=health_path)
        self._health_path = health_path
        self._ports = ports
        self._admins = (ports.envoy_admin, *further_admins)
        self._further_hosts = further_hosts

    @property
    def addresses(self) -> Mapping[str, str]:
        """The admin port of each."""
        named = self._named("envoy_admin")
        return {name.replace("-", "_"): f"http://{LOOPBACK}:{port}" for name, port in named}

    def catalog(self) -> dict[str, Any]:
        """Its folder, its admin port, and how it looks at instances."""
        admin = [*self.addresses.values()]
        document = {"kind": "envoy", "directory": str(self._fleet.directory), "admin": admin}
        return document | ({"health_path": self._health_path} if self._health_path else {})

    def scrape(self) -> dict[str, Any]:
        """Its own path, and what is asked for alone."""
        return {
            "job_name": "envoy",
            "static_configs": [{"targets": [f"{LOOPBACK}:{port}" for port in self._admins]}],
            "metrics_path": "/stats/prometheus",
            "params": {"filter": [_METRICS]},
        }

    def alert_rules(self) -> str:
        """From the counters of its clusters."""
        return configs.alert_rules(RULE)

    async def prepare(self, instances: Instances) -> Sequence[ChildSpec]:
        """Write its files: pools and first routes, which it finds as it starts."""
        fleet, ports = self._fleet, self._ports
        specs = []
        for name, admin in self._named("envoy"):
            bootstrap = await asyncio.to_thread(
                fleet.bootstrap, admin, ports.envoy, further_hosts=self._further_hosts
            )
            spec = parts.envoy(replace(ports, envoy_admin=admin), bootstrap)
            specs.append(replace(spec, name=name))
        pools = [_pool(service, version, port) for (service, version), port in instances.items()]
        await asyncio.to_thread(fleet.set_pools, pools)
        async with httpx.AsyncClient() as client:
            router = EnvoyRouter(fleet.directory, [*self.addresses.values()], client=client)
            for service, version in instances:
                await router.register(service, version)
        return specs

    async def begin(self, instances: Instances) -> None:
        """Wait until it sees all healthy."""
        await self._until_healthy([_pool(*name, port) for name, port in instances.items()])

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Write the pool, and wait until it is healthy."""
        pool = _pool(service, version, port)
        await asyncio.to_thread(self._fleet.put_pool, pool)
        await self._until_healthy([pool])

    async def take_down(self, service: str, version: str) -> None:
        """Drop the pool."""
        await asyncio.to_thread(self._fleet.drop_pool, service, version)

    async def routed(self, service: str) -> dict[str, int]:
        """As its configuration says.

        Pools that a request must ask for (header, cookie) are left out. Where a pool has a
        fallback, the pool counts.
        """
        path = "/config_dump?resource=dynamic_route_configs"
        response = await fetch(self._ports.envoy_admin, path)
        for entry in json.loads(response.body).get("configs", []):
            config = entry.get("route_config", {})
            if config.get("name") == ROUTES_NAME:
                return weights_in(config, service)
        return {}

    async def counts(self) -> Mapping[str, PoolCount]:
        """The counters of clusters, of all together."""
        path = "/stats?format=json&filter=^cluster\\..*\\.upstream_rq_(completed|5xx)$"
        values: dict[str, Counter[str]] = {}
        for admin in self._admins:
            response = await fetch(admin, path)
            for stat in json.loads(response.body)["stats"]:
                _, *pool, name = stat.get("name", ".").split(".")
                if len(pool) == 1:  # not the part of it that was internal, or external
                    values.setdefault(pool[0], Counter())[name] += int(stat["value"])
        return defaultdict(lambda: PoolCount(0, 0)) | {
            pool: PoolCount(found["upstream_rq_completed"], found["upstream_rq_5xx"])
            for pool, found in values.items()
        }

    async def _until_healthy(self, pools: Sequence[Pool]) -> None:
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        for name, admin in self._named("envoy"):
            missing = {pool.name for pool in pools}
            while missing := await probes.unhealthy_pools(admin, missing):
                if time.monotonic() > deadline:
                    raise ChildFailedError(
                        f"{name}: sees no healthy instance of {', '.join(sorted(missing))} "
                        f"after {_HEALTHY_WITHIN_S:g} s"
                    )
                await asyncio.sleep(_POLL_S)

    def _named(self, name: str) -> list[tuple[str, int]]:
        """The admin ports, by a name that says whose each is."""
        first, *others = self._admins
        return [(name, first), *((f"{name}-{n}", port) for n, port in enumerate(others, start=2))]


def weights_in(config: Mapping[str, Any], service: str) -> dict[str, int]:
    """Read a route configuration as `routed` does."""
    host = next((h for h in config.get("virtual_hosts", []) if h["name"] == service), None)
    if host is None:
        return {}
    # The last route is the one without conditions.
    action = host["routes"][-1]["route"]
    if "cluster" in action:
        return {_bare(action["cluster"]): ALL}
    weighted = action["weighted_clusters"]["clusters"]
    return {_bare(item["name"]): int(item.get("weight", 0)) for item in weighted}


def _bare(cluster: str) -> str:
    return cluster.partition("/")[0]


def _pool(service: str, version: str, port: int) -> Pool:
    return Pool(service=service, version=version, endpoints=((LOOPBACK, port),))
