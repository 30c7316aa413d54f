"""Envoy as a router: all routes in one file that every Envoy of the fleet watches.

A write is: lock, read, check the generation, replace the file, unlock; then ask every Envoy until
each serves the route. The lock is not held while asking, so that an Envoy that does not answer
delays no other service's rollback. A rejected file can therefore hold several writes; only a route
that is rejected by itself is called wrong (`RouteFile.settle_rejection`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from adapters.errors import Retryable
from adapters.routers.envoy_admin import EnvoyAdmin, Served
from adapters.routers.envoy_file import RouteFile
from adapters.routers.envoy_names import pool_name
from adapters.routers.envoy_routes import Domains, clusters_of, local_domains
from adapters.routers.fence import overtaken
from schemas.route import Confirmation, Route


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 2.0
    """For all Envoys to serve a route; keep it below the time-out of the calling activity."""
    answer_within: float = 0.5
    """For one answer of an Envoy; one that hangs delays a write by no more than this."""
    poll_every: float = 0.01
    """Between two questions to an Envoy."""
    doubt: float = 0.1
    """From a rejection until it is believed: it may be that of an older file."""
    lock_within: float = 1.0
    """For other writers of the file."""


@dataclass(frozen=True)
class _Look:
    """One answer of one Envoy; without `served` it could not be asked, and `problem` says why."""

    served: Served | None = None
    rejections: int | None = None
    problem: str = "serves another route"


@dataclass
class _Wait:
    """What is known about an Envoy that has not confirmed yet."""

    rejections: int | None
    rejected_since: float | None = None
    look: _Look = field(default_factory=_Look)


class EnvoyRouter:
    """A `Router` over the files of an `EnvoyFleet`. Workers in several processes may share them.

    Args:
        directory: the fleet's, prepared by `EnvoyFleet.bootstrap`.
        admin_urls: the admin address of every Envoy of the directory; each must confirm.
        client: for the admin addresses; closed by its owner.
        pace: waiting times.
        domains: the hosts under which callers ask for a service.
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
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not admin_urls:
            raise ValueError("admin_urls: expected the address of at least one Envoy")
        self._file = RouteFile(directory, domains, pace.lock_within)
        self._admins = [EnvoyAdmin(url, client, pace.answer_within) for url in admin_urls]
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    def pool(self, service: str, version: str) -> str:
        """The cluster of one version: label `envoy_cluster_name` of Envoy's metrics."""
        return pool_name(service, version)

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
        return await asyncio.to_thread(self._file.register, Route(service=service, stable=stable))

    async def apply(self, route: Route) -> Confirmation:
        """Write the route, and return once every Envoy serves it (see the port)."""
        deadline = self._clock() + self._pace.confirm_within
        if route.weight > 0:
            await asyncio.to_thread(self._file.check, route)
            await self._await_clusters(route, deadline)
        waits = await self._begin()
        before = await asyncio.to_thread(self._file.write, route)
        mark = ""
        while True:
            await self._look_all(waits)
            for admin, wait in list(waits.items()):
                served = wait.look.served
                if served is not None and self._serves(route, served):
                    mark = served.version
                    del waits[admin]
            if not waits:
                return Confirmation(route=route, mark=mark)
            rejection = self._believed_rejection(waits)
            if rejection is not None:
                admin, served = rejection
                fresh = await self._begin()
                await asyncio.to_thread(
                    self._file.settle_rejection, route, admin.name, served, before
                )
                waits = {admin: fresh[admin] for admin in waits}
            if self._clock() >= deadline:
                raise self._unconfirmed(route, waits)
            await self._sleep(self._pace.poll_every)

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

    async def _await_clusters(self, route: Route, deadline: float) -> None:
        """Wait until every Envoy knows the pools, for it answers 503 for one it does not know.

        Only asked before traffic goes to a canary: nothing may stand in the way of a rollback.
        """
        clusters = clusters_of(route)
        while True:
            found = await asyncio.gather(*(admin.missing(clusters) for admin in self._admins))
            missing = frozenset[str]().union(*found)
            if not missing:
                return
            if self._clock() >= deadline:
                names = ", ".join(sorted(missing))
                raise Retryable(f"{route.service}: Envoy does not know its clusters yet: {names}")
            await self._sleep(self._pace.poll_every)

    async def _begin(self) -> dict[EnvoyAdmin, _Wait]:
        looks = await asyncio.gather(*(self._count(admin) for admin in self._admins))
        return {a: _Wait(rejections=n) for a, n in zip(self._admins, looks, strict=True)}

    async def _count(self, admin: EnvoyAdmin) -> int | None:
        # It may be up in a moment; if it is not, `apply` says so at the deadline.
        try:
            return await admin.rejections()
        except Retryable:
            return None

    async def _look_all(self, waits: Mapping[EnvoyAdmin, _Wait]) -> None:
        looks = await asyncio.gather(*(self._look(admin) for admin in waits))
        for wait, look in zip(waits.values(), looks, strict=True):
            wait.look = look
            risen = (
                (look.rejections or 0) > wait.rejections if wait.rejections is not None else False
            )
            if not risen:
                wait.rejected_since = None
            elif wait.rejected_since is None:
                wait.rejected_since = self._clock()

    async def _look(self, admin: EnvoyAdmin) -> _Look:
        try:
            # In this order: what is served was asked after the rejection had been counted.
            rejections = await admin.rejections()
            return _Look(served=await admin.served(), rejections=rejections)
        except Retryable as error:
            return _Look(problem=str(error))

    def _serves(self, route: Route, served: Served) -> bool:
        now = served.routes().get(route.service)
        if now is not None and now.generation > route.generation:
            raise overtaken(route, now)
        return now == route

    def _believed_rejection(
        self, waits: Mapping[EnvoyAdmin, _Wait]
    ) -> tuple[EnvoyAdmin, Served] | None:
        for admin, wait in waits.items():
            since, served = wait.rejected_since, wait.look.served
            if served is None or since is None or self._clock() - since < self._pace.doubt:
                continue
            return admin, served
        return None

    def _unconfirmed(self, route: Route, waits: Mapping[EnvoyAdmin, _Wait]) -> Retryable:
        details = "; ".join(f"{admin.name}: {wait.look.problem}" for admin, wait in waits.items())
        return Retryable(
            f"{route.service}: generation {route.generation} was written but not confirmed within "
            f"{self._pace.confirm_within} s ({details})"
        )
