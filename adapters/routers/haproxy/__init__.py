"""HAProxy, as a kind of router.

Here belongs all that knows HAProxy's maps, sockets, configuration and names of backends. Nothing of
another router does, and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from adapters.connections import Connection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.haproxy.capabilities import CAPABILITIES
from schemas.base import Model
from schemas.catalog_check import MISSING, Finding
from schemas.judging import RatioMetric

_Socket = Annotated[
    str,
    Field(
        pattern=r"^(/[^\s:@]+|([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5})$",
        max_length=255,
        description="An HAProxy's socket: a path such as /run/haproxy/admin.sock, or host:port.",
    ),
]
_Sockets = Annotated[
    tuple[_Socket, ...],
    Field(min_length=1, max_length=1000, description="Sockets of all HAProxies."),
]


class HaproxyConnection(Connection):
    """Some HAProxies."""

    connection_kind: ClassVar[str] = "haproxy"

    sockets: _Sockets


class HaproxyOptions(Model):
    """HAProxy with routes in a map."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["sockets"],
                    "properties": {"sockets": {"type": "array"}, "connection": {"type": "null"}},
                },
                {
                    "required": ["connection"],
                    "properties": {"connection": {"type": "string"}, "sockets": {"type": "null"}},
                },
            ]
        }
    )

    directory: str = Field(
        min_length=1,
        max_length=4096,
        pattern=r"^[^\s\"'\\#]+$",
        description="Folder of the map and the configuration that HAProxy reads.",
    )
    sockets: _Sockets | None = Field(
        default=None,
        description="Stats or master sockets of all HAProxies, or a connection that has them.",
    )
    health_path: str | None = Field(
        default=None,
        pattern=r"^/[!$-&(-\[\]-~]{0,499}$",
        description="Path of the HTTP health check of pools that Aviary makes; left out: a "
        "connection is enough.",
    )


def _check(options: HaproxyOptions, connection: HaproxyConnection | None) -> Iterator[Finding]:
    if connection is None and options.sockets is None:
        expected = "a value (sockets of all HAProxies), or a connection that has them"
        yield Finding(("sockets",), MISSING, expected)
    if connection is not None and options.sockets is not None:
        yield Finding(("sockets",), options.sockets, "none, since the connection has them")


def _make(options: HaproxyOptions, connection: HaproxyConnection | None, _: Shared) -> Router:
    from adapters.routers.haproxy.router import HaproxyRouter  # noqa: PLC0415 - only where used

    sockets = connection.sockets if connection is not None else options.sockets or ()
    return HaproxyRouter(Path(options.directory), sockets, health_path=options.health_path)


HAPROXY: Final = RouterKind[HaproxyOptions, HaproxyConnection](
    name="haproxy",
    text="HAProxy that splits by a map in `directory`; `sockets` lists the socket of each.",
    options=HaproxyOptions,
    connection=HaproxyConnection,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    metrics=(RatioMetric(name="errors"),),
    pack="haproxy",
)
