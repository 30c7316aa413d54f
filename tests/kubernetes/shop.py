"""The deployer for Kubernetes as a subject of its contract suite, on a cluster of the tests."""

from __future__ import annotations

import asyncio
import copy
import ssl
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.deployer import KubernetesDeployer
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.resources import (
    AUTOSCALERS,
    DEPLOYMENTS,
    POD_TEMPLATES,
    PODS,
    SERVICES,
    Json,
    Resource,
)
from adapters.kubernetes.templates import TEMPLATE
from aviary.local.kubernetes.cluster import Cluster
from aviary.local.kubernetes.pods import TROUBLE, WHILE
from schemas.deployment import Endpoint, Instance, Trouble, WantedVersion
from tests.contract.deployers.subjects import OWNER, order

PORT: Final = 8080
TIGHT: Final = "tight"
"""A class of pods that a quota forbids."""
CLASSES: Final = Resource(
    "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False
)
QUOTAS: Final = Resource("v1", "ResourceQuota", "resourcequotas")
_POD: Final = {
    "containers": [
        {
            "name": "app",
            "image": "registry.example/shop/app:0",
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "securityContext": {"readOnlyRootFilesystem": True},
        }
    ],
    "terminationGracePeriodSeconds": 2,
}
_WORDS: Final = {
    Trouble.IMAGE_MISSING: "image_missing",
    Trouble.PULL_FAILED: "pull_failed",
    Trouble.CRASH_LOOP: "crash_loop",
    Trouble.OUT_OF_MEMORY: "out_of_memory",
    Trouble.PROBE_FAILED: "probe_failed",
    Trouble.WRONG_RECIPE: "no_config",
}
"""Trouble that a pod of the kit can be given."""


def manifest(**annotations: str) -> Json:
    """A Deployment of the team, as a template: its pods are ready soon, and end at once."""
    pods = {"metadata": {"labels": {"app": "shop"}, "annotations": annotations}, "spec": _POD}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {"app": "shop"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": copy.deepcopy(pods),
        },
    }


