"""A real istiod, a real Envoy that it drives as a gateway, and services behind it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.resources import SERVICES, Json, Resource
from adapters.ports import Routing
from adapters.routers.istio.capabilities import CAPABILITIES as ISTIO
from adapters.routers.istio.form import VIRTUAL_SERVICES, IstioForm
from adapters.routers.istio.istiod import IstiodPlane
from adapters.routers.kubernetes.backends import ServiceVersions
from adapters.routers.kubernetes.names import APART, TEMPLATE
from adapters.routers.kubernetes.router import ObjectRouter, Pace
from adapters.routers.memory.router import NOTHING, Asks
from schemas.capabilities import Counting
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.names import new_name
from tests.contract.routers.subjects import _request
from tests.contract.routers.wire import Caller, Instances
from tests.kubernetes.routers.objects import PORT, Team

GATEWAYS: Final = Resource("networking.istio.io/v1", "Gateway", "gateways")
CAPABILITIES: Final = ISTIO.model_copy(update={"counts": Counting.NONE})
"""Of a test without a metrics source."""
GATEWAY: Final = "gw"
_MESH: Final = {
    "accessLogFile": "",
    "enablePrometheusMerge": False,
    "enableAutoMtls": False,
}
_ENV: Final = {
    "POD_NAMESPACE": "istio-system",
    "POD_NAME": "istiod-0",
    "ENABLE_CA_SERVER": "false",
    "INJECT_ENABLED": "false",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "PILOT_CERT_PROVIDER": "none",
    # What only Istio's own build of Envoy knows.
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_DISABLE_MX_ALPN": "true",
    "PILOT_ENABLE_GATEWAY_API": "false",
    "PILOT_DEBOUNCE_AFTER": "10ms",
    "PILOT_DEBOUNCE_MAX": "1s",
}


class LiveIstio:
    """istiod, and an Envoy of the namespace as its gateway."""

    def __init__(
        self, istiod: Path, envoy: Path, folder: Path, kubeconfig: Path, namespace: str
    ) -> None:
        self._istiod, self._envoy, self._folder = istiod, envoy, folder
        self._kubeconfig, self._namespace = kubeconfig, namespace
        self._xds, self._http, self._debug, self._admin = (free_port() for _ in range(4))
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def debug_url(self) -> str:
        return f"http://127.0.0.1:{self._debug}"

    def gateway(self) -> Json:
        """What a Gateway of Istio's own kind says."""
        port = {"number": self.port, "name": "http", "protocol": "HTTP"}
        return {"selector": {"istio": GATEWAY}, "servers": [{"port": port, "hosts": ["*"]}]}

    def service(self) -> Json:
        """The Service of the gateway, which no pod is behind."""
        port = {"name": "http", "port": self.port, "targetPort": self.port}
        return {"selector": {"istio": GATEWAY}, "ports": [port]}

    def start(self) -> None:
        mesh = {**_MESH, "defaultConfig": {"discoveryAddress": f"127.0.0.1:{self._xds}"}}
        (self._folder / "mesh.json").write_text(json.dumps(mesh))
        (self._folder / "networks.yaml").touch()
        self._run(
            "istiod",
            str(self._istiod),
            "discovery",
            f"--kubeconfig={self._kubeconfig}",
            f"--meshConfig={self._folder / 'mesh.json'}",
            f"--networksConfig={self._folder / 'networks.yaml'}",
            f"--grpcAddr=127.0.0.1:{self._xds}",
            "--secureGRPCAddr=",
            f"--httpAddr=127.0.0.1:{self._http}",
            "--httpsAddr=",
            f"--monitoringAddr=127.0.0.1:{self._debug}",
            "--ctrlz_port=0",
            "--log_output_level=default:warn",
            env={**os.environ, **_ENV},
        )
        self._until(f"http://127.0.0.1:{self._http}/ready", "")
        (self._folder / "envoy.json").write_text(json.dumps(self._bootstrap()))
        flags = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
        self._run("envoy", str(self._envoy), "-c", str(self._folder / "envoy.json"), *flags)
        self._until(f"http://127.0.0.1:{self._admin}/ready", "LIVE")

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _run(self, name: str, *argv: str, env: dict[str, str] | None = None) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(argv, stdout=log, stderr=log, env=env, cwd=self._folder)
            )

    def _until(self, url: str, text: str) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if text in answer.read().decode():
                        return
            except (urllib.error.URLError, OSError):
                pass
            assert time.monotonic() < deadline, f"{url} never answered; see {self._folder}"
            assert all(one.poll() is None for one in self._processes), f"see {self._folder}"
            time.sleep(0.05)

    def _bootstrap(self) -> dict[str, Any]:
        ads = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
        where = {"socket_address": {"address": "127.0.0.1", "port_value": self._xds}}
        endpoint = {"lb_endpoints": [{"endpoint": {"address": where}}]}
        http2 = {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        cluster = {
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
            },
            "load_assignment": {"cluster_name": "xds", "endpoints": [endpoint]},
        }
        admin = {"socket_address": {"address": "127.0.0.1", "port_value": self._admin}}
        host = f"{GATEWAY}.{self._namespace}"
        return {
            "node": {
                "id": f"router~127.0.0.1~{host}~{self._namespace}.svc.cluster.local",
                "cluster": host,
                "metadata": {
                    "NAME": GATEWAY,
                    "NAMESPACE": self._namespace,
                    "CLUSTER_ID": "Kubernetes",
                    "ISTIO_VERSION": "1.31.0",
                    "INSTANCE_IPS": "127.0.0.1",
                    "LABELS": {"istio": GATEWAY},
                    "SERVICE_ACCOUNT": "default",
                    "MESH_ID": "cluster.local",
                },
            },
            "admin": {"address": admin},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
                "cds_config": ads,
                "lds_config": ads,
            },
            "static_resources": {"clusters": [cluster]},
        }

    def counted(self) -> dict[str, int]:
        """Requests that Envoy has sent to each Service."""
        url = f"http://127.0.0.1:{self._admin}/stats?format=json&filter=upstream_rq_total"
        with urllib.request.urlopen(url, timeout=5) as answer:
            stats = json.loads(answer.read())["stats"]
        return {one["name"].split("|")[-1].partition(".")[0]: one["value"] for one in stats if one}


