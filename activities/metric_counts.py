"""Requests of each version by a metrics source, for routers that don't count them themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, Self

from activities.clock import server_now
from adapters.errors import Retryable
from adapters.ports import Instances, MetricsSource, Router, VersionLocator
from analysis.counters import ArmCounters
from analysis.duplicates import certain
from schemas.judging import render
from schemas.reading import Series, partial_of, shown

Clock = Callable[[], datetime]


class Counted(Router, VersionLocator, Protocol):
    """What has to be known of a router whose requests are counted elsewhere."""


class MetricCounts:
    """Counts requests by raw counters of the instances, or of the proxies before them.

    They are as late as the source is: by the interval in which it gathers them, and what that
    takes. Counters of instances begin again, and instances come and go, each at its own time; so
    what was counted is the sum of what each has grown by since the first reading, which is 0.

    Args:
        router: whose requests they are; its versions are those of the route, and those that it
            knows instances of.
        source: is asked for them.
        template: PromQL for the raw counters of one version.
        late: longest time from a request until it is counted.
        clock: time as the server has it.
    """

    def __init__(
        self,
        router: Counted,
        source: MetricsSource,
        template: str,
        late: timedelta,
        clock: Clock = server_now,
    ) -> None:
        self.late = late
        self._router = router
        self._source = source
        self._template = template
        self._clock = clock
        self._counters = ArmCounters()
        self._since: datetime | None = None
        self._sums: dict[str, float] = {}

    def anew(self) -> Self:
        """Another that has counted nothing yet: two callers would see each other's beginning."""
        return type(self)(self._router, self._source, self._template, self.late, self._clock)

    async def requests(self, service: str) -> dict[str, int]:
        """Requests of each version since the first reading (see `adapters.ports.RequestCounts`).

        Of one service: for another, take another one.

        Raises:
            UnknownRoute: the router has no such service.
            Terminal: the query is wrong.
            Retryable: no answer, or none that can be counted: a part of it, or all of it twice.
        """
        now = self._clock()
        series = {
            version: await self._series(service, version, now)
            for version in sorted(await self._versions(service))
        }
        since = None if self._since is None else self._since.timestamp()
        grown, self._counters = self._counters.advance(series, since)
        self._since = now
        for version, instances in grown.items():
            self._sums[version] = self._sums.get(version, 0.0) + sum(instances.values())
        return {version: round(total) for version, total in self._sums.items()}

    async def _versions(self, service: str) -> set[str]:
        route = await self._router.read(service)
        known = {arm.version for arm in route.arms}
        if isinstance(self._router, Instances):
            known |= (await self._router.instances(service) or {}).keys()
        return known

    async def _series(self, service: str, version: str, at: datetime) -> Sequence[Series]:
        pool = await self._router.locate(service, version)
        variables = {"service": service, "version": version, "pool": pool}
        found = await self._source.query(render(self._template, variables), at)
        if partial := partial_of(found):
            raise Retryable(f"requests of {service} {version}: only a part: {shown(partial)}")
        if copies := certain(found):
            raise Retryable(f"requests of {service}: {copies.sentence(version)}")
        return found
