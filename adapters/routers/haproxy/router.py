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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from adapters.errors import ForeignChange, Retryable
from adapters.routers.fence import check_able, check_pools, overtaken
from adapters.routers.files import locked, said_by_path
from adapters.routers.haproxy.capabilities import CAPABILITIES
from adapters.routers.haproxy.map_file import MapFile
from adapters.routers.haproxy.names import pool_name
from adapters.routers.haproxy.sockets import HaproxySocket, Pool
from adapters.routers.haproxy.values import route_of, value_of
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


class HaproxyRouter:
    """A `Router` over a `HaproxyFolder`. Workers in several processes may share it.

    Args:
        directory: prepared by `HaproxyFolder.prepare`.
        sockets: the socket of every HAProxy of the folder; each must confirm.
        pace: waiting times.
        clock: seconds that only grow.
        sleep: waits for seconds.

    Raises:
        ValueError: no socket.
    """

    def __init__(
        self,
        directory: Path,
        sockets: Sequence[str],
        *,
        pace: Pace = Pace(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not sockets:
            raise ValueError("sockets: expected the socket of at least one HAProxy")
        self._file = MapFile(directory, pace.lock_within)
        self._sockets = [
            HaproxySocket(one, self._file.path, pace.answer_within, sleep) for one in sockets
        ]
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    async def locate(self, service: str, version: str) -> str:
        """The backend of one version: label `proxy` of HAProxy's metrics."""
        return pool_name(service, version)

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
        async with self._alone(route.service):
            await asyncio.to_thread(self._file.write, route, over)
            given = await _settled(one.put(route.service, value) for one in self._sockets)
        problems = [one for one in given if isinstance(one, Retryable)]
        await self._confirm(route, value, deadline, problems)
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

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each version, as the HAProxy sees them that sees the fewest healthy."""
        seen = await asyncio.gather(*(one.pools(service) for one in self._sockets))
        return {
            version: min((one[version].health for one in seen), key=lambda health: health.healthy)
            for version in _in_each(seen)
        }

    async def aclose(self) -> None:
        """Nothing: each question is a connection of its own."""

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

    @asynccontextmanager
    async def _alone(self, service: str) -> AsyncIterator[None]:
        """Be the only one who gives HAProxies a route of this service."""
        folder = self._file.directory / "writers" / service
        with said_by_path(folder):
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        held = locked(folder, self._pace.lock_within + self._pace.answer_within)
        entering = asyncio.ensure_future(asyncio.to_thread(held.__enter__))
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:  # the thread goes on, and may get it yet
            entering.add_done_callback(
                lambda done: done.exception() or held.__exit__(None, None, None)
            )
            raise
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    async def _confirm(
        self, route: Route, value: str, deadline: float, problems: Sequence[Retryable]
    ) -> None:
        """Wait until every process of every HAProxy has the route."""
        waiting = list(self._sockets)
        while True:
            looks = await _settled(self._look(route, value, one) for one in waiting)
            waiting = [one for one, look in zip(waiting, looks, strict=True) if look is not None]
            if not waiting:
                return
            if self._clock() >= deadline:
                found = [look for look in looks if look is not None]
                details = "; ".join(dict.fromkeys(map(str, [*problems, *found])))
                raise Retryable(
                    f"{route.service}: generation {route.generation} was written but not confirmed "
                    f"within {self._pace.confirm_within} s: {details}"
                )
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
