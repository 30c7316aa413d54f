"""The Services of versions, and the instances behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from adapters.errors import UnknownRoute
from adapters.kubernetes.resources import SERVICES, Json, Resource
from adapters.routers.kubernetes.form import Api
from adapters.routers.kubernetes.names import Backends
from schemas.route import Health

SLICES: Final = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
SERVICE_LABEL: Final = "aviary.dev/service"
"""Label of the Service of a version: whose it is."""
VERSION_MARK: Final = "aviary.dev/version"
"""Annotation of it: which version. A label can't hold every version."""
_OF_SERVICE: Final = "kubernetes.io/service-name"


class ServiceVersions:
    """Versions that are Services of their own (see `form.Versions`).

    Args:
        api: of the cluster.
        backends: names them.
    """

    def __init__(self, api: Api, backends: Callable[[str], Backends]) -> None:
        self._api = api
        self._backends = backends

    def name(self, service: str, version: str) -> str:
        """Its Service."""
        return self._backends(service).of(version)

    def apart_name(self, service: str, version: str) -> str:
        """Its twin, where it has one."""
        return self._backends(service).apart_of(version)

    async def exists(self, namespace: str, service: str, version: str) -> bool:
        """Whether there is its Service."""
        return await self._api.get(SERVICES, self.name(service, version), namespace) is not None

    async def check(self, namespace: str, service: str, versions: Iterable[str]) -> None:
        """Check that each has a Service with instances; its twin likewise."""
        backends = self._backends(service)
        for version in versions:
            for name in dict.fromkeys((backends.of(version), backends.apart_of(version))):
                found = await self._api.get(SERVICES, name, namespace)
                where = f"{service}: version {version}"
                if found is None:
                    raise UnknownRoute(
                        f"{where}: expected a Service {name} in namespace {namespace}"
                    )
                if (found.get("spec") or {}).get("type") == "ExternalName":
                    continue
                if not (await self._health(namespace, [name]))[name].known:
                    raise UnknownRoute(f"{where}: the Service {name} has no instances")

    async def healths(
        self, namespace: str, service: str, known: Iterable[str]
    ) -> Mapping[str, Health]:
        """By the EndpointSlices of the Services that are known, or labelled as the service's."""
        selector = f"{SERVICE_LABEL}={service}"
        labelled, _ = await self._api.list_all(SERVICES, namespace, labels=selector)
        versions = {self.name(service, version): version for version in known}
        for one in labelled:
            about = one["metadata"]
            version = (about.get("annotations") or {}).get(VERSION_MARK)
            if version is not None:
                versions.setdefault(about["name"], version)
        if not versions:
            return {}
        seen = await self._health(namespace, sorted(versions))
        return {versions[name]: health for name, health in seen.items() if health.known}

    async def _health(self, namespace: str, names: Iterable[str]) -> dict[str, Health]:
        """How many addresses each Service has, and how many of them are ready."""
        wanted = dict.fromkeys(names)
        selector = f"{_OF_SERVICE} in ({','.join(wanted)})"
        slices, _ = await self._api.list_all(SLICES, namespace, labels=selector)
        ready: dict[str, dict[str, bool]] = {name: {} for name in wanted}
        for one in slices:
            addresses = ready[one["metadata"]["labels"][_OF_SERVICE]]
            for endpoint in one.get("endpoints") or ():
                key = str((endpoint.get("addresses") or [""])[0])
                addresses[key] = addresses.get(key, False) or _is_ready(endpoint)
        return {
            name: Health(known=len(addresses), healthy=sum(addresses.values()))
            for name, addresses in ready.items()
        }


def _is_ready(endpoint: Json) -> bool:
    """As the API has it: what does not say is ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False
