"""Istio as a kind of router: VirtualServices of a team.

Here belongs what a VirtualService, its destinations and istiod are. Nothing of another router does,
and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from adapters.kinds import RouterKind, Shared
from adapters.kubernetes.connection import KubernetesConnection, Namespace
from adapters.ports import Router
from adapters.routers.istio.capabilities import CAPABILITIES
from adapters.routers.kubernetes.options import ObjectName, VersionName
from schemas.base import Model
from schemas.capabilities import Capabilities
from schemas.catalog_check import Finding
from schemas.judging import HistogramMetric, RatioMetric

_Address = Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+/?$", max_length=500)]


class IstioOptions(Model):
    """VirtualServices that a team has; only destinations, and routes added, are Aviary's."""

    namespace: Namespace | None = Field(
        default=None,
        description="Of the VirtualServices and Services; none: that of the connection.",
    )
    virtual_services: tuple[ObjectName, ...] = Field(
        default=("{service}",),
        min_length=1,
        max_length=16,
        description="Names of all VirtualServices of the service.",
    )
    service: ObjectName = Field(
        default="{service}",
        description="Service that callers use: the host that routes name before Aviary has written "
        "any.",
    )
    version_service: VersionName = Field(
        default="{service}-{version}", description="Name of the Service of a version."
    )
    subsets: bool = Field(
        default=False,
        description="Whether versions are subsets of the service's host in its DestinationRule, by "
        "the name that version_service gives, and not Services of their own.",
    )
    apart: bool = Field(
        default=False,
        description="Whether the Service of each version has a twin `<name>-apart`, which gets "
        "what no split sends there.",
    )
    forced: bool = Field(
        default=True,
        description="Whether requests can ask for a version: two routes more for each of the "
        "service, while there is a canary.",
    )
    istiod: tuple[_Address, ...] = Field(
        default=(),
        max_length=20,
        description="Address of every istiod's debug interface, where it answers the worker: each "
        "is asked whether its proxies serve the route.",
    )


def _check(options: IstioOptions, _: KubernetesConnection | None) -> Iterator[Finding]:
    if options.subsets and options.apart:
        yield Finding(("apart",), True, "none beside subsets, which have no twins")


def _narrowed(options: IstioOptions) -> Capabilities:
    forced = CAPABILITIES.forced if options.forced else ()
    return CAPABILITIES.model_copy(update={"forced": forced})


def _make(options: IstioOptions, connection: KubernetesConnection | None, shared: Shared) -> Router:
    from adapters.kubernetes.client import KubernetesClient  # noqa: PLC0415 - a client library is heavy
    from adapters.routers.istio.form import IstioForm  # noqa: PLC0415 - the same
    from adapters.routers.istio.istiod import IstiodPlane  # noqa: PLC0415 - the same
    from adapters.routers.istio.subsets import SubsetVersions  # noqa: PLC0415 - the same
    from adapters.routers.kubernetes.backends import ServiceVersions  # noqa: PLC0415 - the same
    from adapters.routers.kubernetes.router import ObjectRouter  # noqa: PLC0415 - the same

    if connection is None:
        raise ValueError("expected a connection of kind kubernetes")
    form = IstioForm(
        options.virtual_services,
        options.service,
        options.version_service,
        options.apart,
        options.subsets,
        options.forced,
    )
    kind = SubsetVersions if options.subsets else ServiceVersions
    api = KubernetesClient(connection)
    return ObjectRouter(
        api,
        form,
        versions=kind(api, form.backends),
        can=_narrowed(options),
        namespace=options.namespace,
        planes=[IstiodPlane(url, shared.http) for url in options.istiod],
    )


ISTIO: Final = RouterKind[IstioOptions, KubernetesConnection](
    name="istio",
    text="VirtualServices of Istio, with Services of versions or with subsets.",
    options=IstioOptions,
    connection=KubernetesConnection,
    needs_connection=True,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    narrowed=_narrowed,
    metrics=(RatioMetric(name="errors"), HistogramMetric(name="latency")),
    pack="istio",
)
