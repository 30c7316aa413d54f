"""Caddy, as a kind of router.

Here belongs all that knows Caddyfiles, Caddy's admin API and its metrics. Nothing of another
router does, and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from adapters.http_connection import HttpConnection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.caddy.capabilities import CAPABILITIES
from adapters.routers.caddy.folder_form import HEALTH_PATH
from schemas.base import Model
from schemas.catalog_check import MISSING, Finding
from schemas.judging import HistogramMetric, RatioMetric

_WORD: Final = r"^[^\s\"'`\\#{}]+$"
_Instance = Annotated[
    str,
    Field(
        pattern=r"^(https?://[^/\s@?#]+/?|unix:/[^\s?#]{1,100})$",
        description="Where one Caddy answers: unix:/run/caddy/aviary.sock, or http://host:port.",
    ),
]
_Instances = Annotated[
    tuple[_Instance, ...],
    Field(min_length=1, max_length=1000, description="Where each Caddy of the folder answers."),
]


class CaddyConnection(HttpConnection):
    """Some Caddys, with what they ask of those who call them."""

    connection_kind: ClassVar[str] = "caddy"

    instances: _Instances


class CaddyOptions(Model):
    """Caddy with routes in files of a folder."""

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

    directory: str = Field(
        min_length=1,
        max_length=4096,
        pattern=_WORD,
        description="Folder of the routes and the sites that Caddy reads.",
    )
    instances: _Instances | None = Field(
        default=None, description="Where each Caddy answers, or a connection that has them."
    )
    caddyfile: str = Field(
        default="/etc/caddy/Caddyfile",
        max_length=4096,
        pattern=_WORD,
        description="Caddy's configuration, loaded again for other instances; as Caddy sees it.",
    )
    health_path: str | None = Field(
        default=None,
        pattern=HEALTH_PATH,
        description="Path of the HTTP health check of pools that Aviary makes; left out: none.",
    )


def _check(options: CaddyOptions, connection: CaddyConnection | None) -> Iterator[Finding]:
    if connection is None and options.instances is None:
        expected = "a value (where each Caddy answers), or a connection that has them"
        yield Finding(("instances",), MISSING, expected)
    if connection is not None and options.instances is not None:
        yield Finding(("instances",), options.instances, "none, since the connection has them")


def _make(options: CaddyOptions, connection: CaddyConnection | None, _: Shared) -> Router:
    from adapters.routers.caddy.router import CaddyRouter  # noqa: PLC0415 - its client library is heavy

    return CaddyRouter(
        Path(options.directory),
        connection.instances if connection is not None else options.instances or (),
        caddyfile=options.caddyfile,
        access=None if connection is None else connection.access(),
        health_path=options.health_path,
    )


CADDY: Final = RouterKind[CaddyOptions, CaddyConnection](
    name="caddy",
    text="Caddy that splits by files in `directory`; `instances` lists where each answers.",
    options=CaddyOptions,
    connection=CaddyConnection,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    metrics=(RatioMetric(name="errors"), HistogramMetric(name="latency")),
    pack="caddy",
)
