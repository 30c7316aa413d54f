"""HAProxy as a router: all routes in one map, as a file and in every HAProxy.

A write is: lock the service, then lock the folder, read, check the generation, replace the file
durably, unlock the folder; give the route to every HAProxy over its socket, unlock the service;
then ask each until it has the route. The folder is not locked while HAProxies are asked, so that
one that does not answer delays no other service's rollback; and as the service is, no older route
is given to an HAProxy after a newer one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from adapters.errors import ForeignChange, Retryable
from adapters.routers.alone import alone
from adapters.routers.endpoint_fence import Order
from adapters.routers.fence import check_able, check_pools, overtaken
from adapters.routers.haproxy.capabilities import CAPABILITIES, RESPONSES
from adapters.routers.haproxy.endpoints import EndpointFolder
from adapters.routers.haproxy.map_file import MapFile
from adapters.routers.haproxy.names import apart_name, pool_name
from adapters.routers.haproxy.sockets import HaproxySocket, Pool
from adapters.routers.haproxy.values import route_of, value_of
from schemas.deployment import Endpoint, Endpoints
from schemas.reading import Series
from schemas.route import Confirmation, Health, Route

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 2.0
    """For all HAProxies to have a route; keep it below the time-out of the calling activity."""
    answer_within: float = 1.0
    """For one answer of an HAProxy."""
    poll_every: float = 0.02
    """Between two questions to an HAProxy."""
    lock_within: float = 1.0
    """For other writers."""
    endpoints_within: float = 10.0
    """For all HAProxies to be reloaded, and to have the instances that they were told."""


class HaproxyRouter:
    """A `Router` over a `HaproxyFolder`. Workers in several processes may share it.

    Args:
        directory: prepared by `HaproxyFolder.prepare`.
        sockets: the socket of every HAProxy of the folder; each must confirm.
        pace: waiting times.
        health_path: the health check of pools that it makes; None: a connection is enough.
        clock: seconds that only grow.
        sleep: waits for seconds.

    Raises:
        ValueError: no socket.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        directory: Path,
        sockets: Sequence[str],
        *,
        pace: Pace = Pace(),
        health_path: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not sockets:
            raise ValueError("sockets: expected the socket of at least one HAProxy")
        self._file = MapFile(directory, pace.lock_within)
        self._sockets = [
            HaproxySocket(one, self._file.path, pace.answer_within, sleep) for one in sockets
        ]
        self._endpoints = EndpointFolder(directory, health_path, pace.lock_within)
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    async def locate(self, service: str, version: str) -> str:
        """The backend of one version: label `proxy` of HAProxy's metrics."""
        return pool_name(service, version)

    async def locate_apart(self, service: str, version: str) -> str:
        """The backend of the same instances for who asks for the version."""
        return apart_name(service, version)

    async def exists(self, service: str, version: str) -> bool:
        """Whether every HAProxy has a backend with instances for a version."""
        return version in await self._versions(service)

    async def read(self, service: str) -> Route:
        """The route in the file, which every HAProxy takes up, also after a restart."""
        return await asyncio.to_thread(self._file.read, service)

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Waits for no HAProxy: each takes it up within a second.

        Raises:
            UnknownRoute: `stable` has no backend.
        """
        route = Route.split(service, stable)
        if service not in await asyncio.to_thread(self._file.values):
            check_pools(route, await self._versions(service))
        return await asyncio.to_thread(self._file.register, route)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once every HAProxy has it (see the port)."""
        check_able(route, CAPABILITIES)
        value = value_of(route)
        deadline = self._clock() + self._pace.confirm_within
        applied = await asyncio.to_thread(self._file.check, route, over)
        # What is applied has its backends, and no way back asks for them.
        if applied is not None and not set(route.versions) <= set(applied.versions):
            check_pools(route, await self._versions(route.service))
        await self._refuse_foreign(applied, over)
        within = self._pace.lock_within + self._pace.answer_within
        async with alone(self._file.directory / "writers" / route.service, within):
            await asyncio.to_thread(self._file.write, route, over)
            given = await _settled(one.put(route.service, value) for one in self._sockets)
        problems = [one for one in given if isinstance(one, Retryable)]
        said = f"{route.service}: generation {route.generation} was"
        look = partial(self._look, route, value)
        await self._await_each(look, said, self._pace.confirm_within, deadline, problems)
        return Confirmation(route=route, mark=value)

    async def changed(self, route: Route) -> str:
        """What the file or an HAProxy has, where somebody else has written there."""
        try:
            found = await self.read(route.service)
            if found.generation > route.generation:
                return ""  # a newer route, which is no change under this one
            if found != route:
                raise self._file.changed(route.service, found.text, route.text)
            await self._refuse_foreign(found, route)
        except ForeignChange as change:
            return str(change)
        return ""

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests sent so far to the instances of each version, over all HAProxies.

        Counted as a backend is chosen, where they really went: one that fell back to stable, since
        no instance of the canary was healthy, counts for stable.
        """
        await self.read(service)
        seen = await asyncio.gather(*(one.pools(service) for one in self._sockets))
        return {version: sum(one[version].requests for one in seen) for version in _in_each(seen)}

    async def counters(self, service: str) -> Sequence[Series]:
        """The responses of a service's backends by class, of each HAProxy (see the port)."""
        asked = await asyncio.gather(*(one.responses(service) for one in self._sockets))
        return [
            Series(
                labels={
                    "__name__": RESPONSES,
                    "proxy": backend,
                    "code": code,
                    "instance": socket.name,
                },
                value=count,
            )
            for socket, backends in zip(self._sockets, asked, strict=True)
            for backend, counts in backends.items()
            for code, count in counts.items()
        ]

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each version, as the HAProxy sees them that sees the fewest healthy."""
        seen = await asyncio.gather(*(one.pools(service) for one in self._sockets))
        return {
            version: min((one[version].health for one in seen), key=lambda health: health.healthy)
            for version in _in_each(seen)
        }

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Write the backends of a version, and have every HAProxy take them up (see the port).

        At run time where there are backends, and as many servers; otherwise by a reload. A process
        from before an earlier reload keeps to its instances, until its connections close.
        """
        order = Order.of(service, version, endpoints, generation)
        await asyncio.to_thread(self._endpoints.put, order)
        await self._take_up(order)

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Take the backends of a version away, and reload HAProxies that have them."""
        order = Order(service, version, (), generation)
        await asyncio.to_thread(self._endpoints.drop, order)
        await self._take_up(order)

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """The pools, those among them that nobody told it of with generation 0 (see the port)."""
        return await asyncio.to_thread(self._endpoints.told, service)

    async def aclose(self) -> None:
        """Nothing: each question is a connection of its own."""

    async def _take_up(self, order: Order) -> None:
        """Have every HAProxy serve these instances, reloaded if it must be, and wait for it.

        One reload at a time: whoever waited finds what was written meanwhile already taken up.
        """
        within = self._pace.endpoints_within
        said = f"{order.service} {order.version}: endpoints were"
        async with alone(self._file.directory / "reloading", within):
            deadline = self._clock() + within
            done = await _settled(self._reload(order, one) for one in self._sockets)
            problems = [one for one in done if isinstance(one, Retryable)]
            await self._await_each(partial(self._settle, order), said, within, deadline, problems)

    async def _reload(self, order: Order, socket: HaproxySocket) -> None:
        if await self._settle(order, socket) is not None:
            await socket.reload()

    async def _settle(self, order: Order, socket: HaproxySocket) -> Retryable | None:
        """Have it use the instances as far as that goes without a reload; None: it does."""
        own, apart = (name(order.service, order.version) for name in (pool_name, apart_name))
        if await socket.settle(own, apart, [(one.host, one.port) for one in order.endpoints]):
            return None
        return Retryable(f"HAProxy at {socket.name} has other instances")

    async def _versions(self, service: str) -> Sequence[str]:
        return _in_each(await asyncio.gather(*(one.pools(service) for one in self._sockets)))

    async def _refuse_foreign(self, applied: Route | None, over: Route | None) -> None:
        """Refuse to write over what somebody has put into an HAProxy by its socket.

        An older route is none: the HAProxy did not follow yet.
        """
        if over is None or applied is None:
            return
        wanted = value_of(applied)
        for values in await _settled(one.values() for one in self._sockets):
            for process in () if isinstance(values, Retryable) else values:
                value = process.get(applied.service, wanted)
                found = route_of(applied.service, value)
                # Another generation is one of Aviary's: the file was read before or after.
                if value != wanted and (found is None or found.generation == applied.generation):
                    raise self._file.changed(applied.service, value, wanted)

    async def _await_each(
        self,
        look: Callable[[HaproxySocket], Awaitable[Retryable | None]],
        said: str,
        within: float,
        deadline: float,
        problems: Sequence[Retryable],
    ) -> None:
        """Wait until a look at every HAProxy finds nothing missing.

        Raises:
            Retryable: it was not so in time; says what was missing last, after earlier problems.
        """
        waiting = list(self._sockets)
        while True:
            looks = await _settled(look(one) for one in waiting)
            waiting = [one for one, found in zip(waiting, looks, strict=True) if found is not None]
            if not waiting:
                return
            if self._clock() >= deadline:
                missing = [found for found in looks if found is not None]
                details = "; ".join(dict.fromkeys(map(str, [*problems, *missing])))
                raise Retryable(f"{said} written but not confirmed within {within} s: {details}")
            await self._sleep(self._pace.poll_every)

    async def _look(self, route: Route, value: str, socket: HaproxySocket) -> Retryable | None:
        """None where all its processes have the route, or what is missing."""
        for process in await socket.values():
            now = process.get(route.service)
            if now == value:
                continue
            found = None if now is None else route_of(route.service, now)
            if found is not None and found.generation > route.generation:
                raise overtaken(route, found)
            return Retryable(f"HAProxy at {socket.name} has another route")
        return None


async def _settled(calls: Iterable[Awaitable[T]]) -> list[T | Retryable]:
    """What each call gives, or why it can't be had yet."""

    async def settled(call: Awaitable[T]) -> T | Retryable:
        try:
            return await call
        except Retryable as problem:
            return problem

    return await asyncio.gather(*map(settled, calls))


def _in_each(seen: Sequence[Mapping[str, Pool]]) -> list[str]:
    """The versions that all of them know."""
    return sorted(frozenset(seen[0]).intersection(*seen[1:]))
