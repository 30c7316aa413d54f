"""nginx with the split in Lua."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from adapters.routers.nginx.router import NginxRouter
from bench.sites.site import NEW, OLD, SERVICE, Site
from schemas.route import Route
from tests.contract.routers.live_nginx import LiveNginx, nginx_root
from tests.contract.routers.wire import Instances


class NginxSite:
    """nginx; its own command is a write to the internal server with curl."""

    def __init__(self, live: LiveNginx, router: NginxRouter, client: httpx.AsyncClient) -> None:
        self._live = live
        self._client = client
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One request."""
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        content = route.model_dump_json(exclude_none=True)
        answer = await self._client.put(f"/routes/{SERVICE}", content=content)
        answer.raise_for_status()

    async def restart(self) -> None:
        """Kill it, and start it on the same state."""
        await asyncio.to_thread(self._live.restart)


@asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[Site]:
    """A running nginx."""
    with Instances() as instances:
        root = await asyncio.to_thread(nginx_root)
        live = LiveNginx(root, folder / "nginx", instances)
        await asyncio.to_thread(live.start)
        router = NginxRouter([live.control])
        transport = httpx.AsyncHTTPTransport(uds=live.control.removeprefix("unix:"))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://nginx") as client:
                for version in (OLD, NEW):
                    address = f"127.0.0.1:{live.port_of(version)}"
                    names = {"service": SERVICE, "version": version}
                    pool = {**names, "endpoints": [address], "generation": 0}
                    await client.put(f"/pools/{SERVICE}/{version}", content=json.dumps(pool))
                await router.register(SERVICE, OLD)
                yield NginxSite(live, router, client)
        finally:
            await router.aclose()
            await asyncio.to_thread(live.stop)
