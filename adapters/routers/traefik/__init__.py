"""Traefik, as two kinds of router: with routes in files, and with routes in etcd.

Here belongs all that knows Traefik's configuration, API and names. Nothing of another router does,
and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from adapters.http_connection import HttpConnection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.traefik.capabilities import ETCD, FILE, Sticky, kept
from adapters.routers.traefik.document import LOCAL, Entrance
from adapters.secrets import Secret
from adapters.tls import TlsFiles
from schemas.base import Model
from schemas.catalog_check import MISSING, Finding
from schemas.judging import HistogramMetric, RatioMetric

if TYPE_CHECKING:
    import httpx

    from adapters.http_access import HttpAccess

_Address = Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+/?$", max_length=500)]
_Apis = Annotated[
    tuple[_Address, ...],
    Field(
        min_length=1,
        max_length=1000,
        description="Address of the API of every Traefik, such as http://127.0.0.1:8080.",
    ),
]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]{0,99}$")]
_WITHIN: Final = 1.0


class TraefikConnection(HttpConnection):
    """A fleet of Traefiks, with what their API asks for."""

    connection_kind: ClassVar[str] = "traefik"

    api: _Apis


class TraefikEtcdConnection(TraefikConnection):
    """A fleet of Traefiks, and the etcd that they read."""

    connection_kind: ClassVar[str] = "traefik-etcd"

    etcd: tuple[_Address, ...] = Field(
        min_length=1, max_length=20, description="Addresses of the members of one cluster."
    )
    etcd_user: str | None = Field(default=None, min_length=1, description="Of etcd itself.")
    etcd_password: Secret | None = None
    etcd_ca_file: Path | None = Field(default=None, description="Its authorities, PEM.")
    etcd_cert_file: Path | None = Field(default=None, description="Our certificate for it, PEM.")
    etcd_key_file: Path | None = Field(default=None, description="The key of that, PEM.")

    @model_validator(mode="after")
    def _user_and_password(self) -> TraefikEtcdConnection:
        if (self.etcd_user is None) != (self.etcd_password is None):
            raise ValueError("expected etcd_user and etcd_password beside each other")
        if self.etcd_key_file is not None and self.etcd_cert_file is None:
            raise ValueError("expected etcd_cert_file beside etcd_key_file")
        try:
            self._etcd_tls.context()
        except OSError as error:
            text = f"expected readable PEM files ({self._etcd_tls}): {error}"
            raise ValueError(text) from None
        return self

    @property
    def etcd_access(self) -> HttpAccess:
        """The access to etcd, whose own authentication is no part of it."""
        from adapters.http_access import HttpAccess  # noqa: PLC0415 - its client libraries are heavy

        return HttpAccess(tls=self._etcd_tls)

    @property
    def _etcd_tls(self) -> TlsFiles:
        return TlsFiles(self.etcd_ca_file, self.etcd_cert_file, self.etcd_key_file)


class TraefikOptions(Model):
    """Which requests are those of a service, for both kinds."""

    rule: str = Field(
        default=LOCAL,
        min_length=1,
        max_length=2000,
        pattern=r"^[ -~]*\{service\}[ -~]*$",
        description="Rule of the router, in Traefik's language; `{service}` stands for the name.",
    )
    entry_points: tuple[_Name, ...] = Field(
        default=(), max_length=20, description="Names; none: those that Traefik takes by default."
    )
    middlewares: tuple[_Name, ...] = Field(
        default=(), max_length=20, description="Of Traefik, for every request of the service."
    )
    tls: bool = Field(default=False, description="Whether the routers are for TLS.")
    sticky: Sticky = Field(
        default=Sticky.NONE,
        description="What keeps a user on a version: nothing, the address (the weight splits "
        "addresses), or a cookie (kept until that version has weight 0, whatever it has before).",
    )

    health_path: str | None = Field(
        default=None,
        pattern=r"^/[!-~]{0,499}$",
        description="Path of the HTTP health check of pools that Aviary makes; left out: nobody "
        "knows who is healthy.",
    )

    @property
    def entrance(self) -> Entrance:
        """The same for the router."""
        return Entrance(self.rule, self.entry_points, self.middlewares, self.tls, self.sticky)


class TraefikFileOptions(TraefikOptions):
    """Traefik with routes in a folder that it watches."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["api"],
                    "properties": {"api": {"type": "array"}, "connection": {"type": "null"}},
                },
                {
                    "required": ["connection"],
                    "properties": {"connection": {"type": "string"}, "api": {"type": "null"}},
                },
            ]
        }
    )

    directory: str = Field(
        min_length=1, max_length=4096, description="Folder that the file provider watches."
    )
    api: _Apis | None = Field(
        default=None, description="Address of every Traefik's API, or a connection that has them."
    )


