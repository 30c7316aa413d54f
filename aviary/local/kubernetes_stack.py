"""The embedded stack with its shop in a small Kubernetes: changing a template is all that one does.

The templates of the shop are applied as a GitOps controller would. `aviary watch kubernetes` makes
deploy events of them, Aviary makes Deployments of the versions, and writes HTTPRoutes that Traefik
serves. Nobody else writes to Kafka, or to the cluster.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from temporalio.service import RPCError

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import DEPLOYMENTS, PODS, SERVICES, Json, Resource
from adapters.kubernetes.templates import TEMPLATE
from aviary.local import probes
from aviary.local.fronts.gateway import (
    CLASS,
    CONNECTION,
    CONTROLLER,
    GATEWAY,
    NAMESPACE,
    GatewayFront,
)
from aviary.local.http1 import Client
from aviary.local.kubernetes import programs
from aviary.local.kubernetes.cluster import Cluster
from aviary.local.parts import ROOT
from aviary.local.process import ChildFailedError, ChildSpec
from aviary.local.shop import DEPENDENCIES, FAULT, Fault
from aviary.local.stack import DEFAULT_RPS, FIRST_VERSION, Say, Stack
from schemas.ids import release_workflow_id
from schemas.release import ReleasePhase, ReleaseStatus

FIRST_RELEASE: Final = "shop-0"
CLASSES: Final = Resource(
    "gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses", namespaced=False
)
GATEWAYS: Final = Resource("gateway.networking.k8s.io/v1", "Gateway", "gateways")
ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
_MANAGER: Final = "gitops"
_PORT: Final = 8080
_GONE_WITHIN_S: Final = 90.0
_FIRST_WITHIN_S: Final = 600.0
_POLL_S: Final = 0.2
_QUIET_S: Final = "1"
_DEPLOY: Final[Mapping[str, Any]] = {
    "kind": "kubernetes",
    "connection": CONNECTION,
    "progress_deadline": "2m",
    # Short, so that one sees what has lost go; a canary that failed stays until it was looked at.
    "keep_old": "5s",
    "keep_failed": "15s",
}


class KubernetesStack(Stack):
    """An embedded stack whose versions are Deployments, behind Traefik as a Gateway.

    Args:
        folder: as of `Stack`.
        cache: as of `Stack`; the programs of Kubernetes are kept there as well.
        rps: as of `Stack`.
    """

    deployer = "Kubernetes"

    def __init__(self, folder: Path, cache: Path, *, rps: float = DEFAULT_RPS) -> None:
        super().__init__(folder, cache, rps=rps, deploys=False)
        self._watch_port = self._free.take()
        self._gateway = GatewayFront(self.ports, self._free.take())
        self.front = self._gateway
        self._cluster: Cluster | None = None
        self._client: KubernetesClient | None = None
        self._is_routed = asyncio.Event()

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._client is not None:
                await self._client.aclose()
            await self.supervisor.stop("watch")
            await super().__aexit__(*exc)
        finally:
            if self._cluster is not None:
                await self._cluster.__aexit__(*exc)

    @property
    def settings(self) -> dict[str, str]:
        """As of `Stack`, with the cluster among the connections, and what a watcher needs."""
        return {
            **super().settings,
            "AVIARY_CONNECTIONS_FILE": str(self.folder / "connections.yaml"),
            "AVIARY_WATCH_CONNECTION": CONNECTION,
            "AVIARY_WATCH_QUIET_S": _QUIET_S,
            "AVIARY_METRICS_LATE_S": "3",
        }

    async def request(
        self,
        release: str,
        versions: Mapping[str, str],
        strategy: str | None = None,
        faults: Mapping[str, Fault] | None = None,
    ) -> None:
        """Change the templates of some services, as a merge would.

        Args:
            release: its id, an annotation of each template.
            versions: by service.
            strategy: None: as the catalog says; there is no other way here.
            faults: what is wrong with the new versions of some services.
        """
        if strategy is not None:
            raise ValueError(f"strategy: got {strategy}, expected none of a template")
        found = faults or {}
        for service, version in versions.items():
            thing = self._template(service, version, release, found.get(service, Fault()))
            await self._apply(DEPLOYMENTS, thing)

    async def clear(self, versions: Mapping[str, str]) -> bool:
        """Wait until versions have no pod any more, and say whether they have none."""
        try:
            async with asyncio.timeout(_GONE_WITHIN_S):
                for service, version in versions.items():
                    while version in await self.up(service):  # noqa: ASYNC110 - a server is asked
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return False
        return True

    async def up(self, service: str) -> list[str]:
        """The versions of a service that have pods."""
        return sorted({_version(pod) for pod in await self._pods(service)})

    async def set_fault(self, service: str, version: str, fault: Fault) -> float:
        """As of `Stack`; in each pod of the version."""
        at = time.time()
        for pod in await self._pods(service):
            if _version(pod) != version or "podIP" not in pod.get("status", {}):
                continue
            client = Client(pod["status"]["podIP"], _PORT, timeout=5.0)
            try:
                await client.request("POST", "/fault", body=json.dumps(asdict(fault)).encode())
            finally:
                client.close()
        return at

    @property
    def _api(self) -> KubernetesClient:
        if self._client is None:
            raise RuntimeError("the stack is not started")
        return self._client

    async def _start_all(self, say: Say) -> None:
        try:
            tools = await programs.install(self._cache, say)
        except programs.KubernetesError as error:
            raise ChildFailedError(f"no Kubernetes here: {error}") from None
        began = time.monotonic()
        cluster = Cluster(tools, ports=self._free)
        try:
            await cluster.__aenter__()
        except programs.KubernetesError as error:
            raise ChildFailedError(f"no Kubernetes here: {error}") from None
        self._cluster = cluster
        self._client = KubernetesClient(cluster.connection(NAMESPACE), manager=_MANAGER)
        self._gateway.at(cluster.kubeconfig, str(cluster.network.here))
        await cluster.define("gateway-api")
        await cluster.make_namespace(NAMESPACE)
        say(f"kubernetes: ready after {time.monotonic() - began:.1f} s")
        await self._make_gateway()
        await super()._start_all(say)

    async def _make_gateway(self) -> None:
        """What a platform team has: a Gateway; and of each team, a Service and a route."""
        kind = {"metadata": {"name": CLASS}, "spec": {"controllerName": CONTROLLER}}
        await self._apply(CLASSES, kind)
        spec = {"gatewayClassName": CLASS, "listeners": self._gateway.listeners()}
        await self._apply(GATEWAYS, {"metadata": {"name": GATEWAY}, "spec": spec})
        for service in DEPENDENCIES:
            port = {"name": "http", "port": 80, "targetPort": _PORT}
            ours = {"selector": {"app": service}, "ports": [port]}
            await self._apply(SERVICES, {"metadata": {"name": service}, "spec": ours})
            route = {
                "parentRefs": [{"name": GATEWAY}],
                "hostnames": [service],
                "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
            }
            await self._apply(ROUTES, {"metadata": {"name": service}, "spec": route})

    async def _prepare_shop(self) -> Sequence[ChildSpec]:
        return await self.front.prepare({})

    async def _start_shop(self, router: Sequence[ChildSpec], say: Say) -> None:
        for spec in router:
            await self._start(spec, say)
        self._is_routed.set()

    async def _start_aviary(self, say: Say) -> None:
        await super()._start_aviary(say)
        env = {**self.settings, "AVIARY_METRICS_PORT": str(self._watch_port)}
        argv = (sys.executable, "-m", "aviary", "watch", "kubernetes")
        probe = probes.http(self._watch_port, "/readyz")
        await self._start(ChildSpec("watch", argv, env=env, cwd=ROOT, probe=probe), say)
        await self._is_routed.wait()
        await self._release_first(say)

    async def _release_first(self, say: Say) -> None:
        """The shop as it is before the first act: a release like any other."""
        began = time.monotonic()
        await self.request(FIRST_RELEASE, dict.fromkeys(DEPENDENCIES, FIRST_VERSION))
        say(f"shop: templates of {len(DEPENDENCIES)} services applied, first release begun")
        client = await self.temporal()
        handle = client.get_workflow_handle(
            release_workflow_id(FIRST_RELEASE), result_type=ReleaseStatus
        )
        async with asyncio.timeout(_FIRST_WITHIN_S):
            while not await _has_begun(handle):  # noqa: ASYNC110 - a server is asked
                await asyncio.sleep(_POLL_S)
            status: ReleaseStatus = await handle.result()
        if status.phase is not ReleasePhase.FINALIZED:
            cause = status.cause.text if status.cause is not None else status.phase.value
            raise ChildFailedError(f"shop: its first release did not end well: {cause}")
        say(f"shop: {len(DEPENDENCIES)} services released after {time.monotonic() - began:.1f} s")

    def _write_configuration(self) -> None:
        if self._cluster is None:
            raise RuntimeError("the stack is not started")
        said = {
            "kind": "kubernetes",
            "kubeconfig": str(self._cluster.kubeconfig),
            "namespace": NAMESPACE,
            "at_once": 32,
        }
        (self.folder / "connections.yaml").write_text(json.dumps({CONNECTION: said}))
        super()._write_configuration()

    def _document(self) -> dict[str, Any]:
        document = super()._document()
        document["defaults"]["deploy"] = dict(_DEPLOY)
        return document

    def _template(self, service: str, version: str, release: str, fault: Fault) -> Json:
        """As a team has it in Git."""
        cluster = self._cluster
        here = str(cluster.network.here) if cluster is not None else ""
        fields = {"VERSION": "metadata.annotations['aviary.dev/version']", "POD_IP": "status.podIP"}
        container = {
            "name": "shop",
            "image": f"registry.example/shop/{service}:{version}",
            "command": [sys.executable, "-m", "aviary.local.shop"],
            "args": [
                *("--service", service, "--version", "$(VERSION)"),
                *("--host", "$(POD_IP)", "--port", str(_PORT)),
                *("--router-host", here, "--router", str(self._gateway.inside)),
            ],
            "workingDir": str(ROOT),
            "env": [
                *(
                    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                    for name, path in fields.items()
                ),
                {"name": FAULT, "value": json.dumps(asdict(fault))},
            ],
            "ports": [{"name": "http", "containerPort": _PORT}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        }
        labels = {"app": service}
        return {
            "metadata": {
                "name": service,
                "labels": {TEMPLATE: "true"},
                "annotations": {"aviary.dev/release": release, "aviary.dev/version": version},
            },
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
                },
            },
        }

    async def _apply(self, resource: Resource, thing: Json) -> None:
        await self._api.apply(resource, thing, NAMESPACE, force=True)

    async def _pods(self, service: str) -> list[Json]:
        found, _ = await self._api.list_all(PODS, NAMESPACE, labels=f"app={service}")
        return found


async def _has_begun(handle: Any) -> bool:
    """Whether a workflow has begun."""
    try:
        await handle.describe()
    except RPCError:
        return False
    return True


def _version(pod: Json) -> str:
    return str((pod["metadata"].get("annotations") or {}).get("aviary.dev/version", ""))
