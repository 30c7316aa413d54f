"""What stands beside a version's Deployment: its Service, and its HorizontalPodAutoscaler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.options import KubernetesOptions
from adapters.deployers.kubernetes.troubles import TroubledError, of_conflict
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Conflicted
from adapters.kubernetes.resources import AUTOSCALERS, SERVICES, Json, Resource
from schemas.deployment import Trouble, WantedVersion

_PORT: Final = ("name", "port", "targetPort", "protocol", "appProtocol")
_KINDS: Final = (SERVICES, AUTOSCALERS)


class Beside:
    """What stands beside the Deployments of one owner in one namespace."""

    def __init__(self, client: KubernetesClient, owner: str) -> None:
        self._client, self._owner = client, owner

    async def have(
        self, wanted: WantedVersion, options: KubernetesOptions, deployment: str, port: str
    ) -> None:
        """Have what a version's recipe wants.

        Raises:
            TroubledError: something of somebody else has its name, or what it is to be like is not
                there.
            Terminal, Retryable: of the cluster.
        """
        if options.version_service:
            await self._have(SERVICES, await self._service(wanted, options, port), wanted)
        if options.autoscaler is not None:
            body = await self._autoscaler(wanted, options.autoscaler, deployment)
            await self._have(AUTOSCALERS, body, wanted)

    async def remove(self, service: str, version: str) -> None:
        """Delete what stands beside a version."""
        namespace = await self._client.namespace()
        mine = labels.matching(self._owner, service, version)
        for resource in _KINDS:
            found, _ = await self._client.list_all(resource, namespace, labels=mine)
            for one in found:
                about = one["metadata"]
                await self._client.delete(resource, about["name"], namespace, uid=about["uid"])

    async def _have(self, resource: Resource, body: Json, wanted: WantedVersion) -> None:
        """Apply it, unless it is so already: a new order alone writes nothing."""
        namespace, name = (
            await self._client.namespace(),
            labels.name_of(wanted.service, wanted.version),
        )
        mine = labels.of(self._owner, wanted.service, wanted.version)
        found = await self._client.get(resource, name, namespace)
        if found is not None and not mine.items() <= labels.said(found, "labels").items():
            text = f"{resource.kind} {namespace}/{name} is not Aviary's"
            raise TroubledError(Trouble.NAME_TAKEN, text)
        if found is not None and holds(found.get("spec"), body["spec"]):
            return
        about: Json = {
            "name": name,
            "labels": mine,
            "annotations": {labels.VERSION: wanted.version},
        }
        if found is not None:
            about["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            await self._client.apply(
                resource, {"metadata": about} | body, namespace, force=found is not None
            )
        except Conflicted as error:
            raise of_conflict(error, f"{resource.kind} {namespace}/{name}") from None

    async def _service(self, wanted: WantedVersion, options: KubernetesOptions, port: str) -> Json:
        """A Service with the ports of the team's, and the pods of the version."""
        namespace = await self._client.namespace()
        name = options.service or wanted.service
        found = await self._client.get(SERVICES, name, namespace)
        if found is None and options.service is not None:
            text = f"service: expected a Service {namespace}/{name}, there is none"
            raise TroubledError(Trouble.WRONG_RECIPE, text)
        ports = [
            {field: one[field] for field in _PORT if field in one}
            for one in ((found or {}).get("spec") or {}).get("ports") or ()
        ]
        if not ports:
            ports = [{"name": "http", "port": int(port), "targetPort": int(port)}]
        mine = labels.of(self._owner, wanted.service, wanted.version)
        return {"spec": {"type": "ClusterIP", "selector": mine, "ports": ports}}

    async def _autoscaler(self, wanted: WantedVersion, name: str, deployment: str) -> Json:
        """One like the team's, for the version: never fewer pods than were ordered."""
        namespace = await self._client.namespace()
        found = await self._client.get(AUTOSCALERS, name, namespace)
        if found is None:
            text = f"autoscaler: expected a HorizontalPodAutoscaler {namespace}/{name}"
            raise TroubledError(Trouble.WRONG_RECIPE, f"{text}, there is none")
        spec = {
            field: text
            for field, text in (found.get("spec") or {}).items()
            if field in {"metrics", "behavior", "maxReplicas"}
        }
        least = max(1, wanted.instances)
        return {
            "spec": spec
            | {
                "minReplicas": least,
                "maxReplicas": max(least, int(spec.get("maxReplicas") or least)),
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": deployment,
                },
            }
        }


def holds(there: Any, wanted: Any) -> bool:
    """Whether all of what is wanted is there; what is there besides does not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            name in there and holds(there[name], part) for name, part in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(holds(one, part) for one, part in zip(there, wanted, strict=True))
        )
    return bool(there == wanted)
