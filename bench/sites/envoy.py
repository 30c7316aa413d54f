"""Envoy over a shared folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from adapters.routers.envoy.names import resource_file
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.routes import local_domains, virtual_host
from adapters.routers.files import read_document
from aviary.local.parts import envoy_program
from bench.sites.site import NEW, OLD, SERVICE, Site, rename
from schemas.route import Route
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.wire import Instances


class EnvoySite:
    """Envoy; its own command is the rename of a prepared file."""

    def __init__(self, live: LiveEnvoy, router: EnvoyRouter, instances: Instances) -> None:
        self._live = live
        self._instances = instances
        self.router = router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:
        """One file."""
        path = self._live.fleet.routes_path
        (config,) = read_document(path)["resources"]
        route = Route.split(SERVICE, OLD, NEW, weight, generation=generation)
        hosts = [virtual_host(route, local_domains)]
        rename(path, json.dumps(resource_file([{**config, "virtual_hosts": hosts}])))

    async def restart(self) -> None:
        """Kill it, and start it on the same files."""
        await asyncio.to_thread(self._live.restart)
        for version in (OLD, NEW):
            port = self._instances.port(version)
            await asyncio.to_thread(self._live.add_version, SERVICE, version, port)


@asynccontextmanager
async def envoy(folder: Path) -> AsyncIterator[Site]:
    """A running Envoy."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    with Instances() as instances:
        live = LiveEnvoy(envoy_program(), folder, instances)
        try:
            await asyncio.to_thread(live.start)
            for version in (OLD, NEW):
                port = instances.port(version)
                await asyncio.to_thread(live.add_version, SERVICE, version, port)
            async with httpx.AsyncClient() as client:
                router = EnvoyRouter(live.fleet.directory, [live.admin_url], client=client)
                await router.apply(await router.register(SERVICE, OLD))
                yield EnvoySite(live, router, instances)
        finally:
            await asyncio.to_thread(live.stop)
