"""HTTPRoutes and GRPCRoutes, as objects that carry routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.kubernetes.resources import Json, Resource
from adapters.routers.gateway_api.rules import is_added, names_of, put, split_in
from adapters.routers.gateway_api.status import said
from adapters.routers.kubernetes.form import Place, Said
from adapters.routers.kubernetes.names import SERVICE, Backends
from schemas.route import Route

_GROUP: Final = "gateway.networking.k8s.io/v1"
HTTP_ROUTES: Final = Resource(_GROUP, "HTTPRoute", "httproutes")
GRPC_ROUTES: Final = Resource(_GROUP, "GRPCRoute", "grpcroutes")


@dataclass(frozen=True)
class GatewayForm:
    """A `Form`.

    Args:
        http_routes: names, with `{service}`.
        grpc_routes: likewise.
        base: name of the Service that callers use, with `{service}`.
        template: of the names of versions' Services.
        apart: whether these have twins.
        is_forced: whether requests can ask for a version.
    """

    http_routes: tuple[str, ...]
    grpc_routes: tuple[str, ...]
    base: str
    template: str
    apart: bool
    is_forced: bool
    path: tuple[str, ...] = ("spec", "rules")

    def backends(self, service: str) -> Backends:
        """The Services of a service."""
        base = self.base.replace(SERVICE, service)
        return Backends(service, base, self.template, self.apart)

    def places(self, service: str) -> Sequence[Place]:
        """Its HTTPRoutes and GRPCRoutes."""
        http = [Place(HTTP_ROUTES, one.replace(SERVICE, service)) for one in self.http_routes]
        grpc = [Place(GRPC_ROUTES, one.replace(SERVICE, service)) for one in self.grpc_routes]
        return [*http, *grpc]

    def put(self, found: Json, route: Route, before: Route | None) -> Json:
        """The rules with a route in them."""
        rules = put(
            _rules(found),
            route,
            self.backends(route.service),
            kind=str(found["kind"]),
            before=before,
            is_forced=self.is_forced,
        )
        return {"rules": rules}

    def text(self, found: Json, service: str, *routes: Route | None) -> str:
        """The weights of its rules."""
        return split_in(_rules(found), service, names_of(self.backends(service), *routes))

    def is_touched(self, found: Json, service: str) -> bool:
        """Whether there are rules that Aviary adds."""
        return any(is_added(rule, service) for rule in _rules(found))

    def said(self, found: Json) -> Said:
        """What its parents say."""
        return said(found)


def _rules(found: Json) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = found["spec"].get("rules") or []
    return rules
