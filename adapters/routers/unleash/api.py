"""Unleash's admin API, and what it serves to applications: one environment of one project.

Error texts name the address and Unleash's own reason, and never a token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from adapters.errors import Retryable, Terminal
from adapters.routers.unleash.definitions import Feature, Flag
from schemas.outside import NAME_MOST, TEXT_MOST, cut, visible

if TYPE_CHECKING:
    from adapters.routers.unleash import UnleashConnection
    from adapters.secrets import Secret

_MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one answer."""
_WITHIN: Final = 3.0
_WRONG: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
"""What stays so however often it is asked. A right that is missing can be given."""


@dataclass(frozen=True)
class _Said:
    status: int
    content: bytes

    @property
    def text(self) -> str:
        """What it says, for a person."""
        return visible(cut(self.content.decode(errors="replace").strip(), TEXT_MOST))


class UnleashApi:
    """Asks one Unleash. Every method raises `Retryable` when it gets no sound answer.

    Args:
        connection: its address and tokens.
        project: of the flags.
        environment: in which they are released.
        within: seconds that one answer may take.
    """

    def __init__(
        self,
        connection: UnleashConnection,
        project: str,
        environment: str,
        *,
        within: float = _WITHIN,
    ) -> None:
        self._connection = connection
        self._base = connection.url.rstrip("/")
        self._project = project
        self.environment = environment
        self._client = httpx.AsyncClient(verify=connection.trusted(), timeout=within)
        self.name = f"Unleash at {self._base}"

    @property
    def serves(self) -> bool:
        """Whether what is served to applications can be read."""
        return self._connection.client_token is not None

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def flag(self, name: str) -> Flag | None:
        """A flag; None where the project has none of this name.

        Raises:
            UnknownRoute: it is archived, or not in the environment.
        """
        said = await self._send("GET", self._path(name))
        if said.status == HTTPStatus.NOT_FOUND:
            return None
        try:
            feature = Feature.model_validate_json(self._content(said, name))
        except ValidationError as error:
            problem = cut(str(error), TEXT_MOST)
            raise Retryable(f"{self.name}: {name}: expected a flag: {problem}") from None
        return Flag(feature, self.environment)

    async def put(self, flag: Flag, body: Mapping[str, Any]) -> None:
        """Write Aviary's strategy: in place, or as a new one; it is the only one of Aviary's then.

        Raises:
            Terminal: Unleash does not take it.
        """
        path = self._path(flag.name, "strategies")
        if flag.ours is None:
            said = await self._send("POST", path, body)
        else:
            said = await self._send("PUT", f"{path}/{quote(flag.ours.id, safe='')}", body)
        self._content(said, flag.name)
        for one in flag.surplus:
            said = await self._send("DELETE", f"{path}/{quote(one.id, safe='')}")
            if said.status != HTTPStatus.NOT_FOUND:
                self._content(said, flag.name)

    async def switch_on(self, flag: Flag) -> None:
        """Switch the environment on."""
        self._content(await self._send("POST", self._path(flag.name, "on")), flag.name)

    async def served(self, flag: Flag) -> Mapping[str, Any]:
        """What applications are sent: the flag among others; `features`, and perhaps `segments`."""
        chosen = {"project": self._project}
        if not flag.has_parents:
            chosen["namePrefix"] = flag.name
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in chosen.items())
        token = self._connection.client_token
        said = await self._send("GET", f"/api/client/features?{query}", token=token)
        found = self._json(said, flag.name)
        if not isinstance(found.get("features"), list):
            raise Retryable(f"{self.name}: expected features in what applications are sent")
        return found

    async def who(self, name: str) -> str:
        """Who changed a flag last; empty where that is not told."""
        said = await self._send("GET", f"/api/admin/search/events?feature=IS:{quote(name)}&limit=1")
        if said.status != HTTPStatus.OK:  # the token may not read events
            return ""
        events = self._json(said, name).get("events")
        last = events[0] if isinstance(events, list) and events else {}
        who = last.get("createdBy") if isinstance(last, dict) else None
        return visible(cut(who, NAME_MOST)) if isinstance(who, str) else ""

    def _path(self, name: str, end: str = "") -> str:
        """Of a flag, or of what it has in the environment."""
        flag = f"/api/admin/projects/{quote(self._project)}/features/{quote(name, safe='')}"
        return f"{flag}/environments/{quote(self.environment)}/{end}" if end else flag

    def _json(self, said: _Said, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self._content(said, name))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Retryable(f"{self.name}: {name}: expected a JSON object")
        return found

    def _content(self, said: _Said, name: str) -> bytes:
        if HTTPStatus.OK <= said.status < HTTPStatus.MULTIPLE_CHOICES:
            return said.content
        text = self._connection.hide(f"{self.name}: {name}: answered {said.status}: {said.text}")
        raise Terminal(text) if said.status in _WRONG else Retryable(text)

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: Secret | None = None,
    ) -> _Said:
        headers = {"authorization": (token or self._connection.token).read()}
        try:
            async with self._client.stream(
                method, f"{self._base}{path}", json=body, headers=headers
            ) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        raise Retryable(f"{self.name}: its answer is over {_MOST_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # The class is enough: the text of some errors repeats what was sent.
            raise Retryable(f"{self.name}: {type(error).__name__}") from None
        return _Said(answer.status_code, bytes(content))
