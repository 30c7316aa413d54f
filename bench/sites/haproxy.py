"""HAProxy with the split in a map."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.routers.haproxy.map_file import MAP
from adapters.routers.haproxy.router import HaproxyRouter
from adapters.routers.haproxy.values import value_of
from bench.sites.site import NEW, OLD, SERVICE, Site
from schemas.route import Route
from tests.contract.routers.live_haproxy import LiveHaproxy, haproxy_root
from tests.contract.routers.wire import Instances


class HaproxySite:
    """HAProxy; its own command is `set map` on the stats socket."""

    def __init__(self, live: LiveHaproxy, router: HaproxyRouter) -> None:
        self._live = live
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One line, and its answer."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        command = f"set map {self._live.folder.directory / MAP} {SERVICE} {value_of(route)}\n"
        reader, writer = await asyncio.open_unix_connection(self._live.stats)
        writer.write(command.encode())
        await reader.read()
        writer.close()

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        for version in (OLD, NEW):
            await asyncio.to_thread(self._live.wait_until_up, SERVICE, version)


@asynccontextmanager
async def haproxy(folder: Path) -> AsyncIterator[Site]:
    """A running HAProxy."""
    with Instances() as instances:
        root = await asyncio.to_thread(haproxy_root)
        live = LiveHaproxy(root, folder / "haproxy", instances)
        for version in (OLD, NEW):
            live.folder.put_pool(live.pool(SERVICE, version))
        router = HaproxyRouter(live.folder.directory, [live.master])
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                await asyncio.to_thread(live.wait_until_up, SERVICE, version)
            await router.apply(await router.register(SERVICE, OLD))
            yield HaproxySite(live, router)
        finally:
            await asyncio.to_thread(live.stop)
