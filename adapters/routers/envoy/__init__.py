"""Envoy, as a kind of router.

Here belongs all that knows Envoy's files, admin interface and names of clusters. Nothing of another
router does, and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from adapters.connections import Connection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.envoy.capabilities import CAPABILITIES
from schemas.base import Model
from schemas.catalog_check import MISSING, Finding
from schemas.judging import HistogramMetric, RatioMetric

_Admin = Annotated[
    str,
    Field(
        pattern=r"^https?://[^/\s@]+/?$",
        description="An Envoy's admin address, such as http://127.0.0.1:9901.",
    ),
]
_Admins = Annotated[
    tuple[_Admin, ...],
    Field(min_length=1, max_length=1000, description="Admin addresses of all Envoys."),
]


class EnvoyConnection(Connection):
    """A fleet of Envoys."""

    connection_kind: ClassVar[str] = "envoy"

    admin: _Admins


class EnvoyOptions(Model):
    """Envoy with routes from the file system (RDS), all in one file."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["admin"],
                    "properties": {"admin": {"type": "array"}, "connection": {"type": "null"}},
                },
                {
                    "required": ["connection"],
                    "properties": {"connection": {"type": "string"}, "admin": {"type": "null"}},
                },
            ]
        }
    )

    directory: str = Field(
        min_length=1, max_length=4096, description="Folder of the route files Envoy watches."
    )
    admin: _Admins | None = Field(
        default=None, description="Admin addresses of all Envoys, or a connection that has them."
    )
    health_path: str | None = Field(
        default=None,
        pattern=r"^/[!-~]{0,500}$",
        description="Path of the HTTP health check of pools that Aviary makes; left out: a "
        "connection is enough.",
    )


def _check(options: EnvoyOptions, connection: EnvoyConnection | None) -> Iterator[Finding]:
    if connection is None and options.admin is None:
        expected = "a value (admin addresses of all Envoys), or a connection that has them"
        yield Finding(("admin",), MISSING, expected)
    if connection is not None and options.admin is not None:
        yield Finding(("admin",), options.admin, "none, since the connection has them")


def _make(options: EnvoyOptions, connection: EnvoyConnection | None, shared: Shared) -> Router:
    from adapters.routers.envoy.router import EnvoyRouter  # noqa: PLC0415 - its client library is heavy

    admin = connection.admin if connection is not None else options.admin or ()
    return EnvoyRouter(
        Path(options.directory), admin, client=shared.http, health_path=options.health_path
    )


ENVOY: Final = RouterKind[EnvoyOptions, EnvoyConnection](
    name="envoy",
    text="Envoy that watches route files in `directory`; `admin` lists the admin address of each.",
    options=EnvoyOptions,
    connection=EnvoyConnection,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    metrics=(RatioMetric(name="errors"), HistogramMetric(name="latency")),
    pack="envoy",
)
