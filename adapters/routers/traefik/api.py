"""One Traefik's API and metrics: what it serves, what it finds wrong, who is healthy, who got what.

Error texts name the address without user, password or query, and never repeat a body as a whole: a
client may carry a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from adapters.errors import Retryable
from adapters.routers.traefik.document import ROUTE
from adapters.routers.traefik.names import (
    apart_name,
    mark_name,
    of_provider,
    pool_name,
    pools_mark_name,
    version_of,
)
from adapters.routers.traefik.pools import TOLD
from schemas.outside import cut
from schemas.route import Health

_HTTP_OK: Final = 200
_NOT_FOUND: Final = 404
_PAGE: Final = 1000
_SAID_MOST: Final = 500
_COUNT: Final = re.compile(
    r'^traefik_service_requests_total\{(?:[^{}"]|"[^"\\]*")*\bservice="([^"\\]*)"'
    r'(?:[^{}"]|"[^"\\]*")*\} ([0-9.e+]+)$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class PoolSeen:
    """A pool as one Traefik has it."""

    health: Health | None
    """None: it checks nobody's health."""


class TraefikApi:
    """Asks one Traefik. Every method raises `Retryable` when it gets no sound answer.

    Args:
        url: address of its API and metrics, such as `http://127.0.0.1:8080`.
        client: closed by its owner.
        within: seconds that one answer may take.

    Raises:
        ValueError: the address is not an HTTP one.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, within: float) -> None:
        parsed = httpx.URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("api: expected http://host:port")
        self._url = parsed
        self._client = client
        self._within = within
        self.name = f"{parsed.scheme}://{parsed.netloc.decode()}"

    async def mark(self, service: str, provider: str) -> Mapping[str, str]:
        """What the middleware with the route of a service carries here; empty if there is none."""
        carried = await self._carried(mark_name(service), provider)
        return carried if ROUTE in carried else {}

    async def told(self, service: str, provider: str) -> str:
        """What it was told of the pools of a service, as their middleware has it; empty: none."""
        return (await self._carried(pools_mark_name(service), provider)).get(TOLD, "")

    async def servers(self, service: str, version: str, provider: str) -> set[str] | None:
        """Addresses of the servers of a pool; None if it is not there."""
        found = await self._find(f"services/{of_provider(pool_name(service, version), provider)}")
        if found is None:
            return None
        balancer = found.get("loadBalancer")
        servers = balancer.get("servers") if isinstance(balancer, dict) else None
        return {str(one.get("url")) for one in servers or () if isinstance(one, dict)}

    async def faults(self, name: str, provider: str) -> str:
        """What Traefik finds wrong with a router or a service; empty: nothing.

        Args:
            name: with its kind, as in `routers/payments`.
            provider: whose it is.
        """
        found = await self._find(of_provider(name, provider))
        if found is None:
            return f"{name} is not there"
        said = found.get("error")
        errors = said if isinstance(said, list) else [said] if said else []
        return cut("; ".join(str(one) for one in errors), _SAID_MOST)

    async def has_pool(self, service: str, version: str, provider: str) -> bool:
        """Whether it knows the pool of a version, which is its twin as well."""
        both = (pool_name(service, version), apart_name(service, version))
        found = [await self._find(f"services/{of_provider(name, provider)}") for name in both]
        return all(one is not None for one in found)

    async def pools(self, service: str, provider: str) -> dict[str, PoolSeen]:
        """The pools of a service, by version."""
        found: dict[str, PoolSeen] = {}
        page = 1
        while True:
            query = {"search": f"{service}_", "per_page": str(_PAGE), "page": str(page)}
            answer = await self._get("/api/http/services", query)
            for one in _list(self.name, answer):
                name, _, of = str(one.get("name")).partition("@")
                version = version_of(service, name)
                if version is not None and of == provider:
                    found[version] = PoolSeen(_health(one))
            following = answer.headers.get("x-next-page", "1")
            if not following.isdecimal() or int(following) <= page:
                return found
            page = int(following)

    async def requests(self, service: str, provider: str) -> dict[str, int]:
        """Requests that it has sent to the pool of each version since it started; not of all."""
        answer = await self._get("/metrics", {})
        counts: dict[str, int] = {}
        for name, number in _COUNT.findall(answer.text):
            plain, _, of = name.partition("@")
            version = version_of(service, plain)
            if version is not None and of == provider:
                counts[version] = counts.get(version, 0) + int(float(number))
        return counts

    async def _carried(self, middleware: str, provider: str) -> dict[str, str]:
        found = await self._find(f"middlewares/{of_provider(middleware, provider)}")
        headers = (found or {}).get("headers")
        carried = headers.get("customRequestHeaders") if isinstance(headers, dict) else None
        if not isinstance(carried, dict):
            return {}
        return {name: value for name, value in carried.items() if isinstance(value, str)}

    async def _find(self, name: str) -> dict[str, Any] | None:
        answer = await self._get(f"/api/http/{quote(name, safe='/@:+~')}", {}, absent=True)
        if answer.status_code == _NOT_FOUND:
            return None
        found = _json(self.name, answer)
        if not isinstance(found, dict):
            raise Retryable(f"Traefik at {self.name}: answered no JSON object")
        return found

    async def _get(
        self, path: str, query: Mapping[str, str], *, absent: bool = False
    ) -> httpx.Response:
        url = self._url.join(path)
        try:
            answer = await self._client.get(url, params=query or None, timeout=self._within)
        except httpx.HTTPError as error:
            # The class is enough: the text of some errors repeats the whole address.
            raise Retryable(f"Traefik at {self.name}: {type(error).__name__}") from None
        expected = {_HTTP_OK, _NOT_FOUND} if absent else {_HTTP_OK}
        if answer.status_code not in expected:
            raise Retryable(f"Traefik at {self.name}: {path} answered {answer.status_code}")
        return answer


def _json(name: str, answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise Retryable(f"Traefik at {name}: answered no JSON") from None


def _list(name: str, answer: httpx.Response) -> list[dict[str, Any]]:
    found = _json(name, answer)
    if not isinstance(found, list):
        raise Retryable(f"Traefik at {name}: answered no JSON list")
    return [one for one in found if isinstance(one, dict)]


def _health(found: Mapping[str, Any]) -> Health | None:
    balancer, status = found.get("loadBalancer"), found.get("serverStatus")
    if not isinstance(balancer, dict) or not balancer.get("healthCheck"):
        return None
    if not isinstance(status, dict):
        return None
    up = sum(one == "UP" for one in status.values())
    return Health(known=len(status), healthy=up)
