"""How an HTTP server lets Aviary in: who we are, and whom we trust. Shared by all such adapters.

Secrets stay apart from addresses, and are in no error, log line or representation.
"""

from __future__ import annotations

import base64
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic import SecretStr
from requests import PreparedRequest, Session
from requests.auth import AuthBase

from adapters.errors import Retryable
from adapters.tls import TlsFiles


@dataclass(frozen=True)
class Secret:
    """A secret that is given, or one in a file, which is read anew at each use: tokens rotate."""

    given: SecretStr | None = None
    file: Path | None = None
    is_password: bool = False
    """Anything else goes into a header as it is, which must be ASCII."""

    def read(self) -> str:
        """The secret, without white space around it.

        Raises:
            Retryable: its file can't be read, is empty, or has what no client could send (whose
                error would show it); names the file alone.
        """
        text = self._read()
        if why := unsendable(text, is_password=self.is_password):
            raise Retryable(f"{self.file or 'a secret'}: {why}")
        return text

    def _read(self) -> str:
        if self.file is None:
            return self.given.get_secret_value() if self.given else ""
        try:
            text = self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise Retryable(f"{self.file}: expected a readable secret ({why})") from None
        if not text:
            raise Retryable(f"{self.file}: empty, expected a secret")
        return text


def unsendable(secret: str, *, is_password: bool) -> str:
    """Why a secret can't be sent, which does not show it; empty if it can be."""
    if not secret.isprintable():
        return "expected one line of printable characters"
    if not is_password and not (secret.isascii() and " " not in secret):
        return "expected ASCII without white space"
    return ""


@dataclass(frozen=True)
class HttpAccess:
    """What an HTTP client is told besides the address; by default no credentials."""

    user: str | None = None
    """For basic authentication, with `password`."""
    password: Secret | None = None
    token: Secret | None = None
    """A bearer token; not beside a user."""
    tls: TlsFiles = field(default_factory=TlsFiles)

    def authorization(self) -> str | None:
        """The header `Authorization` as of now; None where no credentials are set.

        Raises:
            Retryable: the file of a secret can't be read.
        """
        if self.token is not None:
            return f"Bearer {self.token.read()}"
        if self.user is None:
            return None
        password = self.password.read() if self.password else ""
        pair = base64.b64encode(f"{self.user}:{password}".encode()).decode()
        return f"Basic {pair}"


class RequestsAuth(AuthBase):
    """An access as the client library `requests` takes it."""

    def __init__(self, access: HttpAccess) -> None:
        """Ask this access before each request."""
        self._access = access

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the credentials."""
        header = self._access.authorization()
        if header is not None:
            request.headers["Authorization"] = header
        return request


def admit(session: Session, access: HttpAccess) -> None:
    """Give a session of `requests` an access."""
    session.auth = RequestsAuth(access)
    tls = access.tls
    session.verify = str(tls.ca) if tls.ca else True
    if tls.cert is not None:
        session.cert = (str(tls.cert), str(tls.key)) if tls.key else str(tls.cert)


def open_client(access: HttpAccess, *, timeout_s: float) -> httpx.AsyncClient:
    """Make a client of `httpx` with an access; certificates are read now.

    Raises:
        OSError: a file of certificates can't be read, or is not what it should be.
    """
    return httpx.AsyncClient(auth=HttpxAuth(access), verify=access.tls.context(), timeout=timeout_s)


class HttpxAuth(httpx.Auth):
    """An access as the client library `httpx` takes it."""

    def __init__(self, access: HttpAccess) -> None:
        """Ask this access before each request."""
        self._access = access

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the credentials."""
        header = self._access.authorization()
        if header is not None:
            request.headers["Authorization"] = header
        yield request
