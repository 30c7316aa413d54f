"""NGINX (open source) with its Lua module, as a kind of router.

Here belong the client of its internal server, and in `etc` what nginx itself is given. What decides
when a route is written does not, and nothing of another router.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from adapters.http_connection import HttpConnection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.nginx.capabilities import CAPABILITIES
from schemas.base import Model
from schemas.catalog_check import MISSING, Finding
from schemas.judging import HistogramMetric, RatioMetric

_Instance = Annotated[
    str,
    Field(
        pattern=r"^(https?://[^/\s@?#]+/?|unix:/[^\s?#]{1,100})$",
        description="Internal server of one nginx: unix:/run/aviary/nginx.sock, or http://host:port.",
    ),
]
_Instances = Annotated[
    tuple[_Instance, ...],
    Field(min_length=1, max_length=1000, description="Internal servers of all instances of nginx."),
]


class NginxConnection(HttpConnection):
    """A fleet of nginx, with what its internal servers ask of those who call them."""

    connection_kind: ClassVar[str] = "nginx"

    instances: _Instances


class NginxOptions(Model):
    """nginx with Aviary's Lua module; each instance keeps its routes itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["instances"],
                    "properties": {"instances": {"type": "array"}, "connection": {"type": "null"}},
                },
                {
                    "required": ["connection"],
                    "properties": {"connection": {"type": "string"}, "instances": {"type": "null"}},
                },
            ]
        }
    )

    instances: _Instances | None = Field(
        default=None, description="Internal servers of all nginx, or a connection that has them."
    )


def _check(options: NginxOptions, connection: NginxConnection | None) -> Iterator[Finding]:
    if connection is None and options.instances is None:
        expected = "a value (internal servers of all nginx), or a connection that has them"
        yield Finding(("instances",), MISSING, expected)
    if connection is not None and options.instances is not None:
        yield Finding(("instances",), options.instances, "none, since the connection has them")


def _make(options: NginxOptions, connection: NginxConnection | None, _shared: Shared) -> Router:
    from adapters.routers.nginx.router import NginxRouter  # noqa: PLC0415 - its client library is heavy

    if connection is not None:
        return NginxRouter(connection.instances, access=connection.access())
    return NginxRouter(options.instances or ())


NGINX: Final = RouterKind[NginxOptions, NginxConnection](
    name="nginx",
    text="nginx with Aviary's Lua module; `instances` lists the internal server of each.",
    options=NginxOptions,
    connection=NginxConnection,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    metrics=(RatioMetric(name="errors"), HistogramMetric(name="latency")),
    pack="nginx",
)
