"""What a connection to a server over HTTP holds: who we are, and whom we trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from adapters.connections import Connection
from adapters.secrets import Secret
from adapters.tls import TlsFiles

if TYPE_CHECKING:
    from adapters.http_access import HttpAccess


class HttpConnection(Connection):
    """Credentials and certificates; the address is the business of the kind."""

    user: str | None = Field(default=None, min_length=1, description="For basic authentication.")
    password: Secret | None = Field(default=None, description="Its password.")
    token: Secret | None = Field(default=None, description="A bearer token, in place of a user.")
    ca_file: Path | None = Field(
        default=None, description="Authorities, PEM; the system's when not set."
    )
    cert_file: Path | None = Field(default=None, description="Our certificate with its chain, PEM.")
    key_file: Path | None = Field(
        default=None, description="Its private key, PEM, where it is not in the same file."
    )

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("expected user and password beside each other")
        if self.user is not None and self.token is not None:
            raise ValueError("expected a user or a token, and not both")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("expected cert_file beside key_file")
        return self

    @model_validator(mode="after")
    def _certificates(self) -> Self:
        try:
            self._tls.context()
        except OSError as error:  # SSLError is one
            text = f"expected readable PEM files ({self._tls}): {error}"
            raise ValueError(text) from None
        return self

    @property
    def _tls(self) -> TlsFiles:
        return TlsFiles(self.ca_file, self.cert_file, self.key_file)

    def access(self) -> HttpAccess:
        """The access, as an HTTP client takes it."""
        from adapters.http_access import HttpAccess  # noqa: PLC0415 - its client libraries are heavy

        return HttpAccess(user=self.user, password=self.password, token=self.token, tls=self._tls)
