"""VirtualServices, as objects that carry routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.kubernetes.resources import Json, Resource
from adapters.routers.istio.rules import HTTP, Hosts, is_added, put, split_in
from adapters.routers.kubernetes.form import Place, Said
from adapters.routers.kubernetes.names import SERVICE, Backends
from schemas.route import Route

VIRTUAL_SERVICES: Final = Resource("networking.istio.io/v1", "VirtualService", "virtualservices")


@dataclass(frozen=True)
class IstioForm:
    """A `Form`.

    Args:
        virtual_services: names, with `{service}`.
        base: name of the Service that callers use, with `{service}`.
        template: of the names of versions' Services, or of subsets.
        apart: whether the Services have twins.
        subsets: whether versions are subsets.
        is_forced: whether requests can ask for a version.
    """

    virtual_services: tuple[str, ...]
    base: str
    template: str
    apart: bool
    subsets: bool
    is_forced: bool
    path: tuple[str, ...] = ("spec", "http")

    def backends(self, service: str) -> Backends:
        """The Services of a service."""
        return Backends(service, self.base.replace(SERVICE, service), self.template, self.apart)

    def places(self, service: str) -> Sequence[Place]:
        """Its VirtualServices."""
        names = (one.replace(SERVICE, service) for one in self.virtual_services)
        return [Place(VIRTUAL_SERVICES, name) for name in names]

    def put(self, found: Json, route: Route, before: Route | None) -> Json:
        """The routes with a route of Aviary's in them."""
        hosts = self._hosts(found, route.service)
        return put(found["spec"], route, hosts, before=before, is_forced=self.is_forced)

    def text(self, found: Json, service: str, *routes: Route | None) -> str:
        """The weights of its routes."""
        hosts = self._hosts(found, service)
        return split_in(found["spec"], service, hosts, hosts.names(*routes))

    def is_touched(self, found: Json, service: str) -> bool:
        """Whether there are routes that Aviary adds."""
        return any(is_added(rule, service) for rule in found["spec"].get(HTTP) or ())

    def said(self, found: Json) -> Said:
        """Nothing: istiod says it, where it may be asked."""
        del found
        return Said()

    def _hosts(self, found: Json, service: str) -> Hosts:
        namespace = str(found["metadata"].get("namespace", ""))
        return Hosts(self.backends(service), namespace, self.subsets)
