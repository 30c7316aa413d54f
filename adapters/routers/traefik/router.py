"""Traefik as a router: routes are its own dynamic configuration, in files or in etcd.

A write is: read what the store has, check the generation, replace it if it is still that; then ask
every Traefik until each serves the route. What Traefik finds wrong is taken back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

import httpx

from adapters.errors import (
    ForeignChange,
    Retryable,
    Terminal,
    UnknownRoute,
    Unsupported,
)
from adapters.ports import Leased, LeaseStore
from adapters.routers.endpoint_fence import Order
from adapters.routers.fence import (
    change_in,
    check_able,
    check_generation,
    check_over,
    known,
    overtaken,
)
from adapters.routers.traefik.api import PoolSeen, TraefikApi
from adapters.routers.traefik.document import (
    DIGEST,
    EVERYWHERE,
    ROUTE,
    Entrance,
    document,
    is_changed,
    names,
    read_mark,
    route_in,
    split_in,
)
from adapters.routers.traefik.endpoints import PoolWriter
from adapters.routers.traefik.names import apart_name, mark_name, of_provider, pool_name
from adapters.routers.traefik.pace import PACE, Pace
from adapters.routers.traefik.store import Found, Store
from schemas.capabilities import Capabilities
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Confirmation, Health, Route

_TRIES: Final = 20


class TraefikRouter:
    """A `Router` over a store that Traefiks watch. Workers in several processes may share it.

    Args:
        store: keeps the routes.
        api_urls: the API of every Traefik; each must confirm.
        client: for them; closed with the router if it `owns` it.
        can: what it can do.
        entrance: which requests are those of a service.
        pace: waiting times.
        owns: whether the client is its own.
        clock: seconds that only grow.
        sleep: waits for seconds.
        health_path: the health check of pools that it makes; None: none.

    Raises:
        ValueError: no address of an API, or one that is not HTTP.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        store: Store,
        api_urls: Sequence[str],
        *,
        client: httpx.AsyncClient,
        can: Capabilities,
        entrance: Entrance = EVERYWHERE,
        pace: Pace = PACE,
        owns: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        health_path: str | None = None,
    ) -> None:
        if not api_urls:
            raise ValueError("api: expected the address of at least one Traefik")
        self._store = store
        self._apis = [TraefikApi(url, client, pace.answer_within) for url in api_urls]
        self._client = client
        self._told = PoolWriter(
            store, self._apis, pace=pace, health_path=health_path, clock=clock, sleep=sleep
        )
        self._can = can
        self._entrance = entrance
        self._pace = pace
        self._owns = owns
        self._clock = clock
        self._sleep = sleep

    async def locate(self, service: str, version: str) -> str:
        """The service of one version: label `service` of Traefik's metrics."""
        return of_provider(pool_name(service, version), self._store.provider)

    async def locate_apart(self, service: str, version: str) -> str:
        """The service of the same instances for copies and for who asks for the version."""
        return of_provider(apart_name(service, version), self._store.provider)

    async def exists(self, service: str, version: str) -> bool:
        """Whether a Traefik knows a pool of a version."""
        return await self._has_pool(service, version) != set()

    async def read(self, service: str) -> Route:
        """The route in the store, which every Traefik takes up, also after a restart."""
        found = await self._store.read(service)
        applied = route_in(found.entries, service)
        if applied is None and found.entries:
            raise self._changed(service, found, "the mark of the release that wrote it last")
        return known(applied, service)

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route. Waits for no Traefik to serve it.

        Raises:
            UnknownRoute: `stable` has no pool.
            ForeignChange: it has routers or services of its name that are not Aviary's.
            Retryable: no Traefik could be asked, or the route could not be written.
        """
        route = Route.split(service, stable)
        for _ in range(_TRIES):
            found = await self._store.read(service)
            there = route_in(found.entries, service)
            if there is not None:
                return there
            if found.entries:
                raise self._changed(service, found, "none, or a route of Aviary's")
            await self._await_pools(route, {stable}, self._clock() + self._pace.confirm_within)
            if await self._store.write(service, document(route, self._entrance), found):
                return route
        raise self._crowded(service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once every Traefik serves it (see the port)."""
        check_able(route, self._can)
        if route.mirror is not None and route.mirror.share != int(route.mirror.share):
            raise Unsupported(
                f"{route.service}: the router can't copy {route.mirror.share:g} % of requests, "
                "expected a whole number of percent"
            )
        deadline = self._clock() + self._pace.confirm_within
        wanted = document(route, self._entrance)
        for _ in range(_TRIES):
            before = await self._store.read(route.service)
            missing = self._check(before, route, over)
            await self._await_pools(route, missing, deadline)
            if await self._store.write(route.service, wanted, before):
                await self._confirm(route, wanted, before, deadline)
                return Confirmation(route=route, mark=_mark(wanted, route.service)[DIGEST])
        raise self._crowded(route.service)

    async def changed(self, route: Route) -> str:
        """What the store has, where somebody else has written in it."""
        found = await self._store.read(route.service)
        return change_in(partial(self._check, found, route, route))

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests that were answered by the instances of each version, over all Traefiks.

        Traefik counts a request when its answer is complete.
        """
        await self.read(service)
        versions = {version for one in await self._pools(service) for version in one}
        provider = self._store.provider
        asked = (api.requests(service, provider) for api in self._apis)
        counts = await asyncio.gather(*asked)
        return {one: sum(count.get(one, 0) for count in counts) for one in sorted(versions)}

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each pool, as the Traefik sees them that sees the fewest healthy.

        None where a pool has no health check: Traefik then takes every instance for healthy.
        """
        seen: dict[str, Health] = {}
        for pools in await self._pools(service):
            for version, pool in pools.items():
                if pool.health is None:
                    return None
                fewest = seen.get(version, pool.health)
                seen[version] = min(fewest, pool.health, key=lambda health: health.healthy)
        return seen

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Write the pool of a version; returns once every Traefik uses it (see the port)."""
        await self._told.obey(Order.of(service, version, endpoints, generation))

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Take the pool of a version away; returns once no Traefik has it (see the port)."""
        await self._told.obey(Order(service, version, (), generation))

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What it was told: not of pools that somebody else put there (see the port)."""
        return await self._told.told(service)

    async def renew(self, service: str) -> None:
        """Leave a sign of life beside the route of a service (see the port)."""
        await self._leases().renew(service)

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease (see the port)."""
        return await self._leases().leased(services)

    async def aclose(self) -> None:
        """Close what is its own."""
        await self._store.aclose()
        if self._owns:
            await self._client.aclose()

    def _leases(self) -> LeaseStore:
        if not isinstance(self._store, LeaseStore):
            raise Unsupported(f"expected a store that keeps leases, got {self._store.provider}")
        return self._store

    def _check(self, found: Found, route: Route, over: Route | None) -> set[str]:
        """Raise if a route may not be written; return the versions that must be known first."""
        service = route.service
        if not found.entries:
            known(None, service)
        elif over is not None and is_changed(found.entries, service):
            raise self._changed(service, found, over.text)
        applied = route_in(found.entries, service)
        if applied is None:  # its mark was taken away, and that is overruled
            return set(route.versions)
        check_generation(route, applied)
        check_over(route, applied, over)
        # Nothing may stand in the way of a rollback.
        return set(route.versions) - set(applied.versions)

    async def _await_pools(self, route: Route, versions: set[str], deadline: float) -> None:
        """Wait until every Traefik knows the pools: a route to one it does not know answers 404."""
        doubt = self._clock() + self._pace.pools_within
        for version in sorted(versions):
            while True:
                has = await self._has_pool(route.service, version)
                lacks = [api.name for api in self._apis if api.name not in has]
                if not lacks:
                    break
                now = self._clock()
                if not has and now >= doubt:
                    pool = of_provider(pool_name(route.service, version), self._store.provider)
                    raise UnknownRoute(
                        f"{route.service}: version {version} has no pool of instances; expected "
                        f"Traefik to know the service {pool} and its twin"
                    )
                if now >= deadline:
                    text = f"{lacks[0]} does not know the pool of version {version}"
                    raise Retryable(f"{route.service}: {text}")
                await self._sleep(self._pace.poll_every)

    async def _has_pool(self, service: str, version: str) -> set[str]:
        """Names of the Traefiks that know the pool of a version."""
        provider = self._store.provider
        asked = (api.has_pool(service, version, provider) for api in self._apis)
        found = await asyncio.gather(*asked)
        return {api.name for api, has in zip(self._apis, found, strict=True) if has}

    async def _pools(self, service: str) -> Sequence[Mapping[str, PoolSeen]]:
        provider = self._store.provider
        return await asyncio.gather(*(api.pools(service, provider) for api in self._apis))

    async def _confirm(
        self, route: Route, wanted: Mapping[str, Any], before: Found, deadline: float
    ) -> None:
        """Wait until every Traefik serves the route, and finds nothing wrong with it."""
        waiting = list(self._apis)
        while True:
            looks = await asyncio.gather(*(self._look(route, wanted, api) for api in waiting))
            problems = {
                api: look for api, look in zip(waiting, looks, strict=True) if look is not None
            }
            waiting = list(problems)
            if not waiting:
                break
            if self._clock() >= deadline:
                details = "; ".join(str(problem) for problem in problems.values())
                raise Retryable(
                    f"{route.service}: generation {route.generation} was written but not confirmed "
                    f"within {self._pace.confirm_within} s: {details}"
                )
            await self._sleep(self._pace.poll_every)
        await self._refuse_faults(route, before)

    async def _look(
        self, route: Route, wanted: Mapping[str, Any], api: TraefikApi
    ) -> Retryable | None:
        """Why a Traefik does not serve the route yet; None: it does."""
        try:
            mark = await api.mark(route.service, self._store.provider)
            if mark == _mark(wanted, route.service):
                return None
            if mark and read_mark(route.service, mark[ROUTE]).generation > route.generation:
                await self._refuse_overtaken(route)
        except Retryable as problem:
            return problem
        return Retryable(f"{api.name} serves another route")

    async def _refuse_overtaken(self, route: Route) -> None:
        """Raise if the store has a newer route; one that was taken back may be served for a moment.

        Raises:
            StaleGeneration: it has.
        """
        found = await self._store.read(route.service)
        now = route_in(found.entries, route.service)
        if now is not None and now.generation > route.generation:
            raise overtaken(route, now)

    async def _refuse_faults(self, route: Route, before: Found) -> None:
        """Put back what was there if a Traefik finds something wrong.

        Raises:
            Terminal: it does.
        """
        provider = self._store.provider
        for api in self._apis:
            for name in names(route, self._entrance):
                fault = await api.faults(name, provider)
                if fault:
                    taken = await self._take_back(route, before)
                    raise Terminal(
                        f"{route.service}: {api.name} refuses {name} of generation "
                        f"{route.generation}: {fault}; it {taken}"
                    )

    async def _take_back(self, route: Route, before: Found) -> str:
        """Write again what was there before a route.

        Raises:
            StaleGeneration: a newer one has replaced it, and so there was nothing to find.
        """
        found = await self._store.read(route.service)
        now = route_in(found.entries, route.service)
        if now is not None and now.generation > route.generation:
            raise overtaken(route, now)
        if now != route or before.document is None:
            return "was left"
        done = await self._store.write(route.service, before.document, found)
        return "was taken back" if done else "was left"

    def _changed(self, service: str, found: Found, expected: str) -> ForeignChange:
        what = split_in(found.entries, service) or "another form"
        who = self._store.who(service)
        where = f"{self._store.provider} provider"
        return ForeignChange(service, f"{where}: found {what}, expected {expected}", who)

    def _crowded(self, service: str) -> Retryable:
        return Retryable(f"{service}: others write its route all the time")


def _mark(wanted: Mapping[str, Any], service: str) -> Mapping[str, str]:
    middleware = wanted["http"]["middlewares"][mark_name(service)]
    found: Mapping[str, str] = middleware["headers"]["customRequestHeaders"]
    return found
