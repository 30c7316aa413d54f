"""Traefik with its routes in files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from adapters.routers.traefik.capabilities import FILE, Sticky
from adapters.routers.traefik.document import Entrance, document
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from aviary.local.parts import traefik_program
from bench.sites.site import NEW, OLD, SERVICE, WITHIN_S, Site, rename
from schemas.route import Route
from tests.contract.routers.live_traefik import FilePools, LiveTraefik
from tests.contract.routers.wire import Instances

THROTTLE: Final = "10ms"
"""What the how-to says."""
_BY_ADDRESS: Final = Entrance(sticky=Sticky.ADDRESS)
"""Without, Traefik draws each request anew, and nobody is on a version."""


class TraefikSite:
    """Traefik on files; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveTraefik, store: FileStore, router: TraefikRouter) -> None:
        self._live = live
        self._store = store
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One file."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        rename(self._store.path(SERVICE), json.dumps(document(route, _BY_ADDRESS)))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        await self.router.apply(await self.router.read(SERVICE))


@asynccontextmanager
async def traefik(folder: Path, throttle: str = THROTTLE) -> AsyncIterator[Site]:
    """A running Traefik with routes in files."""
    watched = folder / "watched"
    await asyncio.to_thread(watched.mkdir, parents=True)
    store = FileStore(watched)
    with Instances() as instances:
        live = LiveTraefik(
            traefik_program(),
            folder,
            instances,
            provider=store.provider,
            flags=[f"--providers.file.directory={watched}", "--providers.file.watch=true"],
            pools=FilePools(watched),
            throttle=throttle,
        )
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                await asyncio.to_thread(live.add_version, SERVICE, version)
            async with httpx.AsyncClient() as client:
                router = TraefikRouter(
                    store,
                    [live.api_url],
                    client=client,
                    can=FILE,
                    entrance=_BY_ADDRESS,
                    pace=Pace(confirm_within=WITHIN_S),
                )
                await router.apply(await router.register(SERVICE, OLD))
                yield TraefikSite(live, store, router)
        finally:
            await asyncio.to_thread(live.stop)
