"""One Envoy's admin port: what it serves, what it rejected, how many requests it sent where.

Error texts name the address without user, password or query, and never repeat a header or a body:
a client may carry a secret in any of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from adapters.errors import Retryable
from adapters.exposition import read_exposition
from adapters.routers.envoy.clusters import endpoints_of
from adapters.routers.envoy.lanes import LANE_STAT
from adapters.routers.envoy.names import ROUTES_NAME, STAT_PREFIX, pool_name
from adapters.routers.envoy.routes import route_in
from adapters.routers.envoy.sampling import PREFIX
from schemas.reading import Series
from schemas.route import Health, Route

_HTTP_OK = 200
_SHOWN = "(rq_(completed|.xx|time|retry|timeout|rx_reset)|cx_(total|connect_fail))"
"""What the pack `envoy` asks for, as Envoy calls it. Short: its patterns are limited."""
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Served:
    """The route configuration that an Envoy uses; empty if it has none yet."""

    version: str = ""
    config: Mapping[str, Any] | None = None

    def route(self, service: str) -> Route | None:
        """The route of a service in it."""
        return route_in(self.config, service) if self.config is not None else None


class EnvoyAdmin:
    """Reads an Envoy's admin port. Every method raises `Retryable` when it gets no sound answer.

    Args:
        url: address such as `http://127.0.0.1:9901`.
        client: closed by its owner.
        within: seconds that one answer may take.

    Raises:
        ValueError: the address is not an HTTP one.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, within: float) -> None:
        parsed = httpx.URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("admin address: expected http://host:port")
        self._url = parsed
        self._client = client
        self._within = within
        self.name = f"{parsed.scheme}://{parsed.netloc.decode()}"

    async def served(self) -> Served:
        """The route configuration that this Envoy uses now."""
        answer = await self._get("config_dump", {"resource": "dynamic_route_configs"})
        for entry in answer.get("configs", []):
            config = entry.get("route_config", {})
            if config.get("name") == ROUTES_NAME:
                return Served(version=entry.get("version_info", ""), config=config)
        return Served()

    async def missing(self, service: str, clusters: frozenset[str]) -> frozenset[str]:
        """Which of these clusters of a service it does not know yet, or is still getting ready."""
        # Not the names themselves: Envoy refuses a pattern of more than about a hundred characters.
        pattern = f"{re.escape(service)}@.*"
        query = {"resource": "dynamic_active_clusters", "name_regex": pattern}
        answer = await self._get("config_dump", query)
        return clusters - {entry["cluster"]["name"] for entry in answer.get("configs", [])}

    async def endpoints(self, service: str, version: str) -> frozenset[tuple[str, int]]:
        """Host and port of each instance of a version that it uses; empty where it has no pool."""
        query = {"resource": "dynamic_active_clusters", "name_regex": f"{re.escape(service)}@.*"}
        answer = await self._get("config_dump", query)
        for entry in answer.get("configs", []):
            if entry["cluster"]["name"] == pool_name(service, version):
                return frozenset(endpoints_of(entry["cluster"]))
        return frozenset()

    async def rejections(self, *, by_file: bool) -> int:
        """How many route configurations it has refused since it started.

        Args:
            by_file: those that it could not parse count as well; of an Envoy that is told by a
                control plane, this would count each time that the control plane went.
        """
        counted = "(rejected|failure)" if by_file else "rejected"
        pattern = rf"^http\.{STAT_PREFIX}\.rds\.{ROUTES_NAME}\.update_{counted}$"
        return sum((await self._counters(pattern)).values())

    async def requests(self, service: str, versions: frozenset[str]) -> dict[str, int]:
        """How many requests it has sent to the pool of each version since it started."""
        # "total" is counted where the request really went, also behind an aggregate, and when it
        # starts: a request that was still under way when the weight fell is not counted late.
        pattern = rf"^cluster\.{re.escape(service)}@[^/.]+\.upstream_rq_total$"
        counters = await self._counters(pattern)
        names = {v: f"cluster.{pool_name(service, v)}.upstream_rq_total" for v in versions}
        return {version: counters.get(name, 0) for version, name in names.items()}

    async def counters(self, service: str) -> list[Series]:
        """Its raw counters of each pool of a service, as it shows them to Prometheus.

        The label `instance` is this Envoy's address.
        """
        query = {"filter": rf"^cluster\.{re.escape(service)}@[^.]+\.upstream_{_SHOWN}$"}
        content = await self._content("stats/prometheus", query)
        try:
            return read_exposition(content, {"instance": self._url.netloc.decode()})
        except ValueError as error:
            raise Retryable(f"Envoy at {self.name}: /stats/prometheus: {error}") from error

    async def requests_by_user(
        self, service: str, versions: frozenset[str]
    ) -> dict[str, dict[str, int]]:
        """How many requests of each bucket of users it has counted, by version: of a sample."""
        pattern = rf"^cluster\.{re.escape(service)}@[^/.]+\.{PREFIX}\d+\.upstream_rq_completed$"
        of = {pool_name(service, version): version for version in versions}
        found: dict[str, dict[str, int]] = {}
        for name, count in (await self._counters(pattern)).items():
            _, pool, bucket, _ = name.split(".")
            if pool in of:
                found.setdefault(bucket, {})[of[pool]] = count
        return found

    async def requests_in_lane(self, service: str) -> int:
        """How many requests came to a service with the lane of its release."""
        pattern = rf"^vhost\.{re.escape(service)}\.route\.{LANE_STAT}\.upstream_rq_total$"
        return sum((await self._counters(pattern)).values())

    async def instances(self, service: str, versions: frozenset[str]) -> dict[str, Health]:
        """How many instances of each version it knows, and how many it finds healthy.

        By health checks and by what it saw of connections, as its page /clusters says.
        """
        pattern = rf"^cluster\.{re.escape(service)}@[^/.]+\.membership_(total|healthy)$"
        gauges = await self._stats("Gauges", pattern)

        def count(version: str, of: str) -> int:
            return gauges.get(f"cluster.{pool_name(service, version)}.membership_{of}", 0)

        return {
            version: Health(known=count(version, "total"), healthy=count(version, "healthy"))
            for version in versions
        }

    async def _counters(self, pattern: str) -> dict[str, int]:
        return await self._stats("Counters", pattern)

    async def _stats(self, kind: str, pattern: str) -> dict[str, int]:
        answer = await self._get("stats", {"format": "json", "type": kind, "filter": pattern})
        stats = answer.get("stats", [])
        return {stat["name"]: int(stat["value"]) for stat in stats if "name" in stat}

    async def _content(self, path: str, query: Mapping[str, str]) -> bytes:
        """An answer that is not JSON, of bounded length."""
        content = bytearray()
        try:
            async with self._client.stream(
                "GET", self._url.join(f"/{path}"), params=query, timeout=self._within
            ) as answer:
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        text = f"/{path} answered more than {_MOST_BYTES:,} bytes"
                        raise Retryable(f"Envoy at {self.name}: {text}")
        except httpx.HTTPError as error:
            raise Retryable(f"Envoy at {self.name}: {type(error).__name__}") from None
        if answer.status_code != _HTTP_OK:
            raise Retryable(f"Envoy at {self.name}: /{path} answered {answer.status_code}")
        return bytes(content)

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        url = self._url.join(f"/{path}")
        try:
            answer = await self._client.get(url, params=query, timeout=self._within)
        except httpx.HTTPError as error:
            # The class is enough: the text of some errors repeats the whole address.
            raise Retryable(f"Envoy at {self.name}: {type(error).__name__}") from None
        if answer.status_code != _HTTP_OK:
            raise Retryable(f"Envoy at {self.name}: /{path} answered {answer.status_code}")
        try:
            document = answer.json()
        except ValueError:
            raise Retryable(f"Envoy at {self.name}: /{path} answered no JSON") from None
        if not isinstance(document, dict):
            raise Retryable(f"Envoy at {self.name}: /{path} answered no JSON object")
        return document
