"""Pools: the instances of one version, as two Traefik services with the same servers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from adapters.routers.traefik.names import apart_name, pool_name
from schemas.base import Model, ServiceName, Version

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
