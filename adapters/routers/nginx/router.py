"""nginx as a router: each instance keeps the routes itself and compares before it writes.

The first instance is written alone, and is the judge between writers at the same moment: of two
with one generation the second finds the other's route there, and has written nowhere. The others
follow side by side. Then each is asked what it serves and what it stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from adapters.errors import ForeignChange, Retryable, StaleGeneration
from adapters.http_access import HttpAccess
from adapters.routers.fence import (
    check_able,
    check_generation,
    check_over,
    check_pools,
    known,
    overtaken,
)
from adapters.routers.nginx.capabilities import CAPABILITIES
from adapters.routers.nginx.control import NONE, NginxControl, Pool, Refused, ServiceReading
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Confirmation, Route

ANSWER_WITHIN_S: Final = 2.0
"""For one answer of an nginx; several are asked in one `apply`."""
_TRIES: Final = 5
"""Of a write, each time that somebody else was faster."""

_T = TypeVar("_T")


class NginxRouter:
    """A `Router` over the internal servers of a fleet of nginx, which all must confirm.

    Args:
        addresses: `unix:/path` or `http://host:port` of each, in an order that all writers share.
        access: credentials and authorities; None: no credentials.
        within: seconds that one answer may take.

    Raises:
        ValueError: no address, or one that can't be used.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        access: HttpAccess | None = None,
        within: float = ANSWER_WITHIN_S,
    ) -> None:
        if not addresses:
            raise ValueError("instances: expected the internal server of at least one nginx")
        self._all = [NginxControl(address, access or HttpAccess(), within) for address in addresses]

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(one.aclose() for one in self._all))

    async def locate(self, service: str, version: str) -> str:
        """A name for a version; metrics have service and version as labels."""
        return f"{service}@{version}"

    async def exists(self, service: str, version: str) -> bool:
        """Whether every nginx has instances of a version."""
        seen = await self._each(lambda one: one.look(service))
        return all(version in one.versions for one in seen.values())

    async def read(self, service: str) -> Route:
        """The newest route that an nginx serves; one that is away is not asked for."""
        seen, _ = await self._look(service)
        return known(_newest(seen), service)

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Raises:
            UnknownRoute: an nginx has no instances of `stable`.
            Retryable: an nginx could not be asked, or could not store it.
        """
        seen = await self._each(lambda one: one.look(service))
        route = _newest(seen)
        if route is not None:
            return route
        route = Route.split(service, stable)
        for one in seen.values():
            check_pools(route, one.versions)
        for control in self._all:
            await control.put(route, NONE)
        return await self.read(service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once every nginx serves it (see the port).

        One that does not answer stands in the way of a step, and not of a way back: that is
        written to all others first.
        """
        check_able(route, CAPABILITIES)
        seen, away = await self._look(route.service)
        if away and over is not None:
            raise _away(away)
        self._check(route, over, seen)
        first, *others = seen
        mark = await self._write(first, route, over, seen[first])
        writes = (self._write(one, route, over, seen[one]) for one in others)
        done = await asyncio.gather(*writes, return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
        if away:
            raise _away(away)
        return Confirmation(route=route, mark=mark)

    async def changed(self, route: Route) -> str:
        """What an nginx has that is neither this route nor a newer one, or what it lost."""
        seen = await self._each(lambda one: one.look(route.service))
        newest = known(_newest(seen), route.service)
        if newest.generation > route.generation:
            return ""
        try:
            for control, one in seen.items():
                _check_change(control, one, {route}, route)
        except ForeignChange as found:
            return str(found)
        return ""

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Write where a version takes requests, to every nginx; no configuration is loaded anew.

        Raises:
            StaleGeneration: a newer order was obeyed.
            Terminal: an endpoint has a name; nginx takes IP addresses alone.
            Retryable: an nginx could not be asked, or could not store it.
        """
        pool = Pool(
            service=service,
            version=version,
            endpoints=tuple(map(str, dict.fromkeys(endpoints))),
            generation=generation,
        )
        self._refuse_late((await self._each(lambda one: one.put_pool(pool))).values())

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Forget a version's addresses (see the port)."""
        dropped = await self._each(lambda one: one.drop_pool(service, version, generation))
        self._refuse_late(dropped.values())

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What was written with the newest order, by service and version."""
        found: dict[str, dict[str, Endpoints]] = defaultdict(dict)
        for pools in (await self._each(lambda one: one.pools(service))).values():
            for pool in pools:
                there = found[pool.service].get(pool.version)
                if there is None or there.generation < pool.generation:
                    found[pool.service][pool.version] = Endpoints(
                        endpoints=tuple(map(_endpoint, pool.endpoints)),
                        generation=pool.generation,
                    )
        return found

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests that the split has sent to each version, over all nginx."""
        counted = (await self._each(lambda one: one.counts(service))).values()
        if not any(one.is_known for one in counted):
            known(None, service)
        sums: Counter[str] = Counter()
        for one in counted:
            sums.update(one.requests)
        return dict(sorted(sums.items()))

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """Requests that the split has sent, by bucket of users and version, over all nginx."""
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for one in (await self._each(lambda control: control.counts(service))).values():
            for version, buckets in one.users.items():
                for bucket, count in buckets.items():
                    sums[bucket][version] += count
        return sums

    def _refuse_late(self, refused: Iterable[Refused | None]) -> None:
        for one in refused:
            if one is not None:
                raise StaleGeneration(one.why)

    async def _each(self, ask: Callable[[NginxControl], Awaitable[_T]]) -> dict[NginxControl, _T]:
        answers = await asyncio.gather(*map(ask, self._all))
        return dict(zip(self._all, answers, strict=True))

    async def _look(
        self, service: str
    ) -> tuple[dict[NginxControl, ServiceReading], list[Retryable]]:
        """What each nginx has, and why some could not be asked.

        Raises:
            Retryable: none could be.
        """
        answers = await asyncio.gather(
            *(one.look(service) for one in self._all), return_exceptions=True
        )
        seen, away = dict[NginxControl, ServiceReading](), list[Retryable]()
        for control, answer in zip(self._all, answers, strict=True):
            if isinstance(answer, Retryable):
                away.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                seen[control] = answer
        if not seen:
            raise _away(away)
        return seen, away

    def _check(
        self, route: Route, over: Route | None, seen: Mapping[NginxControl, ServiceReading]
    ) -> None:
        newest = known(_newest(seen), route.service)
        check_generation(route, newest)
        for control, one in seen.items():
            if over is not None:
                check_over(route, one.route or over, over)
                _check_change(control, one, {route, over}, over)
            # What is applied keeps its instances: no way back asks whether they are there.
            had = () if one.route is None else one.route.versions
            check_pools(route, {*one.versions, *had})

    async def _write(
        self, control: NginxControl, route: Route, over: Route | None, seen: ServiceReading
    ) -> str:
        refused = Refused("")
        for _ in range(_TRIES):
            mark = await control.put(route, (seen.mark or NONE) if over is not None else None)
            seen = await control.look(route.service)
            if isinstance(mark, str) and seen.route == seen.stored == route:
                return mark
            if seen.route is not None and seen.route.generation > route.generation:
                raise overtaken(route, seen.route)
            self._check(route, over, {control: seen})
            if isinstance(mark, Refused):
                refused = mark
        raise Retryable(f"{route.service}: not written: {refused.why or 'others write as well'}")


def _newest(seen: Mapping[NginxControl, ServiceReading]) -> Route | None:
    routes = [one.route for one in seen.values() if one.route is not None]
    return max(routes, key=lambda route: route.generation, default=None)


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host=host.strip("[]"), port=int(port))


def _check_change(
    control: NginxControl, seen: ServiceReading, wanted: set[Route], expected: Route
) -> None:
    """Check that one nginx has one of these routes, and its file the same.

    Raises:
        ForeignChange: it has not.
    """
    for found, where in ((seen.route, "serves"), (seen.stored, "has in its file")):
        if found not in wanted:
            text = "no route" if found is None else found.text
            what = f"{control.name} {where} {text}, found where {expected.text} was expected"
            raise ForeignChange(expected.service, what)


def _away(why: Sequence[Retryable]) -> Retryable:
    return Retryable("; ".join(map(str, why)))
