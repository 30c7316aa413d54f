"""A real Traefik that implements a Gateway of a real API server, and services behind it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import httpx

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.resources import Json, Resource
from adapters.packs import BUILT_IN
from adapters.ports import Routing
from adapters.routers.gateway_api import GATEWAY_API, GatewayApiOptions
from adapters.routers.gateway_api.form import HTTP_ROUTES, GatewayForm
from adapters.routers.gateway_api.traefik import TraefikPlane
from adapters.routers.kubernetes.backends import ServiceVersions
from adapters.routers.kubernetes.names import TEMPLATE
from adapters.routers.kubernetes.router import ObjectRouter, Pace
from adapters.routers.memory.router import NOTHING, Asks
from schemas.capabilities import Capabilities
from schemas.judging import render
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.names import new_name
from tests.contract.routers.subjects import _request
from tests.contract.routers.test_traefik_pack import picked
from tests.contract.routers.wire import Caller, Instances
from tests.kubernetes.routers.objects import PORT, Team

CLASSES: Final = Resource(
    "gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses", namespaced=False
)
GATEWAYS: Final = Resource("gateway.networking.k8s.io/v1", "Gateway", "gateways")
EDGE: Final = "edge"
_OPTIONS: Final = GatewayApiOptions(traefik=("http://127.0.0.1",), apart=True)
CAPABILITIES: Final[Capabilities] = GATEWAY_API.can(_OPTIONS)


class LiveGateway:
    """Traefik with one Gateway; it watches all namespaces."""

    def __init__(self, program: Path, folder: Path, kubeconfig: Path) -> None:
        self._program, self._log, self._kubeconfig = program, folder / "traefik.log", kubeconfig
        self.port, self._api_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._api_port}"

    def gateway(self) -> Json:
        """What a Gateway that it implements says."""
        listener = {"name": "http", "port": self.port, "protocol": "HTTP"}
        return {"gatewayClassName": "traefik", "listeners": [listener]}

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._program),
                    "--global.checkNewVersion=false",
                    "--global.sendAnonymousUsage=false",
                    f"--entryPoints.web.address=127.0.0.1:{self.port}",
                    f"--entryPoints.traefik.address=127.0.0.1:{self._api_port}",
                    "--api.insecure=true",
                    "--metrics.prometheus.addServicesLabels=true",
                    "--providers.kubernetesGateway=true",
                    "--providers.providersThrottleDuration=10ms",
                    "--log.level=ERROR",
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
            )
        deadline = time.monotonic() + 60
        while "features" not in self.ask("/api/overview"):
            assert time.monotonic() < deadline, f"Traefik never answered; see {self._log}"
            assert self._process.poll() is None, f"Traefik ended; see {self._log}"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"{self.api_url}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return ""


class GatewaySubject:
    """The kind `gateway_api` with Traefik behind it, in a namespace of its own."""

    def __init__(
        self,
        live: LiveGateway,
        *,
        connection: KubernetesConnection,
        team: Team,
        instances: Instances,
        host: str,
        client: httpx.AsyncClient,
    ) -> None:
        self.live, self.team = live, team
        self._instances, self._host = instances, host
        self.form = GatewayForm(
            _OPTIONS.http_routes, (), _OPTIONS.service, TEMPLATE, apart=True, is_forced=True
        )
        self.plane = TraefikPlane(live.api_url, client)
        self._connection = connection
        api = KubernetesClient(connection)
        self.router = ObjectRouter(
            api,
            self.form,
            versions=ServiceVersions(api, self.form.backends),
            can=CAPABILITIES,
            planes=[self.plane],
            label="{namespace}-{name}",
            pace=Pace(confirm_within=60.0),  # the machine may be busy
        )
        self.routing = Routing.of(self.router, CAPABILITIES, self)

    def another(
        self, form: GatewayForm, connection: KubernetesConnection | None = None
    ) -> ObjectRouter:
        """A router of other objects, or of somebody else, which asks no data plane."""
        api = KubernetesClient(connection or self._connection)
        versions = ServiceVersions(api, form.backends)
        pace = Pace(confirm_within=0.0 if connection is None else 60.0)
        return ObjectRouter(api, form, versions=versions, can=CAPABILITIES, pace=pace)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        self.make(service, *versions)
        return service

    def make(self, service: str, *versions: str) -> None:
        """A service with this name, in these versions, behind a route."""
        backends = self.form.backends(service)
        for version in versions:
            names = (backends.of(version), backends.apart_of(version))
            port = self._instances.port(version)
            self.team.make_version(service, version, names, self._host, port)
        rule = {"backendRefs": [{"name": service, "port": PORT}]}
        spec: Json = {"parentRefs": [{"name": EDGE}], "hostnames": [service], "rules": [rule]}
        self.team.make(HTTP_ROUTES, service, spec=spec)

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.live.port, service) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        found = self.team.get(HTTP_ROUTES, service)
        rules = found["spec"]["rules"]
        for ref, part in zip(rules[0]["backendRefs"], (100 - weight, weight), strict=True):
            ref["weight"] = round(part)
        changed = self.team.patch(HTTP_ROUTES, service, {"spec": {"rules": rules}})
        async with asyncio.timeout(30):
            while await self.plane.lag(Route.split(service, "x"), [changed]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def take_down(self, service: str, version: str) -> None:
        self.team.take_down(self.form.backends(service).of(version))

    async def requests(self, service: str) -> Mapping[str, int]:
        """As the pack has it, of what Traefik exposes."""
        route = await self.router.read(service)
        known = {*route.versions, *(await self.router.instances(service) or {})}
        found = {}
        for version in known:
            series = await self.series(service, version)
            found[version] = int(sum(series.values()))
        return found

    async def series(self, service: str, version: str) -> dict[str, float]:
        """What the pack reads of a version, by the name that Traefik has for a service."""
        template = BUILT_IN.load("traefik-gateway").requests
        assert template is not None
        pool = await self.router.locate(service, version)
        told = {"service": service, "version": version, "pool": pool}
        picks = picked(render(template, told), self.live.ask("/metrics"))
        return {labels["service"]: value for labels, value in picks}
