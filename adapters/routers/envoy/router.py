"""Envoy as a router: all routes in one file that every Envoy of the fleet watches.

A write is: lock, read, check the generation, replace the file, unlock; then ask every Envoy until
each serves the route. The lock is not held while asking, so that an Envoy that does not answer
delays no other service's rollback. A rejected file can therefore hold several writes; only a route
that is rejected by itself is called wrong (`RouteFile.settle_rejection`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from adapters.errors import Retryable
from adapters.ports import Leased
from adapters.routers.endpoint_fence import Order
from adapters.routers.envoy.admin import EnvoyAdmin
from adapters.routers.envoy.capabilities import CAPABILITIES
from adapters.routers.envoy.endpoints import EndpointFile
from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.names import apart_name, pool_name
from adapters.routers.envoy.routes import Domains, clusters_of, local_domains
from adapters.routers.fence import change_in, check_able, overtaken
from adapters.routers.lease_folder import LeaseFolder
from schemas.deployment import Endpoint, Endpoints
from schemas.reading import Series
from schemas.route import Confirmation, Health, Route


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 2.0
    """For all Envoys to serve a route; keep it below the time-out of the calling activity."""
    endpoints_within: float = 5.0
    """For all Envoys to use the instances of a version, whose health they look at first."""
    answer_within: float = 1.0
    """For one answer of an Envoy."""
    poll_every: float = 0.01
    """Between two questions to an Envoy."""
    doubt: float = 0.1
    """Without confirmation, until a rejection is looked for; and again for its answer."""
    lock_within: float = 1.0
    """For other writers of the file."""


@dataclass(frozen=True)
class _Probe:
    """The search for a rejection: since when, and the counts before the file was written again."""

    since: float
    counts: Mapping[EnvoyAdmin, int] | None = None


class EnvoyRouter:
    """A `Router` over the files of an `EnvoyFleet`. Workers in several processes may share them.

    Args:
        directory: the fleet's, prepared by `EnvoyFleet.bootstrap`.
        admin_urls: the admin address of every Envoy of the directory; each must confirm.
        client: for the admin addresses; closed by its owner.
        pace: waiting times.
        domains: the hosts under which callers ask for a service.
        health_path: the health check of pools that it makes; None: a connection is enough.
        clock: seconds that only grow.
        sleep: waits for seconds.

    Raises:
        ValueError: no admin address, or one that is not HTTP.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        directory: Path,
        admin_urls: Sequence[str],
        *,
        client: httpx.AsyncClient,
        pace: Pace = Pace(),
        domains: Domains = local_domains,
        health_path: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not admin_urls:
            raise ValueError("admin_urls: expected the address of at least one Envoy")
        self._file = RouteFile(directory, domains, pace.lock_within)
        self._leases = LeaseFolder(directory)
        self._endpoints = EndpointFile(directory, health_path, pace.lock_within)
        self._admins = [EnvoyAdmin(url, client, pace.answer_within) for url in admin_urls]
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    async def locate(self, service: str, version: str) -> str:
        """The cluster of one version: label `envoy_cluster_name` of Envoy's metrics."""
        return pool_name(service, version)

    async def locate_apart(self, service: str, version: str) -> str:
        """The cluster of the same instances for copies and for who asks for the version."""
        return apart_name(service, version)

    async def exists(self, service: str, version: str) -> bool:
        """Whether the fleet's folder has a cluster for a version."""
        return version in await asyncio.to_thread(self._file.versions, service)

    async def read(self, service: str) -> Route:
        """The route in the file, which every Envoy takes up, also after a restart."""
        return await asyncio.to_thread(self._file.read, service)

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route. Waits for no Envoy: it may not run yet.

        Raises:
            UnknownRoute: `stable` has no pool.
            Retryable: the file could not be written.
        """
        return await asyncio.to_thread(self._file.register, Route.split(service, stable))

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once every Envoy serves it (see the port)."""
        check_able(route, CAPABILITIES)
        deadline = self._clock() + self._pace.confirm_within
        if route.weight > 0 or route.mirror is not None:
            await asyncio.to_thread(self._file.check_sources, route)
            await asyncio.to_thread(self._file.check, route, over)
            await self._await_clusters(route, deadline)
        before = await asyncio.to_thread(self._file.write, route, over)
        mark = await self._confirm(route, before, deadline)
        return Confirmation(route=route, mark=mark)

    async def changed(self, route: Route) -> str:
        """What the file has, where somebody else has written in it."""
        return await asyncio.to_thread(change_in, partial(self._file.check, route, route))

    async def renew(self, service: str) -> None:
        """Leave a sign of life in a file of its own, which no Envoy reads (see the port)."""
        await asyncio.to_thread(self._leases.renew, service)

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease, of one reading of the file (see the port)."""
        routes = await asyncio.to_thread(self._file.leased, services)
        return await asyncio.to_thread(self._leases.beside, routes)

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests sent so far to the instances of each version, over all Envoys.

        Counted when they start and where they really went: one that fell back to stable, because
        no instance of the canary was healthy, counts for stable.
        """
        await self.read(service)
        versions = await asyncio.to_thread(self._file.versions, service)
        asked = (admin.requests(service, versions) for admin in self._admins)
        counts = await asyncio.gather(*asked)
        return {version: sum(count[version] for count in counts) for version in sorted(versions)}

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """Requests of a sample, by bucket of users and version, over all Envoys.

        Counted when they are answered, and by the split: one that fell back counts for the canary.
        """
        versions = await asyncio.to_thread(self._file.versions, service)
        asked = (admin.requests_by_user(service, versions) for admin in self._admins)
        sums: dict[str, Counter[str]] = defaultdict(Counter)
        for one in await asyncio.gather(*asked):
            for bucket, counts in one.items():
                sums[bucket].update(counts)
        return sums

    async def requests_in_lane(self, service: str) -> int:
        """Requests so far that came with a lane, over all Envoys."""
        asked = (admin.requests_in_lane(service) for admin in self._admins)
        return sum(await asyncio.gather(*asked))

    async def counters(self, service: str) -> Sequence[Series]:
        """The raw counters of a service's pools, of each Envoy (see the port)."""
        asked = (admin.counters(service) for admin in self._admins)
        return [series for one in await asyncio.gather(*asked) for series in one]

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each pool, as the Envoy sees them that sees the fewest healthy."""
        versions = await asyncio.to_thread(self._file.versions, service)
        asked = (admin.instances(service, versions) for admin in self._admins)
        seen = await asyncio.gather(*asked)
        return {
            version: min((one[version] for one in seen), key=lambda health: health.healthy)
            for version in sorted(versions)
        }

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Write the pool of a version; returns once every Envoy uses it (see the port)."""
        order = Order.of(service, version, endpoints, generation)
        await asyncio.to_thread(self._endpoints.put, order)
        await self._confirm_endpoints(order)

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Take the pool of a version away; returns once no Envoy has it (see the port)."""
        order = Order(service, version, (), generation)
        await asyncio.to_thread(self._endpoints.drop, order)
        await self._confirm_endpoints(order)

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """The pools, those among them that nobody told it of with generation 0 (see the port)."""
        return await asyncio.to_thread(self._endpoints.told, service)

    async def aclose(self) -> None:
        """Nothing: the client is its owner's."""

    async def _await_clusters(self, route: Route, deadline: float) -> None:
        """Wait until every Envoy knows the pools, for it answers 503 for one it does not know.

        Only asked before traffic goes to a canary: nothing may stand in the way of a rollback.
        """
        clusters = clusters_of(route)
        while True:
            found = await asyncio.gather(
                *(admin.missing(route.service, clusters) for admin in self._admins)
            )
            missing = frozenset[str]().union(*found)
            if not missing:
                return
            if self._clock() >= deadline:
                names = ", ".join(sorted(missing))
                raise Retryable(f"{route.service}: Envoy does not know its clusters yet: {names}")
            await self._sleep(self._pace.poll_every)

    async def _confirm_endpoints(self, order: Order) -> None:
        """Wait until every Envoy uses these instances: new ones are looked at first."""
        wanted = frozenset((one.host, one.port) for one in order.endpoints)
        deadline = self._clock() + self._pace.endpoints_within
        while True:
            asked = (admin.endpoints(order.service, order.version) for admin in self._admins)
            found = await asyncio.gather(*asked, return_exceptions=True)
            late = {
                admin.name: str(one) if isinstance(one, BaseException) else "has others"
                for admin, one in zip(self._admins, found, strict=True)
                if one != wanted
            }
            for one in found:
                if isinstance(one, BaseException) and not isinstance(one, Retryable):
                    raise one
            if not late:
                return
            if self._clock() >= deadline:
                told = "; ".join(f"{name}: {why}" for name, why in late.items())
                raise Retryable(
                    f"{order.service} {order.version}: its endpoints were written but not "
                    f"confirmed within {self._pace.endpoints_within} s: {told}"
                )
            await self._sleep(self._pace.poll_every)

    async def _confirm(self, route: Route, before: Mapping[str, Any], deadline: float) -> str:
        """Wait until all serve the route; return the version of the configuration that has it."""
        waiting, mark, probe = list(self._admins), "", _Probe(self._clock())
        while True:
            looks = await asyncio.gather(*(self._look(route, admin) for admin in waiting))
            mark = next((look for look in looks if isinstance(look, str)), mark)
            problems = {
                admin: look
                for admin, look in zip(waiting, looks, strict=True)
                if isinstance(look, Retryable)
            }
            waiting = list(problems)
            if not waiting:
                return mark
            if self._clock() >= deadline:
                why = await asyncio.to_thread(self._file.refusals)
                raise self._unconfirmed(route, problems, why)
            if self._clock() - probe.since >= self._pace.doubt:
                probe = await self._search_rejection(route, before, waiting, probe)
            await self._sleep(self._pace.poll_every)

    async def _look(self, route: Route, admin: EnvoyAdmin) -> str | Retryable:
        """The version of the configuration that serves the route, or why there is none."""
        try:
            served = await admin.served()
            now = served.route(route.service)
        except Retryable as problem:
            return problem
        if now is not None and now.generation > route.generation:
            raise overtaken(route, now)
        return served.version if now == route else Retryable(f"{admin.name} serves another route")

    async def _search_rejection(
        self, route: Route, before: Mapping[str, Any], waiting: Sequence[EnvoyAdmin], probe: _Probe
    ) -> _Probe:
        """Find out whether an Envoy rejects the file: it counts rejections but does not name them.

        First the counts are taken and the file is written again as it is (which also wakes an Envoy
        that missed the first time). A count that has risen the next time is this content's.
        """
        asked = await asyncio.gather(*(self._count(admin) for admin in waiting))
        counts = {a: n for a, n in zip(waiting, asked, strict=True) if n is not None}
        if probe.counts is None:
            await asyncio.to_thread(self._file.again, route)
            return _Probe(self._clock(), counts)
        for admin, count in counts.items():
            if count > probe.counts.get(admin, count):
                await self._settle_rejection(route, before, admin)
        return _Probe(self._clock())

    async def _settle_rejection(
        self, route: Route, before: Mapping[str, Any], admin: EnvoyAdmin
    ) -> None:
        served = await admin.served()
        if served.route(route.service) != route:
            settle = self._file.settle_rejection
            await asyncio.to_thread(settle, route, admin.name, served, before)

    async def _count(self, admin: EnvoyAdmin) -> int | None:
        # It may be up again in a moment; if it is not, the deadline says so.
        try:
            by_file = not await asyncio.to_thread(self._file.has_control_plane)
            return await admin.rejections(by_file=by_file)
        except Retryable:
            return None

    def _unconfirmed(
        self, route: Route, problems: Mapping[EnvoyAdmin, Retryable], why: str
    ) -> Retryable:
        details = "; ".join([*map(str, problems.values()), *([why] if why else [])])
        return Retryable(
            f"{route.service}: generation {route.generation} was written but not confirmed within "
            f"{self._pace.confirm_within} s: {details}"
        )
