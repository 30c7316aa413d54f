"""The site of one Caddy that answers Aviary: what it serves, what it counted, what it loads.

Error texts name the address and Caddy's own reason, and never a header: one may carry a token.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from adapters.errors import Retryable, Terminal
from adapters.http_access import HttpAccess, HttpxAuth, open_client
from adapters.routers.caddy.configs import SERVER
from adapters.routers.caddy.names import version_in
from schemas.outside import TEXT_MOST, cut, visible

_MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one answer: the configuration of thousands of sites is long."""
_UNIX: Final = "unix:"
_IMPORT: Final = "expected `import …/aviary.caddy` in its Caddyfile"
_OPTIONS: Final = "expected `import …/global.caddy` in the global options of its Caddyfile"
_COUNT: Final = re.compile(
    rf'^caddy_http_requests_(?:total|in_flight)\{{handler="[^"]*",host="([^"]*)",server="{SERVER}"\}}'
    r" ([0-9.e+]+)$",
    re.MULTILINE,
)
_RELOADS: Final = 5
"""Each time that somebody else has changed the configuration meanwhile."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    @property
    def said(self) -> str:
        """What it says, for a person."""
        return visible(cut(self.text.strip(), TEXT_MOST))


class CaddyControl:
    """Asks one Caddy. Every method raises `Retryable` when it gets no sound answer.

    Args:
        address: `unix:/path`, `http://host:port` or `https://host:port`.
        access: credentials and authorities.
        within: seconds that one answer may take.

    Raises:
        ValueError: the address is none of these.
    """

    def __init__(self, address: str, access: HttpAccess, within: float) -> None:
        self.name = f"Caddy at {address.rstrip('/')}"
        if address.startswith(_UNIX):
            # A reload closes idle connections, so none is kept.
            transport = httpx.AsyncHTTPTransport(
                uds=address.removeprefix(_UNIX),
                limits=httpx.Limits(max_keepalive_connections=0),
            )
            auth = HttpxAuth(access)
            self._client = httpx.AsyncClient(transport=transport, auth=auth, timeout=within)
            self._base = "http://caddy"
        elif address.startswith(("http://", "https://")):
            self._client = open_client(access, timeout_s=within)
            self._base = address.rstrip("/")
        else:
            raise ValueError(f"{address}: expected unix:/path, http://host:port or https://…")

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def mark(self) -> str:
        """Of the sites that it has taken up."""
        return self._good(await self._send("GET", "/mark"), "/mark", _IMPORT).text

    async def route(self, service: str) -> str | None:
        """The line by which it splits the requests of a service; None without one."""
        answer = await self._send("GET", f"/routes/{service}")
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        return self._good(answer, "/routes", _IMPORT).text

    async def versions(self, service: str) -> Mapping[str, str]:
        """Where it sends the requests of each version, such as `10.0.0.7:8080,10.0.0.8:8080`."""
        answer = await self._send("GET", f"/services/{service}")
        if answer.status == HTTPStatus.NOT_FOUND:
            await self.mark()  # Caddy is there, and knows no such service
            return {}
        pairs = self._good(answer, "/services", _IMPORT).text.split(" ")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests that the split has sent to each version since it loaded its configuration.

        Those that are under way are counted as well.
        """
        text = self._good(await self._send("GET", "/metrics"), "/metrics", _IMPORT).text
        found = _COUNT.findall(text)
        if not found:  # at least this question is under way
            raise Retryable(f"{self.name}: counts no requests of sites: {_OPTIONS}")
        sums: Counter[str] = Counter()
        for pool, count in found:
            version = version_in(pool, service)
            if version is not None:
                sums[version] += int(float(count))
        return sums

    async def load(self, caddyfile: str) -> None:
        """Have it load its Caddyfile, unless somebody else changes its configuration meanwhile.

        Args:
            caddyfile: its path, as Caddy sees it.

        Raises:
            Terminal: Caddy does not take it; what it had stays.
            Retryable: somebody else was faster, again and again.
        """
        for _ in range(_RELOADS):
            before = self._good(await self._send("GET", "/admin/config/"), "/config/", _IMPORT)
            config = await self._adapted(caddyfile)
            headers = {"content-type": "application/json", "if-match": before.headers["etag"]}
            answer = await self._send("POST", "/admin/config/", json.dumps(config), headers)
            if answer.status == HTTPStatus.OK:
                return
            if answer.status != HTTPStatus.PRECONDITION_FAILED:
                raise Terminal(f"{self.name}: does not load {caddyfile}: {answer.said}")
        raise Retryable(f"{self.name}: others change its configuration as well")

    async def _adapted(self, caddyfile: str) -> Any:
        headers = {"content-type": "text/caddyfile"}
        answer = await self._send("POST", "/admin/adapt", f"import {caddyfile}\n", headers)
        if answer.status == HTTPStatus.BAD_REQUEST:
            raise Terminal(f"{self.name}: does not take {caddyfile}: {answer.said}")
        content = self._good(answer, "/adapt", _IMPORT).content
        try:
            return json.loads(content)["result"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Retryable(f"{self.name}: /adapt answered something else") from error

    def _good(self, answer: _Answer, path: str, expected: str) -> _Answer:
        if answer.status != HTTPStatus.OK:
            text = f"{self.name}: {path} answered {answer.status}, {expected}: {answer.said}"
            raise Retryable(text)
        return answer

    async def _send(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> _Answer:
        url = f"{self._base}{path}"
        try:
            async with self._client.stream(
                method, url, content=body or None, headers=headers
            ) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        raise Retryable(f"{self.name}: its answer is larger than {_MOST_BYTES:,} B")
        except (httpx.HTTPError, OSError) as error:
            # The class is enough: the text of some errors repeats what was sent.
            raise Retryable(f"{self.name}: {type(error).__name__}") from None
        return _Answer(answer.status_code, {"etag": "", **answer.headers}, bytes(content))
