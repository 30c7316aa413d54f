"""Caddy as a router: each route in a file that every Caddy reads at each request.

A write is: lock the routes, read, check the generation, replace the file durably, unlock; then ask
each Caddy until it answers with what was written. Caddy is reloaded for instances alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from adapters.errors import ForeignChange, Retryable
from adapters.http_access import HttpAccess
from adapters.routers.alone import alone
from adapters.routers.caddy.capabilities import CAPABILITIES
from adapters.routers.caddy.control import CaddyControl
from adapters.routers.caddy.endpoints import EndpointFolder
from adapters.routers.caddy.folder import CaddyFolder
from adapters.routers.caddy.names import pool_name
from adapters.routers.caddy.values import route_of, value_of
from adapters.routers.endpoint_fence import Order
from adapters.routers.fence import check_able, check_pools, overtaken
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Confirmation, Route

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 2.0
    """For all Caddys to have a route; keep it below the time-out of the calling activity."""
    answer_within: float = 1.0
    """For one answer of a Caddy."""
    load_within: float = 10.0
    """For one Caddy to load its configuration, and for all to have the instances they were told."""
    poll_every: float = 0.02
    """Between two questions to a Caddy."""
    lock_within: float = 1.0
    """For other writers."""


class CaddyRouter:
    """A `Router` over a `CaddyFolder`. Workers in several processes may share it.

    Args:
        directory: prepared by `CaddyFolder.prepare`.
        addresses: where every Caddy of the folder answers: `unix:/path` or `http://host:port`.
        caddyfile: path of the Caddyfile, as each Caddy sees it.
        access: credentials and authorities; None: no credentials.
        pace: waiting times.
        health_path: the health check of pools that it makes; None: none.

    Raises:
        ValueError: no address, or one that can't be used.
    """

    def __init__(  # noqa: PLR0913 - all but two have a default
        self,
        directory: Path,
        addresses: Sequence[str],
        *,
        caddyfile: str = "/etc/caddy/Caddyfile",
        access: HttpAccess | None = None,
        pace: Pace = Pace(),
        health_path: str | None = None,
    ) -> None:
        if not addresses:
            raise ValueError("instances: expected the address of at least one Caddy")
        self._folder = CaddyFolder(directory, pace.lock_within)
        self._routes = self._folder.routes
        self._endpoints = EndpointFolder(self._folder, health_path)
        self._caddyfile = caddyfile
        self._pace = pace
        known = access or HttpAccess()
        self._all = [CaddyControl(one, known, pace.answer_within) for one in addresses]
        self._loading = [CaddyControl(one, known, pace.load_within) for one in addresses]

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(one.aclose() for one in [*self._all, *self._loading]))

    async def locate(self, service: str, version: str) -> str:
        """The site of one version: label `host` of Caddy's metrics."""
        return pool_name(service, version)

    async def exists(self, service: str, version: str) -> bool:
        """Whether every Caddy has a site with instances for a version."""
        return version in await self._versions(service)

    async def read(self, service: str) -> Route:
        """The route in the file, which every Caddy reads."""
        return await asyncio.to_thread(self._routes.read, service)

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Raises:
            UnknownRoute: a Caddy has no instances of `stable`.
        """
        route = Route.split(service, stable)
        if await asyncio.to_thread(self._routes.value, service) is None:
            check_pools(route, await self._versions(service))
        return await asyncio.to_thread(self._routes.register, route)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once every Caddy serves it (see the port)."""
        check_able(route, CAPABILITIES)
        value = value_of(route)
        applied = await asyncio.to_thread(self._routes.check, route, over)
        # What is applied has its sites, and no way back asks for them.
        if applied is not None and not set(route.versions) <= set(applied.versions):
            check_pools(route, await self._versions(route.service))
        await asyncio.to_thread(self._routes.write, route, over)
        said = f"{route.service}: generation {route.generation} was"
        await self._await_each(self._all, partial(self._look, route, value), said)
        return Confirmation(route=route, mark=value)

    async def changed(self, route: Route) -> str:
        """What the file has, or a Caddy lost, where somebody else has changed it."""
        try:
            found = await self.read(route.service)
            if found.generation > route.generation:
                return ""  # a newer route, which is no change under this one
            if found != route:
                raise self._routes.changed(route.service, found.text, route.text)
        except ForeignChange as change:
            return str(change)
        for one in self._all:
            there = await one.versions(route.service)
            lost = [version for version in route.versions if version not in there]
            if lost:
                what = f"{one.name} has no site of {', '.join(lost)}"
                return str(ForeignChange(route.service, what))
        return ""

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests sent so far to the instances of each version, over all Caddys."""
        await self.read(service)
        versions = await self._versions(service)
        seen = await asyncio.gather(*(one.requests(service) for one in self._all))
        sums = sum((Counter(one) for one in seen), Counter[str]())
        return {version: sums[version] for version in versions}

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Write the sites of a version, and have every Caddy load them (see the port)."""
        order = Order.of(service, version, endpoints, generation)
        await asyncio.to_thread(self._endpoints.put, order)
        await self._take_up(f"{service} {version}: endpoints were")

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Take the sites of a version away, and have every Caddy load what is left."""
        order = Order(service, version, (), generation)
        await asyncio.to_thread(self._endpoints.drop, order)
        await self._take_up(f"{service} {version}: endpoints were")

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """The pools, those among them that nobody told it of with generation 0 (see the port)."""
        return await asyncio.to_thread(self._endpoints.told, service)

    async def _take_up(self, said: str) -> None:
        """Have every Caddy serve the sites of the folder, and wait for it.

        One load at a time: whoever waited finds what was written meanwhile already taken up.
        """
        within = self._pace.load_within
        async with alone(self._folder.directory / "loading", within):
            mark = await asyncio.to_thread(self._folder.mark)
            problems = await _settled(self._load(mark, one) for one in self._loading)
            failed = [one for one in problems if isinstance(one, Retryable)]
            await self._await_each(self._loading, partial(self._has, mark), said, failed)

    async def _load(self, mark: str, caddy: CaddyControl) -> None:
        if await self._has(mark, caddy) is not None:
            await caddy.load(self._caddyfile)

    async def _has(self, mark: str, caddy: CaddyControl) -> Retryable | None:
        if await caddy.mark() == mark:
            return None
        return Retryable(f"{caddy.name} has other sites")

    async def _versions(self, service: str) -> Sequence[str]:
        """Those with instances that every Caddy has."""
        seen = await asyncio.gather(*(one.versions(service) for one in self._all))
        some = [{version for version, where in one.items() if where} for one in seen]
        return sorted(frozenset(some[0]).intersection(*some[1:]))

    async def _look(self, route: Route, value: str, caddy: CaddyControl) -> Retryable | None:
        """None where it has the route, or what is missing."""
        now = await caddy.route(route.service)
        if now == value:
            return None
        found = None if now is None else route_of(route.service, now)
        if found is not None and found.generation > route.generation:
            raise overtaken(route, found)
        return Retryable(f"{caddy.name} has another route")

    async def _await_each(
        self,
        caddys: Sequence[CaddyControl],
        look: Callable[[CaddyControl], Awaitable[Retryable | None]],
        said: str,
        problems: Sequence[Retryable] = (),
    ) -> None:
        """Wait until a look at every Caddy finds nothing missing.

        Raises:
            Retryable: it was not so in time; says what was missing last, after earlier problems.
        """
        within = self._pace.confirm_within
        deadline = time.monotonic() + within
        while True:
            looks = await _settled(look(one) for one in caddys)
            caddys = [one for one, found in zip(caddys, looks, strict=True) if found is not None]
            if not caddys:
                return
            if time.monotonic() >= deadline:
                missing = [found for found in looks if found is not None]
                details = "; ".join(dict.fromkeys(map(str, [*problems, *missing])))
                raise Retryable(f"{said} written but not confirmed within {within} s: {details}")
            await asyncio.sleep(self._pace.poll_every)


async def _settled(calls: Iterable[Awaitable[T]]) -> list[T | Retryable]:
    """What each call gives, or why it can't be had yet."""

    async def settled(call: Awaitable[T]) -> T | Retryable:
        try:
            return await call
        except Retryable as problem:
            return problem

    return await asyncio.gather(*map(settled, calls))
