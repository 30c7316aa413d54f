"""Pools: the instances of one version, as two Traefik services with the same servers.

What Aviary was told of a service's pools is carried by a middleware beside them, which no router
uses: endpoints and generations by version, those that were forgotten among them. It is the fence,
and shows which pools a Traefik has taken up.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from adapters.errors import Retryable
from adapters.routers.endpoint_fence import EndpointsByVersion, in_use
from adapters.routers.traefik.names import apart_name, pool_name, pools_mark_name
from adapters.routers.traefik.store import Entries
from schemas.base import Model, ServiceName, Version
from schemas.deployment import Endpoint, Endpoints

TOLD: Final = "aviary-pools"
"""The header of the middleware that carries it."""
_FORGOTTEN_MOST: Final = 100
"""Versions of a service that were forgotten and are still fenced: those of the largest
generations."""
_NEVER: Final = "PathPrefix(`/`) && !PathPrefix(`/`)"
_Url = Annotated[str, Field(pattern=r"^https?://[^\s@/?#]+$", max_length=500)]


class Pool(Model):
    """The instances of one version of a service."""

    service: ServiceName
    version: Version
    servers: tuple[_Url, ...] = Field(
        min_length=1, description="Address of each instance, such as http://10.0.0.7:8080."
    )
    health_path: str | None = Field(
        default=None,
        pattern="^/",
        max_length=500,
        description="Path of an HTTP health check; None: Traefik can't tell who is healthy.",
    )

    @property
    def document(self) -> dict[str, Any]:
        """Its services, as Traefik's dynamic configuration has them.

        Traefik checks the health of what some router uses. So there is one that takes no request,
        and who is healthy is known before the version gets its first.
        """
        name = pool_name(self.service, self.version)
        router = {"rule": _NEVER, "priority": 1, "service": name}
        return {"http": {"services": self._services, "routers": {name: router}}}

    @property
    def _services(self) -> dict[str, Any]:
        balancer: dict[str, Any] = {"servers": [{"url": url} for url in self.servers]}
        apart = {"loadBalancer": dict(balancer)}
        if self.health_path is not None:
            check = {"path": self.health_path, "interval": "1s", "timeout": "1s"}
            balancer["healthCheck"] = check
        # No health check of its own: who asks for this version gets it, or its error.
        return {
            pool_name(self.service, self.version): {"loadBalancer": balancer},
            apart_name(self.service, self.version): apart,
        }


class _Marked(Model):
    versions: dict[Version, Endpoints]


def pools_document(
    service: str, told: EndpointsByVersion, health_path: str | None
) -> dict[str, Any]:
    """Describe to Traefik what was told of a service's pools, and the pools."""
    services: dict[str, Any] = {}
    routers: dict[str, Any] = {}
    for version, one in in_use(told).items():
        servers = tuple(url_of(endpoint) for endpoint in one.endpoints)
        pool = Pool(service=service, version=version, servers=servers, health_path=health_path)
        services |= pool.document["http"]["services"]
        routers |= pool.document["http"]["routers"]
    text = _Marked(versions=_bounded(told)).model_dump_json()
    mark = {pools_mark_name(service): {"headers": {"customRequestHeaders": {TOLD: text}}}}
    found = {"services": services, "routers": routers} if services else {}
    return {"http": {**found, "middlewares": mark}}


def url_of(endpoint: Endpoint) -> str:
    """An instance as Traefik names a server."""
    return f"http://{endpoint}"


def told_in(entries: Entries, service: str) -> dict[str, Endpoints]:
    """What was told of a service's pools, in what a store has.

    Raises:
        Retryable: it is damaged: somebody must repair it.
    """
    text = entries.get(told_path(service))
    return {} if text is None else read_told(service, text)


def told_path(service: str) -> str:
    """Where in a store it is."""
    mark = pools_mark_name(service)
    return f"http/middlewares/{mark}/headers/customRequestHeaders/{TOLD}"


def read_told(service: str, text: str) -> dict[str, Endpoints]:
    """The same as the middleware carries it.

    Raises:
        Retryable: it is damaged.
    """
    try:
        return _Marked.model_validate_json(text).versions
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors(include_input=False))
        name = pools_mark_name(service)
        raise Retryable(f"middleware {name}: expected pools: {why}") from None


def _bounded(told: EndpointsByVersion) -> dict[str, Endpoints]:
    gone = [(one.generation, version) for version, one in told.items() if not one.endpoints]
    without = {version for _, version in sorted(gone)[: max(0, len(gone) - _FORGOTTEN_MOST)]}
    return {version: one for version, one in told.items() if version not in without}
