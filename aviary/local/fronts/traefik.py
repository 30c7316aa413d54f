"""Traefik as the stack's router: its package, a folder of its file provider, its API."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.routers.envoy.names import pool_name
from adapters.routers.traefik.capabilities import FILE
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.names import of_provider, version_of
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from aviary.local import configs, parts, probes
from aviary.local.fronts.front import ALL, Instances, PoolCount
from aviary.local.http1 import fetch
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildFailedError, ChildSpec
from schemas.deployment import Endpoint

_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.05
_HEALTH: Final = "/healthz"
_ANSWERS: Final = "traefik_service_requests_total"
_POOLS: Final = 'service=~"[a-z0-9-]+_[^~]+@file"'
_SUM: Final = "sum by (service)"
_RULE: Final = configs.Rule(
    done=f"{_SUM} ({_ANSWERS}{{{_POOLS}}}#)",
    good=f'{_SUM} ({_ANSWERS}{{{_POOLS},code=~"2.."}}#)',
    service='{{ reReplaceAll "_.*" "" $labels.service }}',
    version='{{ reReplaceAll "^[^_]*_|@file$" "" $labels.service }}',
)
_SAMPLE: Final = re.compile(
    rf'^{_ANSWERS}{{code="(\d)\d\d",.*service="([a-z0-9-]+)_([^"~]+)@file"}} (\S+)$', re.MULTILINE
)


class TraefikFront:
    """Traefik.

    Args:
        folder: the stack's.
        ports: its ports; those of Envoy are Traefik's.
    """

    title: Final = "Traefik"

    def __init__(self, folder: Path, ports: parts.Ports) -> None:
        self._folder = folder / "traefik"
        self._ports = ports

    @property
    def addresses(self) -> Mapping[str, str]:
        """Its API."""
        return {"traefik_api": f"http://{LOOPBACK}:{self._ports.envoy_admin}"}

    def catalog(self) -> dict[str, Any]:
        """Its folder and its API."""
        api = [*self.addresses.values()]
        options = {"directory": str(self._folder), "api": api, "health_path": _HEALTH}
        return {"kind": "traefik-file", **options}

    def scrape(self) -> dict[str, Any]:
        """What it counts of its services."""
        return {
            "job_name": "traefik",
            "static_configs": [{"targets": [f"{LOOPBACK}:{self._ports.envoy_admin}"]}],
        }

    def alert_rules(self) -> str:
        """From the counters of its services."""
        return configs.alert_rules(_RULE)

    async def prepare(self, _: Instances) -> Sequence[ChildSpec]:
        """Make its folder; the versions are told to it while it runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        argv = (
            str(parts.traefik_program()),
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            f"--entryPoints.web.address={LOOPBACK}:{self._ports.envoy}",
            f"--entryPoints.traefik.address={LOOPBACK}:{self._ports.envoy_admin}",
            "--api.insecure=true",
            "--metrics.prometheus.addServicesLabels=true",
            "--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5",
            "--providers.providersThrottleDuration=10ms",
            f"--providers.file.directory={self._folder}",
            "--providers.file.watch=true",
            "--log.level=ERROR",
        )
        probe = probes.http(self._ports.envoy_admin, "/api/overview")
        return (ChildSpec("traefik", argv, probe=probe),)

    async def begin(self, instances: Instances) -> None:
        """Tell it where all are, and the first routes."""
        async with self._router() as router:
            for (service, version), port in instances.items():
                await self._put_up(router, service, version, port)
                await router.apply(await router.register(service, version))

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Tell it where the version is, and wait until it finds it healthy."""
        async with self._router() as router:
            await self._put_up(router, service, version, port)

    async def take_down(self, service: str, version: str) -> None:
        """Have it forget the version."""
        async with self._router() as router:
            await router.drop_endpoints(service, version, 0)

    async def routed(self, service: str) -> dict[str, int]:
        """As its API shows the split."""
        path = f"/api/http/services/{of_provider(service, FileStore.provider)}"
        found = json.loads((await fetch(self._ports.envoy_admin, path)).body)
        arms = found.get("weighted", {}).get("services", [])
        parts_of = {version_of(service, one["name"]): int(one["weight"]) for one in arms}
        all_ = sum(parts_of.values())
        return {
            pool_name(service, version): round(ALL * part / all_)
            for version, part in parts_of.items()
            if version is not None
        }

    async def counts(self) -> Mapping[str, PoolCount]:
        """Its counters of services."""
        response = await fetch(self._ports.envoy_admin, "/metrics")
        found: defaultdict[str, PoolCount] = defaultdict(lambda: PoolCount(0, 0))
        for class_, service, version, count in _SAMPLE.findall(response.body.decode()):
            name, more = pool_name(service, version), int(float(count))
            failed = more if class_ == "5" else 0
            found[name] = PoolCount(found[name].completed + more, found[name].failed + failed)
        return found

    async def _put_up(self, router: TraefikRouter, service: str, version: str, port: int) -> None:
        await router.put_endpoints(service, version, [Endpoint(host=LOOPBACK, port=port)], 0)
        deadline = time.monotonic() + _WITHIN_S
        while True:
            seen = (await router.instances(service) or {}).get(version)
            if seen is not None and seen.healthy:
                return
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"traefik: sees no healthy instance of {service} {version} "
                    f"after {_WITHIN_S:g} s"
                )
            await asyncio.sleep(_POLL_S)

    @asynccontextmanager
    async def _router(self) -> AsyncIterator[TraefikRouter]:
        router = TraefikRouter(
            FileStore(self._folder),
            [*self.addresses.values()],
            client=httpx.AsyncClient(),
            can=FILE,
            pace=Pace(confirm_within=_WITHIN_S, endpoints_within=_WITHIN_S),
            owns=True,
            health_path=_HEALTH,
        )
        try:
            yield router
        finally:
            await router.aclose()
