"""The sentinel as a process: looks, again and again, and answers for its health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

import httpx
import structlog

from adapters.connections import Connection
from adapters.errors import Retryable
from adapters.kinds import Shared
from adapters.ports import Routing
from aviary.builds.identity import named_build
from aviary.catalog_watch import CatalogWatch
from aviary.connections import read_connections
from aviary.http import add_health, listen, make_app, serve
from aviary.kinds import registry as known_kinds
from aviary.registry import Registry
from aviary.routers import make_router
from aviary.sentinel.metrics import SentinelMetrics
from aviary.sentinel.sentinel import Sentinel, check
from aviary.settings import Settings
from aviary.telemetry.readiness import told
from aviary.telemetry.registry import new_registry
from schemas.router_spec import RouterSpec

_log = structlog.get_logger("aviary.sentinel")

EVERY_S: Final = 0.5
"""From one look to the next: with the write, it is what a canary may have beyond its lease."""
_HANGS_S: Final = 60.0
"""Without a look for so long, only another process can go on."""


class _Routers:
    """One router per specification, made when it is first asked for."""

    def __init__(
        self, kinds: Registry, connections: Mapping[str, Connection], shared: Shared
    ) -> None:
        self._kinds = kinds
        self._connections = connections
        self._shared = shared
        self._made: dict[RouterSpec, Routing] = {}

    def __call__(self, spec: RouterSpec) -> Routing:
        if spec not in self._made:
            self._made[spec] = make_router(spec, self._kinds, self._connections, self._shared)
        return self._made[spec]

    async def aclose(self) -> None:
        for made in self._made.values():
            await made.router.aclose()


class _Process:
    """A sentinel that runs, and how it is."""

    def __init__(self, sentinel: Sentinel) -> None:
        self._sentinel = sentinel
        self._looked_at: float | None = None
        self._fault = ""

    async def ready(self) -> None:
        """Raise `Retryable` with the reason while it does not see all leases."""
        await self.alive()
        if self._fault:
            raise Retryable(self._fault)
        if self._looked_at is None:
            raise Retryable("it has not looked yet")
        check(self._sentinel)

    async def alive(self) -> None:
        """Raise `Retryable` when its looks have come to a stand."""
        if self._looked_at is not None and time.monotonic() - self._looked_at > _HANGS_S:
            raise Retryable(f"no look in {_HANGS_S:g} s")

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`."""
        while not stop.is_set():
            try:
                await self._sentinel.look()
                self._fault = ""
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the watch
                if not self._fault:
                    _log.exception("look_failed")
                self._fault = f"{type(error).__name__}: {error}"
            self._looked_at = time.monotonic()
            try:
                await asyncio.wait_for(stop.wait(), EVERY_S)
            except TimeoutError:
                continue


async def run_sentinel(settings: Settings, stop: asyncio.Event) -> None:
    """Watch leases until `stop`; health and metrics are on `metrics_host`:`metrics_port`.

    It needs the routers and the catalog, and asks nothing of Temporal or Kafka.

    Raises:
        CatalogError: the catalog is not valid, and there was none before.
        OSError: the address for health and metrics is taken.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=5.0))
        registry = new_registry("sentinel")
        connections = read_connections(settings)
        catalog = CatalogWatch(settings.catalog, registry, connections)
        routers = _Routers(known_kinds(), connections, Shared(http))
        stack.push_async_callback(routers.aclose)
        process = _Process(Sentinel(routers, catalog.current, SentinelMetrics(registry)))
        app = make_app("Aviary sentinel", docs=settings.http_docs)
        build = named_build(settings)
        health = add_health(app, process.ready, registry, build=build, alive=process.alive)
        taken = listen(settings.metrics_host, settings.metrics_port)
        over = asyncio.Event()
        serving = asyncio.create_task(serve(health, taken, over, name="sentinel"))
        try:
            async with told(process.ready, registry, "sentinel"):
                _log.info("watching", catalog=str(settings.catalog))
                await process.run(stop)
        finally:
            over.set()
            await serving
