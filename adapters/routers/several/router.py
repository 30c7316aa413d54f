"""Several routers for one service, as one `Router`: one canary, one weight.

A weight is written in their order, and going back in reverse. Each has the whole route with its
generation, and so a fence of its own: an attempt that died between two writes is made good by the
same write again, which is without effect where it was done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from adapters.errors import AdapterError, ForeignChange, UnknownRoute
from adapters.ports import Leased, Part, Routing
from adapters.routers.endpoint_fence import Order, check_unused
from adapters.routers.fence import check_able, check_generation
from adapters.routers.several.choosing import (
    first_of,
    furthest,
    half_way,
    in_all,
    is_same_split,
    named,
    worst,
)
from schemas.capabilities import Capabilities, Counting
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Confirmation, Health, Route

T = TypeVar("T")

_HOLDS_UP_S: Final = 0.5
"""Seconds that one router may hold up the others when all go back."""


class SeveralRouters:
    """A `Router` over others, each of which splits the requests that it gets.

    Args:
        parts: they, in the order in which they get a weight; at least two.
        can: what all of them can do.
        judged: whose names of versions the metrics have, by index.
        owns: whether they are closed with this one.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        can: Capabilities,
        *,
        judged: int = 0,
        owns: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._parts = tuple(parts)
        self._can = can
        self._judged = self._parts[judged].routing
        self._owns = owns
        self._sleep = sleep

    async def read(self, service: str) -> Route:
        """The route that they have; where they differ, one with a canary before one without.

        It has the newest generation. What is to be taken back must not be hidden by a router that
        has no canary, nor by one that does not answer.

        Raises:
            UnknownRoute: one has no such service, and none a canary of it.
            Retryable: one could not be asked, and none of the others has a canary.
        """
        found = await self._each(lambda part: part.routing.router.read(service))
        routes = [one for one in found if isinstance(one, Route)]
        route = furthest(routes)
        if route is None or route.canary is None:
            self._raise_first(found)
        if route is None:
            raise UnknownRoute(f"{service}: no router has such a service")
        return route

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Have all of them apply the route; returns once each has confirmed it (see the port).

        A weight is written to one after the other, and not to the next before one has confirmed;
        before the first, all are asked whether they can take it. Going back, whatever one of them
        says holds up no other.

        Raises:
            ForeignChange: somebody else has changed one of them; nothing was written.
            HalfWritten: the same, found when another had the route already.
        """
        check_able(route, self._can)
        if route.canary is None and over is None:
            return await self._back(route, [None] * len(self._parts))
        expected = await self._looked_at(route, over)
        if _goes_back(route, over):
            return await self._back(route, expected)
        done = []
        for part, believed in zip(self._parts, expected, strict=True):
            try:
                done.append(await self._write(part, route, believed))
            except ForeignChange as error:
                raise (half_way(error) if done else error) from None
        return _confirmed(route, self._parts, done)

    async def aclose(self) -> None:
        """Close them, where they are its own."""
        if self._owns:
            for part in self._parts:
                await part.routing.router.aclose()

    async def changed(self, route: Route) -> str:
        """What somebody else has changed on one of them since this route was applied."""
        found = await self._each(lambda part: self._changed(part, route))
        texts = [text for text in found if isinstance(text, str) and text]
        if not texts:
            self._raise_first(found)
        return "; ".join(texts)

    async def locate(self, service: str, version: str) -> str:
        """The name that the metrics of the router have that judges."""
        return await self._judged.locator.locate(service, version)

    async def locate_apart(self, service: str, version: str) -> str:
        """Likewise for what no split sends to the version."""
        apart = self._judged.apart
        if apart is None:
            return await self._judged.locator.locate(service, version)
        return await apart.locate_apart(service, version)

    async def exists(self, service: str, version: str) -> bool:
        """Whether all of them know a version."""
        return all(await self._all(lambda part: part.routing.locator.exists(service, version)))

    async def requests(self, service: str) -> Mapping[str, int]:
        """What they count, together."""
        total: dict[str, int] = {}
        counts = await self._all(lambda part: in_all(part.routing.counts).requests(service))
        for count in counts:
            for version, requests in count.items():
                total[version] = total.get(version, 0) + requests
        return total

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """What each counts of each user; the same user of another router is another bucket."""
        counts = await self._all(lambda part: in_all(part.routing.users).requests_by_user(service))
        return {
            f"{part.name}/{user}": versions
            for part, users in zip(self._parts, counts, strict=True)
            for user, versions in users.items()
        }

    async def requests_in_lane(self, service: str) -> int:
        """What came with the lane, on all of them together."""
        return sum(
            await self._all(lambda part: in_all(part.routing.lanes).requests_in_lane(service))
        )

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """Of each version as the router sees it that sees the fewest, of those that can tell."""
        knowing = [part for part in self._parts if part.routing.instances is not None]
        found = await self._all(
            lambda part: in_all(part.routing.instances).instances(service), knowing
        )
        told = [one for one in found if one is not None]
        if not told:
            return None
        nothing = Health(known=0, healthy=0)
        versions = dict.fromkeys(version for one in told for version in one)
        return {
            version: min(
                (one.get(version, nothing) for one in told), key=lambda health: health.healthy
            )
            for version in versions
        }

    async def register(self, service: str, stable: str) -> Route:
        """Give the service a first route where it has none.

        Where a router has one, the others get the stable version of that.
        """
        found = await self._each(lambda part: part.routing.router.read(service))
        there = furthest([one for one in found if isinstance(one, Route)])
        self._raise_first([one for one in found if not isinstance(one, UnknownRoute)])
        version = stable if there is None else there.stable
        for part, one in zip(self._parts, found, strict=True):
            if not isinstance(one, Route):
                with _named(part):
                    await in_all(part.routing.registrar).register(service, version)
        return await self.read(service)

    async def renew(self, service: str) -> None:
        """Leave a sign of life with each of them."""
        await self._all(lambda part: in_all(part.routing.leases).renew(service))

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease with any of them, the newest of each, and all renewals."""
        found = await self._all(lambda part: in_all(part.routing.leases).leased(services))
        there: dict[str, list[Leased]] = {}
        for one in found:
            for service, leased in one.items():
                there.setdefault(service, []).append(leased)
        return {
            service: Leased(
                max((one.route for one in each), key=lambda route: route.generation),
                "|".join(one.renewal for one in each),
            )
            for service, each in there.items()
        }

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Make these the instances of the version on all of them (see the port)."""
        for part in self._parts:
            with _named(part):
                writer = in_all(part.routing.endpoints)
                await writer.put_endpoints(service, version, endpoints, generation)

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Forget a version, once no route of any of them names it (see the port)."""
        found = await self._each(lambda part: part.routing.router.read(service))
        self._raise_first([one for one in found if not isinstance(one, UnknownRoute)])
        for part, one in zip(self._parts, found, strict=True):
            with _named(part):
                there = one if isinstance(one, Route) else None
                check_unused(Order(service, version, (), generation), there)
        for part in reversed(self._parts):
            with _named(part):
                writer = in_all(part.routing.endpoints)
                await writer.drop_endpoints(service, version, generation)

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What all of them were told; where they differ, what is oldest: it is told again."""
        told = await self._all(lambda part: in_all(part.routing.endpoints).endpoints(service))
        found: dict[str, dict[str, Endpoints]] = {}
        for name in dict.fromkeys(name for one in told for name in one):
            versions = [one.get(name, {}) for one in told]
            known = {
                version: min((one[version] for one in versions), key=lambda it: it.generation)
                for version in versions[0]
                if all(version in one for one in versions)
            }
            found |= {name: known} if known else {}
        return found

    async def _looked_at(self, route: Route, over: Route | None) -> list[Route | None]:
        """Ask all of them before one is written to; what each is to be written over.

        Raises:
            ForeignChange: somebody else has changed one of them; nothing was written.
            HalfWritten: the same, where another has the route already.
        """
        routes = await self._all(lambda part: part.routing.router.read(route.service))
        pairs = list(zip(self._parts, routes, strict=True))
        for part, applied in pairs:
            with _named(part):
                check_generation(route, applied)
                await _check_there(part.routing, route, applied)
        if over is None:
            return [None] * len(pairs)
        expected: list[Route | None] = []
        for part, applied in pairs:
            with _named(part):
                changed = "" if applied == route else await self._changed(part, over)
            if changed:
                error = ForeignChange.of_text(changed)
                raise half_way(error) if route in routes else error
            expected.append(applied if is_same_split(applied, over) else over)
        return expected

    async def _changed(self, part: Part, believed: Route) -> str:
        """What somebody else has changed on one of them, with its name; empty: nothing.

        It may have a smaller generation than the others: it was put beside them later.
        """
        applied = await part.routing.router.read(believed.service)
        same = is_same_split(applied, believed)
        text = await part.routing.changed(applied if same else believed)
        return part.said(text) if text else ""

    async def _back(self, route: Route, expected: Sequence[Route | None]) -> Confirmation:
        """Write to all, the last first; one that does not answer holds the others up for little."""
        tasks: list[asyncio.Task[Confirmation]] = []
        try:
            for part, believed in reversed(list(zip(self._parts, expected, strict=True))):
                tasks.append(asyncio.create_task(self._write(part, route, believed)))
                await self._for_a_while(tasks[-1])
            found = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await _ended(tasks)
        problems = [one for one in found if isinstance(one, BaseException)]
        if problems:
            done = [
                part.name
                for part, one in zip(reversed(self._parts), found, strict=True)
                if isinstance(one, Confirmation)
            ]
            raise worst(problems, done)
        confirmed = [one for one in found if isinstance(one, Confirmation)]
        return _confirmed(route, self._parts, confirmed[::-1])

    async def _for_a_while(self, task: asyncio.Task[Confirmation]) -> None:
        nap = asyncio.ensure_future(self._sleep(_HOLDS_UP_S))
        try:
            await asyncio.wait({task, nap}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended([nap])

    async def _write(self, part: Part, route: Route, over: Route | None) -> Confirmation:
        with _named(part):
            return await part.routing.router.apply(route, over)

    async def _each(self, ask: Callable[[Part], Awaitable[T]]) -> list[T | BaseException]:
        """What each says, or raises, with its name."""

        async def one(part: Part) -> T:
            with _named(part):
                return await ask(part)

        return await asyncio.gather(*map(one, self._parts), return_exceptions=True)

    async def _all(
        self, ask: Callable[[Part], Awaitable[T]], parts: Sequence[Part] | None = None
    ) -> list[T]:
        """What each says, of all or of some; the first error of any of them."""

        async def one(part: Part) -> T:
            with _named(part):
                return await ask(part)

        return await asyncio.gather(*map(one, self._parts if parts is None else parts))

    @staticmethod
    def _raise_first(found: Sequence[object]) -> None:
        problems = [one for one in found if isinstance(one, BaseException)]
        if problems:
            raise first_of(problems)


def several(parts: Sequence[Part], can: Capabilities, *, judged: int, owns: bool) -> Routing:
    """Several routers as one, with all that they can do together."""
    router = SeveralRouters(parts, can, judged=judged, owns=owns)
    if can.counts is not Counting.ROUTER:  # late counts are those of each: they are not added up
        can = can.model_copy(update={"counts": Counting.NONE})
    return replace(Routing.of(router, can), parts=tuple(parts))


async def _check_there(routing: Routing, route: Route, applied: Route) -> None:
    """Check that a router knows the versions that it is to send requests to.

    Raises:
        UnknownRoute: it does not know one.
    """
    for version in route.versions:
        if version in applied.versions or await routing.locator.exists(route.service, version):
            continue
        text = "has no pool of instances that the router knows of"
        raise UnknownRoute(f"{route.service}: version {version} {text}")


def _goes_back(route: Route, over: Route | None) -> bool:
    """Whether the canary gets less than it had."""
    return route.canary is None or (over is not None and route.weight < over.weight)


def _confirmed(route: Route, parts: Sequence[Part], each: Sequence[Confirmation]) -> Confirmation:
    marks = (f"{part.name}={one.mark}" for part, one in zip(parts, each, strict=True))
    return Confirmation(route=route, mark="; ".join(marks))


async def _ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel what still runs, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _named(part: Part) -> Iterator[None]:
    """Say in each error which router it is of."""
    try:
        yield
    except AdapterError as error:
        # The last of a chain of errors is what a person is told: it must be this one.
        raise named(error, part).with_traceback(error.__traceback__) from None