class TraefikEtcdOptions(TraefikOptions):
    """Traefik with routes in etcd."""

    root_key: str = Field(
        default="traefik",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=200,
        description="Root of Traefik's keys, as its etcd provider has it.",
    )


def _check_file(
    options: TraefikFileOptions, connection: TraefikConnection | None
) -> Iterator[Finding]:
    if connection is None and options.api is None:
        expected = "a value (addresses of every Traefik's API), or a connection that has them"
        yield Finding(("api",), MISSING, expected)
    if connection is not None and options.api is not None:
        yield Finding(("api",), options.api, "none, since the connection has them")


def _make_file(
    options: TraefikFileOptions, connection: TraefikConnection | None, shared: Shared
) -> Router:
    from adapters.routers.traefik.file import FileStore  # noqa: PLC0415 - a client library is heavy
    from adapters.routers.traefik.router import TraefikRouter  # noqa: PLC0415 - the same

    return TraefikRouter(
        FileStore(Path(options.directory)),
        connection.api if connection is not None else options.api or (),
        client=shared.http if connection is None else _client(connection.access()),
        can=kept(FILE, options.sticky),
        entrance=options.entrance,
        health_path=options.health_path,
        owns=connection is not None,
    )


def _make_etcd(
    options: TraefikEtcdOptions, connection: TraefikEtcdConnection | None, _: Shared
) -> Router:
    from adapters.routers.traefik.etcd import EtcdStore  # noqa: PLC0415 - a client library is heavy
    from adapters.routers.traefik.router import TraefikRouter  # noqa: PLC0415 - the same

    if connection is None:
        raise ValueError("expected a connection with the addresses of etcd and of Traefik")
    store = EtcdStore(
        connection.etcd,
        _client(connection.etcd_access),
        root_key=options.root_key,
        user=connection.etcd_user,
        password=connection.etcd_password,
    )
    return TraefikRouter(
        store,
        connection.api,
        client=_client(connection.access()),
        can=kept(ETCD, options.sticky),
        entrance=options.entrance,
        health_path=options.health_path,
        owns=True,
    )


def _client(access: HttpAccess) -> httpx.AsyncClient:
    from adapters.http_access import open_client  # noqa: PLC0415 - a client library is heavy

    return open_client(access, timeout_s=_WITHIN)


_METRICS: Final = (RatioMetric(name="errors"), HistogramMetric(name="latency"))

TRAEFIK_FILE: Final = RouterKind[TraefikFileOptions, TraefikConnection](
    name="traefik-file",
    text="Traefik with routes in a `directory` of its file provider; `api` lists the address of "
    "each API.",
    options=TraefikFileOptions,
    connection=TraefikConnection,
    check=_check_file,
    make=_make_file,
    capabilities=FILE,
    narrowed=lambda options: kept(FILE, options.sticky),
    metrics=_METRICS,
    pack="traefik",
)

TRAEFIK_ETCD: Final = RouterKind[TraefikEtcdOptions, TraefikEtcdConnection](
    name="traefik-etcd",
    text="Traefik with routes in etcd, in one transaction; the connection has all addresses.",
    options=TraefikEtcdOptions,
    connection=TraefikEtcdConnection,
    needs_connection=True,
    make=_make_etcd,
    capabilities=ETCD,
    narrowed=lambda options: kept(ETCD, options.sticky),
    metrics=_METRICS,
    pack="traefik",
)
