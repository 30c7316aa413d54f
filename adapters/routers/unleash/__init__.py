"""Unleash's feature flags, as a kind of router: on and off, or variants, are released as versions.

Here belongs all that knows Unleash's API, its strategies and how they are evaluated. Nothing of
another router does, and nothing that decides.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator, model_validator

from adapters.connections import Connection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.unleash.capabilities import CAPABILITIES
from adapters.secrets import Secret
from adapters.tls import TlsFiles
from schemas.base import Model

_NAME: Final = r"^[A-Za-z0-9._~!*'()-]{1,100}$"
"""What Unleash takes for the name of a project, an environment or a flag."""
_Name = Annotated[str, Field(pattern=_NAME)]


class UnleashConnection(Connection):
    """One Unleash, with the tokens that it gave out."""

    connection_kind: ClassVar[str] = "unleash"

    url: str = Field(
        pattern=r"^https?://[^/\s@?#]+(/[^\s@?#]*)?$",
        max_length=500,
        description="Address of the server, with the path that it is served below, if any.",
    )
    token: Secret = Field(
        description="An admin API token, or a service account's, that may read a project and "
        "create, update and enable strategies in the environment."
    )
    client_token: Secret | None = Field(
        default=None,
        description="A backend API token of the environment; with it, what is served to "
        "applications is read back after each write.",
    )
    ca_file: Path | None = Field(
        default=None, description="Authorities, PEM; the system's when not set."
    )

    def trusted(self) -> ssl.SSLContext | bool:
        """Whom to trust; False where nothing is encrypted.

        Raises:
            OSError: the file of authorities can't be read, or is none.
        """
        return TlsFiles(self.ca_file).context() if self.url.startswith("https:") else False

    @model_validator(mode="after")
    def _certificates(self) -> UnleashConnection:
        try:
            self.trusted()
        except OSError as error:  # SSLError is one
            text = f"ca_file: expected a readable PEM file, got {self.ca_file}: {error}"
            raise ValueError(text) from None
        return self


class UnleashOptions(Model):
    """A flag in one environment of a project of Unleash."""

    flag: _Name | None = Field(
        default=None, description="Name of the flag; left out: the name of the service."
    )
    project: _Name = Field(default="default", description="The flag's project.")
    environment: _Name = Field(
        default="production", description="In which it is released; others are left alone."
    )
    stickiness: _Name = Field(
        default="default",
        description="Field of the context by which a user stays in: default (userId, then "
        "sessionId), userId, sessionId, or one of your own that is marked for stickiness.",
    )
    group_id: _Name | None = Field(
        default=None,
        description="Flags with the same group are on for the same users; left out: the flag's "
        "name.",
    )

    @field_validator("stickiness")
    @classmethod
    def _keeps(cls, value: str) -> str:
        if value == "random":
            raise ValueError("expected a field of the context: random keeps nobody in")
        return value


def _make(options: UnleashOptions, connection: UnleashConnection | None, _: Shared) -> Router:
    from adapters.routers.unleash.api import UnleashApi  # noqa: PLC0415 - its library is heavy
    from adapters.routers.unleash.router import UnleashRouter  # noqa: PLC0415 - the same

    if connection is None:
        raise ValueError("connection: expected the name of one, with the server's address")
    place = UnleashApi(connection, options.project, options.environment)
    return UnleashRouter(
        place,
        options.flag,
        stickiness=options.stickiness,
        group=options.group_id,
    )


UNLEASH: Final = RouterKind[UnleashOptions, UnleashConnection](
    name="unleash",
    text="A feature flag of Unleash: on and off, or its variants, are released as versions.",
    options=UnleashOptions,
    connection=UnleashConnection,
    needs_connection=True,
    make=_make,
    capabilities=CAPABILITIES,
)
