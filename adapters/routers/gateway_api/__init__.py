"""The Gateway API of Kubernetes, as a kind of router: HTTPRoutes and GRPCRoutes of a team.

Here belongs what rules, filters and parents are, and how the data planes that implement it are
asked. Nothing of another router does, and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from adapters.kinds import RouterKind, Shared
from adapters.kubernetes.connection import KubernetesConnection, Namespace
from adapters.ports import Router
from adapters.routers.gateway_api.capabilities import CAPABILITIES
from adapters.routers.kubernetes.names import SERVICE, TEMPLATE
from adapters.routers.kubernetes.options import ObjectName, VersionName
from schemas.base import Model
from schemas.capabilities import Capabilities, Counting
from schemas.catalog_check import Finding
from schemas.judging import HistogramMetric, RatioMetric

_Address = Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+/?$", max_length=500)]


class GatewayApiOptions(Model):
    """Routes of the Gateway API that a team has; only backends, and rules added, are Aviary's."""

    namespace: Namespace | None = Field(
        default=None, description="Of the routes and Services; none: that of the connection."
    )
    http_routes: tuple[ObjectName, ...] = Field(
        default=(SERVICE,), max_length=16, description="Names of all HTTPRoutes of the service."
    )
    grpc_routes: tuple[ObjectName, ...] = Field(
        default=(), max_length=16, description="Names of all GRPCRoutes of the service."
    )
    service: ObjectName = Field(
        default=SERVICE,
        description="Service that callers use, which rules name before Aviary has written any.",
    )
    version_service: VersionName = Field(
        default=TEMPLATE, description="Name of the Service of a version."
    )
    apart: bool = Field(
        default=False,
        description="Whether the Service of each version has a twin `<name>-apart`, which gets "
        "what no split sends there: forced requests, copies, those outside of the audience.",
    )
    forced: bool = Field(
        default=True,
        description="Whether requests can ask for a version: two rules more for each of the "
        "service, while there is a canary.",
    )
    traefik: tuple[_Address, ...] = Field(
        default=(),
        max_length=1000,
        description="Address of every Traefik's API, where Traefik implements the Gateways: each "
        "is asked whether it serves the route, and its metrics count requests.",
    )


def _check(options: GatewayApiOptions, _: KubernetesConnection | None) -> Iterator[Finding]:
    if not options.http_routes and not options.grpc_routes:
        expected = "the name of an HTTPRoute, or grpc_routes beside it"
        yield Finding(("http_routes",), [], expected)


def _narrowed(options: GatewayApiOptions) -> Capabilities:
    found: dict[str, object] = {} if options.forced else {"forced": ()}
    if options.traefik:
        # It accepts RequestMirror, and then answers 500 to every request of the rule.
        found |= {"counts": Counting.METRICS, "mirroring": False}
    return CAPABILITIES.model_copy(update=found)


def _make(
    options: GatewayApiOptions, connection: KubernetesConnection | None, shared: Shared
) -> Router:
    from adapters.kubernetes.client import KubernetesClient  # noqa: PLC0415 - a client library is heavy
    from adapters.routers.gateway_api.form import GatewayForm  # noqa: PLC0415 - the same
    from adapters.routers.gateway_api.traefik import TraefikPlane  # noqa: PLC0415 - the same
    from adapters.routers.kubernetes.backends import ServiceVersions  # noqa: PLC0415 - the same
    from adapters.routers.kubernetes.router import ObjectRouter  # noqa: PLC0415 - the same

    if connection is None:
        raise ValueError("expected a connection of kind kubernetes")
    form = GatewayForm(
        options.http_routes,
        options.grpc_routes,
        options.service,
        options.version_service,
        options.apart,
        options.forced,
    )
    api = KubernetesClient(connection)
    return ObjectRouter(
        api,
        form,
        versions=ServiceVersions(api, form.backends),
        can=_narrowed(options),
        namespace=options.namespace,
        planes=[TraefikPlane(url, shared.http) for url in options.traefik],
        label="{namespace}-{name}" if options.traefik else "{name}",
    )


GATEWAY_API: Final = RouterKind[GatewayApiOptions, KubernetesConnection](
    name="gateway_api",
    text="HTTPRoutes and GRPCRoutes of Kubernetes' Gateway API, whatever implements it.",
    options=GatewayApiOptions,
    connection=KubernetesConnection,
    needs_connection=True,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    narrowed=_narrowed,
    metrics=(RatioMetric(name="errors"), HistogramMetric(name="latency")),
    packed=lambda options: "traefik-gateway" if options.traefik else None,
)