class IstioSubject:
    """The kind `istio` with an Envoy behind it."""

    def __init__(
        self,
        live: LiveIstio,
        *,
        connection: KubernetesConnection,
        team: Team,
        instances: Instances,
        host: str,
        client: httpx.AsyncClient,
    ) -> None:
        self.live, self.team = live, team
        self._instances, self._host = instances, host
        self.form = IstioForm(
            ("{service}",), "{service}", TEMPLATE, apart=True, subsets=False, is_forced=True
        )
        self.plane = IstiodPlane(live.debug_url, client)
        api = KubernetesClient(connection)
        self.router = ObjectRouter(
            api,
            self.form,
            versions=ServiceVersions(api, self.form.backends),
            can=CAPABILITIES,
            planes=[self.plane],
            pace=Pace(confirm_within=60.0),  # the machine may be busy
        )
        self.routing = Routing.of(self.router, CAPABILITIES)

    def host_of(self, service: str) -> str:
        """As callers say it; a name without a dot would be one of the namespace."""
        return f"{service}.test"

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = new_name(length)
        backends = self.form.backends(service)
        for version in versions:
            names = (backends.of(version), backends.apart_of(version))
            port = self._instances.port(version)
            self.team.make_version(service, version, names, self._host, port)
        to = {"host": service, "port": {"number": PORT}}
        spec: Json = {
            "hosts": [self.host_of(service)],
            "gateways": [GATEWAY],
            "http": [{"name": "primary", "route": [{"destination": to}]}],
        }
        self.team.make(VIRTUAL_SERVICES, service, spec=spec)
        return service

    async def call(
        self, service: str, users: Iterable[str], asks: Asks = NOTHING
    ) -> Mapping[str, str]:
        async with Caller(self.live.port, self.host_of(service)) as caller:
            return await caller.users(users, **_request(asks))

    async def change_by_hand(self, service: str, weight: float) -> None:
        found = self.team.get(VIRTUAL_SERVICES, service)
        http = found["spec"]["http"]
        for one, part in zip(http[-1]["route"], (100 - weight, weight), strict=True):
            one["weight"] = round(part)
        changed = self.team.patch(VIRTUAL_SERVICES, service, {"spec": {"http": http}})
        async with asyncio.timeout(30):
            while await self.plane.lag(Route.split(service, "x"), [changed]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def copies(self, service: str) -> Mapping[str, int]:
        counts, backends = self.live.counted(), self.form.backends(service)
        route = await self.router.read(service)
        return {one: counts.get(f"{backends.of(one)}{APART}", 0) for one in route.versions}

    async def take_down(self, service: str, version: str) -> None:
        self.team.take_down(self.form.backends(service).of(version))


def make_gateway(team: Team, live: LiveIstio) -> None:
    """The team's Gateway."""
    team.make(SERVICES, GATEWAY, spec=live.service())
    team.make(GATEWAYS, GATEWAY, spec=live.gateway())
