"""Caddy with the split in a file that it reads at each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.ports import Router
from adapters.routers.caddy.router import Pace
from adapters.routers.caddy.values import value_of
from aviary.local.parts import caddy_program
from bench.sites.site import NEW, OLD, SERVICE, WITHIN_S, Site, rename
from schemas.route import Route
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.wire import Instances


class CaddySite:
    """Caddy; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveCaddy, router: Router) -> None:
        self._live = live
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One line."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        rename(self._live.folder.routes.folder / SERVICE, value_of(route))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)


@asynccontextmanager
async def caddy(folder: Path) -> AsyncIterator[Site]:
    """A running Caddy."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    with Instances() as instances:
        live = LiveCaddy(caddy_program(), folder, instances)
        for version in (OLD, NEW):
            live.folder.put_pool(live.pool(SERVICE, version))
        router = live.router(Pace(confirm_within=WITHIN_S, answer_within=WITHIN_S))
        try:
            await asyncio.to_thread(live.start)
            await router.apply(await router.register(SERVICE, OLD))
            yield CaddySite(live, router)
        finally:
            await router.aclose()
            await asyncio.to_thread(live.stop)
            live.clean()
