"""Versions that are subsets of one host, as a DestinationRule has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from adapters.errors import UnknownRoute
from adapters.kubernetes.resources import PODS, SERVICES, Json, Resource
from adapters.routers.kubernetes.form import Api
from adapters.routers.kubernetes.names import Backends
from schemas.route import Health

DESTINATION_RULES: Final = Resource("networking.istio.io/v1", "DestinationRule", "destinationrules")


class SubsetVersions:
    """Versions by the subsets of the DestinationRule that is named as the service's host is.

    The DestinationRule is the team's, or its pipeline's: a route to a subset that it lacks answers
    503, and so is refused.

    Args:
        api: of the cluster.
        backends: names them.
    """

    def __init__(self, api: Api, backends: Callable[[str], Backends]) -> None:
        self._api = api
        self._backends = backends

    def name(self, service: str, version: str) -> str:
        """Its subset."""
        return self._backends(service).of(version)

    def apart_name(self, service: str, version: str) -> str:
        """Its subset, which has no twin."""
        return self.name(service, version)

    async def exists(self, namespace: str, service: str, version: str) -> bool:
        """Whether the DestinationRule has its subset."""
        return self.name(service, version) in await self._subsets(namespace, service)

    async def check(self, namespace: str, service: str, versions: Iterable[str]) -> None:
        """Check that each has a subset with pods."""
        subsets = await self._subsets(namespace, service)
        for version in versions:
            name, where = self.name(service, version), f"{service}: version {version}"
            if name not in subsets:
                raise UnknownRoute(
                    f"{where}: expected a subset {name} in DestinationRule "
                    f"{self._backends(service).base} of namespace {namespace}, found: "
                    f"{', '.join(sorted(subsets)) or 'none'}"
                )
            health = await self._health(namespace, service, subsets[name])
            if not health.known:
                raise UnknownRoute(f"{where}: the subset {name} has no instances")

    async def healths(
        self, namespace: str, service: str, known: Iterable[str]
    ) -> Mapping[str, Health]:
        """By the pods that the Service and the subset of each select."""
        subsets = await self._subsets(namespace, service)
        found = {
            version: await self._health(namespace, service, subsets[name])
            for version in known
            if (name := self.name(service, version)) in subsets
        }
        return {version: health for version, health in found.items() if health.known}

    async def _subsets(self, namespace: str, service: str) -> dict[str, Mapping[str, str]]:
        name = self._backends(service).base
        found = await self._api.get(DESTINATION_RULES, name, namespace)
        subsets = ((found or {}).get("spec") or {}).get("subsets") or ()
        return {str(one["name"]): one.get("labels") or {} for one in subsets}

    async def _health(self, namespace: str, service: str, labels: Mapping[str, str]) -> Health:
        of_service = await self._api.get(SERVICES, self._backends(service).base, namespace)
        selector: dict[str, Any] = ((of_service or {}).get("spec") or {}).get("selector") or {}
        wanted = ",".join(f"{name}={value}" for name, value in ({**selector, **labels}).items())
        pods, _ = await self._api.list_all(PODS, namespace, labels=wanted)
        return Health(known=len(pods), healthy=sum(map(_is_ready, pods)))


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
