"""The internal server of one nginx: what it serves, what it stored, what it counted.

Error texts name the address and nginx' own reason, and never a header: one may carry a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import Field, ValidationError

from adapters.errors import Retryable, StillInUse, Terminal
from adapters.http_access import HttpAccess, HttpxAuth, open_client
from schemas.base import Model, ServiceName, Version
from schemas.outside import TEXT_MOST, cut, visible
from schemas.route import Route

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of one answer."""
NONE: Final = "none"
"""Mark of no route."""
_UNIX: Final = "unix:"
_LATER: Final = {
    HTTPStatus.UNAUTHORIZED,  # a token that rotates
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,  # an nginx that is up without Aviary's part
    HTTPStatus.TOO_MANY_REQUESTS,
}

_M = TypeVar("_M", bound=Model)


class ServiceReading(Model):
    """What one nginx says of a service."""

    route: Route | None = Field(description="What its requests are split by.")
    stored: Route | None = Field(description="What is in its file, and comes after a restart.")
    mark: str = Field(max_length=100, description="Of the route; empty without one.")
    versions: dict[Version, str | tuple[str, ...]] = Field(
        description="Those with instances: an upstream, or addresses."
    )


class Counted(Model):
    """How many requests a service had since this nginx started."""

    is_known: bool
    requests: dict[Version, int] = Field(description="That the split sent to each version.")
    users: dict[Version, dict[str, int]] = Field(description="The same by bucket of users.")


class Pool(Model):
    """Where one version takes requests, as it was written."""

    service: ServiceName
    version: Version
    endpoints: tuple[str, ...] = Field(description="Such as `10.0.0.7:8080`.")
    generation: int = Field(ge=0, description="Of the order.")


class _Pools(Model):
    pools: tuple[Pool, ...]


class _Written(Model):
    mark: str


class _Nothing(Model):
    pass


@dataclass(frozen=True)
class Refused:
    """A write that was refused, since something else is there than it is to be written over."""

    why: str


@dataclass(frozen=True)
class _Answer:
    status: int
    content: bytes

    @property
    def text(self) -> str:
        """What it says, for a person."""
        return visible(cut(self.content.decode(errors="replace").strip(), TEXT_MOST))


class NginxControl:
    """Asks one nginx. Every method raises `Retryable` when it gets no sound answer.

    Args:
        address: `unix:/path`, `http://host:port` or `https://host:port`.
        access: credentials and authorities.
        within: seconds that one answer may take.

    Raises:
        ValueError: the address is none of these.
    """

    def __init__(self, address: str, access: HttpAccess, within: float) -> None:
        self.name = f"nginx at {address.rstrip('/')}"
        if address.startswith(_UNIX):
            transport = httpx.AsyncHTTPTransport(uds=address.removeprefix(_UNIX))
            auth = HttpxAuth(access)
            self._client = httpx.AsyncClient(transport=transport, auth=auth, timeout=within)
            self._base = "http://nginx"
        elif address.startswith(("http://", "https://")):
            self._client = open_client(access, timeout_s=within)
            self._base = address.rstrip("/")
        else:
            raise ValueError(f"{address}: expected unix:/path, http://host:port or https://…")

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def look(self, service: str) -> ServiceReading:
        """What it has of a service."""
        return await self._call(ServiceReading, "GET", f"/routes/{_quoted(service)}")

    async def put(self, route: Route, over: str | None) -> str | Refused:
        """Write a route; returns its mark, or why it was refused.

        Args:
            route: what shall be.
            over: mark of what must be there, or `NONE`; None: whatever is there.

        Raises:
            Terminal: this nginx does not take it for a route that it can do.
        """
        headers = {} if over is None else {"x-aviary-over": over}
        text = route.model_dump_json(exclude_none=True)
        path = f"/routes/{_quoted(route.service)}"
        answer = await self._send("PUT", path, text, headers)
        if answer.status in {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}:
            return Refused(f"{self.name}: {answer.text}")
        return self._read(_Written, path, answer).mark

    async def pools(self, service: str | None) -> tuple[Pool, ...]:
        """The addresses that were written: of one service, or of all."""
        path = "/pools" if service is None else f"/pools/{_quoted(service)}"
        return (await self._call(_Pools, "GET", path)).pools

    async def put_pool(self, pool: Pool) -> Refused | None:
        """Write the addresses of a version; returns why it was refused, if it was.

        Raises:
            Terminal: one is not an IP address with a port.
        """
        path = f"/pools/{_quoted(pool.service)}/{_quoted(pool.version)}"
        answer = await self._send("PUT", path, pool.model_dump_json(), {})
        return self._obeyed(path, answer)

    async def drop_pool(self, service: str, version: str, generation: int) -> Refused | None:
        """Forget the addresses of a version; returns why it was refused, if it was.

        Raises:
            StillInUse: a route names it.
        """
        path = f"/pools/{_quoted(service)}/{_quoted(version)}?generation={generation}"
        answer = await self._send("DELETE", path, "", {})
        if answer.status == HTTPStatus.LOCKED:
            raise StillInUse(f"{self.name}: {answer.text}")
        return self._obeyed(path, answer)

    async def counts(self, service: str) -> Counted:
        """What it counted of a service."""
        return await self._call(Counted, "GET", f"/counts/{_quoted(service)}")

    def _obeyed(self, path: str, answer: _Answer) -> Refused | None:
        if answer.status == HTTPStatus.CONFLICT:
            return Refused(f"{self.name}: {answer.text}")
        self._read(_Nothing, path, answer)
        return None

    async def _call(self, answers: type[_M], method: str, path: str, body: str = "") -> _M:
        return self._read(answers, path, await self._send(method, path, body, {}))

    def _read(self, answers: type[_M], path: str, answer: _Answer) -> _M:
        if answer.status != HTTPStatus.OK:
            text = f"{self.name}: {path} answered {answer.status}: {answer.text}"
            is_ours = HTTPStatus(400) <= answer.status < HTTPStatus(500)
            raise Terminal(text) if is_ours and answer.status not in _LATER else Retryable(text)
        try:
            return answers.model_validate_json(answer.content)
        except ValidationError as error:
            problem = cut(str(error), TEXT_MOST)
            raise Retryable(f"{self.name}: {path} answered something else: {problem}") from error

    async def _send(self, method: str, path: str, body: str, headers: Mapping[str, str]) -> _Answer:
        try:
            async with self._client.stream(
                method, f"{self._base}{path}", content=body or None, headers=headers
            ) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MOST_BYTES:
                        text = f"{self.name}: its answer is larger than {MOST_BYTES} bytes"
                        raise Retryable(text)
        except (httpx.HTTPError, OSError) as error:
            # The class is enough: the text of some errors repeats what was sent.
            raise Retryable(f"{self.name}: {type(error).__name__}") from None
        return _Answer(answer.status_code, bytes(content))


def _quoted(name: str) -> str:
    return quote(name, safe="")
