"""How an HTTP server lets Aviary in: who we are, and whom we trust. Shared by all such adapters.

Secrets stay apart from addresses, and are in no error, log line or representation.
"""

from __future__ import annotations

import base64
from collections.abc import Generator
from dataclasses import dataclass, field

import httpx
from requests import PreparedRequest, Session
from requests.auth import AuthBase

from adapters.secrets import Secret
from adapters.tls import TlsFiles


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