class KubernetesSubject:
    """The deployer for Kubernetes, in a namespace of its own."""

    remembers = True
    troubles = frozenset({*_WORDS, Trouble.QUOTA, Trouble.NAME_TAKEN})

    def __init__(self, cluster: Cluster, namespace: str, flags: Path) -> None:
        self.cluster, self.namespace, self._flags = cluster, namespace, flags
        self.client = KubernetesClient(self.connection, manager="somebody")
        self._users = httpx.AsyncClient(verify=False, trust_env=False, timeout=3)
        self._made: list[KubernetesDeployer] = []

    @property
    def connection(self) -> KubernetesConnection:
        return self.cluster.connection(self.namespace)

    def deployer(self, owner: str = OWNER) -> KubernetesDeployer:
        self._made.append(KubernetesDeployer(self.connection, owner))
        return self._made[-1]

    def wanted(
        self,
        service: str,
        version: str,
        generation: int,
        instances: int = 1,
        *,
        trouble: Trouble | None = None,
        config: dict[str, str] | None = None,
    ) -> WantedVersion:
        recipe: dict[str, Any] = {"manifest": manifest(), "keep_versions": 0}
        if trouble in _WORDS:
            flag = self._flags / service
            flag.touch()
            said = {TROUBLE: _WORDS[trouble], WHILE: str(flag)}
            recipe["manifest"] = manifest(**said)
        elif trouble is Trouble.QUOTA:
            recipe["manifest"]["spec"]["template"]["spec"]["priorityClassName"] = TIGHT
            self._make_quota(service)
        elif trouble is Trouble.NAME_TAKEN:
            foreign = manifest()
            foreign["metadata"] = {"name": labels.name_of(service, version)}
            self._send("POST", DEPLOYMENTS.path(self.namespace), foreign)
        return order(service, version, generation, instances, recipe=recipe, config=config or {})

    async def heal(self, wanted: WantedVersion) -> None:
        (self._flags / wanted.service).unlink(missing_ok=True)
        await self.client.delete(QUOTAS, wanted.service, self.namespace)
        name = labels.name_of(wanted.service, wanted.version)
        found = await self.client.get(DEPLOYMENTS, name, self.namespace)
        if found is not None and labels.OWNER not in found["metadata"].get("labels", {}):
            await self.client.delete(DEPLOYMENTS, name, self.namespace)

    async def answer(self, endpoint: Endpoint) -> str:
        try:
            headers = {"connection": "close"}
            return (await self._users.get(f"http://{endpoint}/", headers=headers)).text
        except httpx.HTTPError:
            return ""

    async def things(self) -> frozenset[str]:
        found, _ = await self.client.list_all(PODS, self.namespace)
        return frozenset(one["metadata"]["name"] for one in found)

    async def plant(self, like: Instance) -> str:
        """A pod of somebody else, of a Deployment that has the version's name."""
        name = like.name.rsplit("-", 2)[0]
        body = manifest()
        body["metadata"] = {"name": name}
        body["spec"] |= {"replicas": 1, "selector": {"matchLabels": {"app": name}}}
        body["spec"]["template"]["metadata"]["labels"] = {"app": name}
        await self.client.create(DEPLOYMENTS, body, self.namespace)
        async with asyncio.timeout(30):
            while True:
                found, _ = await self.client.list_all(PODS, self.namespace, labels=f"app={name}")
                if found:
                    return str(found[0]["metadata"]["name"])
                await asyncio.sleep(0.05)

    async def kill(self, instance: Instance) -> None:
        await self.client.delete(PODS, instance.name, self.namespace, grace_s=0)

    async def make_templates(self, service: str) -> None:
        """What a team has of a service: a Deployment, a PodTemplate, a Service, an autoscaler."""
        whole = manifest()
        whole["metadata"] = {
            "name": service,
            "labels": {"app": "shop", TEMPLATE: "true", "team": "checkout"},
            "annotations": {"argocd.argoproj.io/tracking-id": "x", "team.example/room": "7"},
        }
        about = {"metadata": {"name": service}}
        ports = [{"name": "web", "port": 80, "targetPort": "http", "appProtocol": "http"}]
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
        scaling = {
            "minReplicas": 1,
            "maxReplicas": 5,
            "scaleTargetRef": target,
            "metrics": [{"type": "Resource", "resource": cpu}],
        }
        bodies = (
            (DEPLOYMENTS, whole),
            (POD_TEMPLATES, {**about, "template": whole["spec"]["template"]}),
            (SERVICES, {**about, "spec": {"selector": {"app": "shop"}, "ports": ports}}),
            (AUTOSCALERS, {**about, "spec": scaling}),
        )
        for resource, body in bodies:
            await self.client.apply(resource, body, self.namespace)

    def _make_quota(self, name: str) -> None:
        """One that lets no pod of the class be made, with the counts that a controller writes."""
        scope = {"scopeName": "PriorityClass", "operator": "In", "values": [TIGHT]}
        hard = {"pods": "0"}
        body = {
            "metadata": {"name": name},
            "spec": {"hard": hard, "scopeSelector": {"matchExpressions": [scope]}},
        }
        made = self._send("POST", QUOTAS.path(self.namespace), body)
        made["status"] = {"hard": hard, "used": hard}
        self._send("PUT", QUOTAS.path(self.namespace, name, "status"), made)

    def _send(self, method: str, path: str, body: Json) -> Json:
        said = yaml.safe_load(self.cluster.kubeconfig.read_text())
        context = ssl.create_default_context(cafile=str(self.cluster.authority))
        with httpx.Client(verify=context, trust_env=False) as client:
            token = said["users"][0]["user"]["token"]
            answer = client.request(
                method,
                self.cluster.server + path,
                json=body,
                headers={"authorization": f"Bearer {token}"},
                timeout=30,
            )
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    async def clean(self) -> None:
        """Delete all Deployments, and close all deployers."""
        for deployer in self._made:
            await deployer.aclose()
        for resource in (DEPLOYMENTS, QUOTAS):
            found, _ = await self.client.list_all(resource, self.namespace)
            for one in found:
                await self.client.delete(resource, one["metadata"]["name"], self.namespace)
        await self._users.aclose()
        await self.client.aclose()
