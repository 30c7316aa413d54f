"""What a folder of Caddy's has, besides routes."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from adapters.routers.caddy.names import pool_name
from schemas.base import Model, ServiceName, Version

SOCKET: Final = "/run/caddy/aviary.sock"
HEALTH_PATH: Final = r"^/[!$-&(-\[\]-_a-z|~]{0,499}$"
"""Of a path: no blank, quote, brace, backquote or comment of a Caddyfile."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Pool(Model):
    """The instances of one version of a service."""

    service: ServiceName
    version: Version
    endpoints: tuple[tuple[str, Port], ...] = Field(
        description="Host and port of each instance; may be empty while none runs."
    )
    health_path: str | None = Field(
        default=None,
        pattern=HEALTH_PATH,
        description="Path of an HTTP health check; None: only what requests meet is looked at.",
    )

    @property
    def name(self) -> str:
        """The pool's site, as Caddy's metrics show it."""
        return pool_name(self.service, self.version)


class Config(Model):
    """All that the sites are made of."""

    socket: str = SOCKET
    listens: tuple[str, ...] = ()
    pools: tuple[Pool, ...] = ()
