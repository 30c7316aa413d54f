"""The Gateway API on a real API server, with Traefik behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from adapters.ports import Router
from adapters.routers.gateway_api.form import HTTP_ROUTES
from aviary.local import debian
from aviary.local.kubernetes.cluster import Cluster
from aviary.local.kubernetes.programs import install
from aviary.local.parts import traefik_program
from bench.sites.site import NEW, OLD, SERVICE, Site
from tests.contract.routers.wire import Instances
from tests.kubernetes.routers.objects import Team
from tests.kubernetes.routers.traefik import CLASSES, EDGE, GATEWAYS, GatewaySubject, LiveGateway

_NAMESPACE: Final = "shop"


class GatewaySite:
    """An HTTPRoute; its own command is a merge patch of the weights, as of `kubectl patch`."""

    def __init__(self, live: LiveGateway, subject: GatewaySubject, team: Team) -> None:
        self._live, self._subject, self._team = live, subject, team
        self.router: Router = subject.router
        self.port = live.port

    async def bare(self, weight: int, generation: int) -> None:  # noqa: ARG002 - a patch has none
        """One request."""
        await asyncio.to_thread(self._patch, weight)

    def _patch(self, weight: int) -> None:
        backends = self._subject.form.backends(SERVICE)
        shares = {backends.of(OLD): 100 - weight, backends.of(NEW): weight}
        rules = self._team.get(HTTP_ROUTES, SERVICE)["spec"]["rules"]
        rules[0]["backendRefs"] = [
            {**rules[0]["backendRefs"][0], "name": name, "weight": share}
            for name, share in shares.items()
        ]
        self._team.patch(HTTP_ROUTES, SERVICE, {"spec": {"rules": rules}})

    async def restart(self) -> None:
        """Kill Traefik, and start it on the same objects."""
        await asyncio.to_thread(self._live.stop)
        await asyncio.to_thread(self._live.start)
        await self.router.apply(await self.router.read(SERVICE))


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Site]:
    """A running API server, and Traefik."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    tools = await install(debian.cache_folder(), print)
    async with Cluster(tools) as cluster:
        await cluster.define("gateway-api")
        await cluster.make_namespace(_NAMESPACE)
        host = str(cluster.network.here)
        team = Team(cluster.kubeconfig, _NAMESPACE)
        live = LiveGateway(traefik_program(), folder, cluster.kubeconfig)
        try:
            team.make(CLASSES, "traefik", spec={"controllerName": "traefik.io/gateway-controller"})
            team.make(GATEWAYS, EDGE, spec=live.gateway())
            await asyncio.to_thread(live.start)
            with Instances(host) as instances:
                async with httpx.AsyncClient() as client:
                    subject = GatewaySubject(
                        live,
                        connection=cluster.connection(_NAMESPACE),
                        team=team,
                        instances=instances,
                        host=host,
                        client=client,
                    )
                    subject.make(SERVICE, OLD, NEW)
                    await subject.router.apply(await subject.router.register(SERVICE, OLD))
                    yield GatewaySite(live, subject, team)
                    await subject.router.aclose()
        finally:
            await asyncio.to_thread(live.stop)
            team.close()
