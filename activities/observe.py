"""See whether the traffic does what the router confirmed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Generic, NamedTuple, TypeVar

from temporalio import activity

from activities.policy import Policy, forever, may_come_back, rest, terminal_errors
from adapters.errors import Retryable, UnknownRoute
from adapters.ports import RequestCounts, Routing
from analysis.explain import percent
from analysis.sample_ratio import (
    ONE_BY_ONE,
    PINNED,
    UNKNOWN,
    Bucket,
    Crowd,
    judge_sample_ratio,
)
from schemas.base import Duration, Model, ServiceName, Version
from schemas.lane_counts import LaneCounts
from schemas.router_spec import RouterSpec
from schemas.verdict import SampleRatio

_WORSE: Final = (
    SampleRatio.TOO_LITTLE,
    SampleRatio.MATCH,
    SampleRatio.EXPLAINED,
    SampleRatio.MISMATCH,
)
"""From the best to the worst; what one router has too few requests for, another may tell."""

_LANE: Final = "lane"

_Key = TypeVar("_Key", bound=Hashable)

SEE_BACK: Final = "aviary.traffic.see_back"

SEE_POLICY = Policy(
    start_to_close=timedelta(minutes=2),
    retry=forever(timedelta(seconds=5)),
    heartbeat=timedelta(seconds=10),
)


class SeeBack(Model):
    """Look whether requests still start on a version that was taken back."""

    router: RouterSpec
    service: ServiceName
    version: Version
    quiet: Duration
    """How long no request may start on it."""
    within: Duration
    """How long requests may go on starting before the router is found disobedient."""


class TrafficWindow(Model):
    """What the traffic did."""

    sample_ratio: SampleRatio
    strays: int = 0
    """Requests that started on the version in the last window."""
    total: int = 0
    """Requests that started on any version in the last window."""


class Counter(Generic[_Key]):
    """Requests per version since a beginning; a count that shrinks (a restart) begins anew."""

    def __init__(self, first: Mapping[_Key, int]) -> None:
        self._last = dict(first)
        self._sums: dict[_Key, int] = dict.fromkeys(first, 0)

    def add(self, now: Mapping[_Key, int]) -> None:
        """Take the next reading."""
        for version, count in now.items():
            before = self._last.get(version, 0)
            grown = count - before if count >= before else count
            self._sums[version] = self._sums.get(version, 0) + grown
        self._last = dict(now)

    def of(self, version: _Key) -> int:
        """Requests of one version."""
        return self._sums.get(version, 0)

    @property
    def total(self) -> int:
        """Requests of all versions."""
        return sum(self._sums.values())

    @property
    def counts(self) -> Mapping[_Key, int]:
        """Requests of each."""
        return self._sums


class SampleRatioCheck:
    """Compares the observed share of one canary with its weight, for as long as it is judged.

    Args:
        routing: perhaps counts the requests, and those of each user; without, nothing is seen.
        service: whose they are.
        canary: its new version.
        weight: the canary's, in percent.
        crowd: what the users' own rates may explain, where the router does not count them.
        in_lane: whether the route has a lane. It sends requests to the canary as well, which may
            have more than its weight then; what comes with it is counted.
    """

    def __init__(  # noqa: PLR0913 - what there is to compare
        self,
        routing: Routing,
        service: str,
        canary: str,
        weight: float,
        crowd: Crowd = ONE_BY_ONE,
        *,
        in_lane: bool = False,
    ) -> None:
        self._counts = routing.counting()
        self._by_users = routing.users
        self._lanes = routing.lanes if in_lane else None
        self._service = service
        self._canary = canary
        self._weight = weight
        self._crowd = crowd
        self._in_lane = in_lane
        self._counter: Counter[str] | None = None
        self._users: Counter[tuple[str, str]] | None = None
        self._lane: Counter[str] | None = None

    async def look(self) -> SampleRatio:
        """Take a reading; call first when the weight has had time to reach every request."""
        if self._counts is None:
            return SampleRatio.TOO_LITTLE
        try:
            with terminal_errors(), may_come_back():
                now = await self._counts.requests(self._service)
                users = await self._by_user()
                lane = await self._with_lane()
        except Retryable as error:
            activity.logger.warning(
                "the router's counts can't be read", extra={"error": str(error)}
            )
            return SampleRatio.TOO_LITTLE
        if self._counter is None or self._users is None or self._lane is None:
            self._counter, self._users, self._lane = Counter(now), Counter(users), Counter(lane)
        self._counter.add(now)
        self._users.add(users)
        self._lane.add(lane)
        canary, total = self.seen
        crowd = self._crowd._replace(counted=self._buckets(self._users.counts))
        return judge_sample_ratio(canary, total, self._weight, crowd=crowd, at_least=self._in_lane)

    async def _by_user(self) -> Mapping[tuple[str, str], int]:
        if self._by_users is None:
            return {}
        buckets = await self._by_users.requests_by_user(self._service)
        return {
            (bucket, version): count
            for bucket, versions in buckets.items()
            for version, count in versions.items()
        }

    async def _with_lane(self) -> Mapping[str, int]:
        if self._lanes is None:
            return {}
        return {_LANE: await self._lanes.requests_in_lane(self._service)}

    def _buckets(self, counts: Mapping[tuple[str, str], int]) -> tuple[Bucket, ...]:
        totals: dict[str, int] = defaultdict(int)
        for (bucket, _), count in counts.items():
            totals[bucket] += count
        return tuple(
            Bucket(counts.get((bucket, self._canary), 0), total) for bucket, total in totals.items()
        )

    @property
    def seen(self) -> tuple[int, int]:
        """Requests that started on the canary, and on any version, since the first reading."""
        counter = self._counter or Counter[str]({})
        return counter.of(self._canary), counter.total

    @property
    def came(self) -> int | None:
        """Requests that came with the lane since the first reading; None: nobody counts them."""
        return self._lane.of(_LANE) if self._lanes is not None and self._lane else None

    @property
    def one_sided(self) -> bool:
        """Whether all requests started on one version."""
        canary, total = self.seen
        return canary in {0, total}

    def sentence(self) -> str:
        """What was seen where nothing explains it, for a person."""
        canary, total = self.seen
        why = "the router does not do it, or instances are down"
        if self._crowd == UNKNOWN and 0 < self._weight < 100:  # noqa: PLR2004 - percent
            why += ", or nearly all requests are one user's (then set judge.largest_user)"
        return (
            f"the router confirmed {self._weight:g} % for {self._service} {self._canary}, but "
            f"{canary:,} of {total:,} requests started there, which the rates of its users don't "
            f"explain: {why}"
        )

    def remark(self) -> str:
        """What was seen where users may explain it, for a person."""
        canary, total = self.seen
        seen = f"{canary:,} of {total:,}"
        if self.one_sided:
            side = "no request" if canary == 0 else "every request"
            return (
                f"{side} of {total:,} started on the canary at a weight of {self._weight:g} %: "
                "its users may all be on one version, or the router does not split them"
            )
        may = "users stay with what they were given at another weight"
        if self._crowd != PINNED:
            may = "one user's own rate may explain it"
        return (
            f"the canary got {percent(canary / total)} of requests ({seen}) at a weight of "
            f"{self._weight:g} %: {may}"
        )


class RouterCheck(NamedTuple):
    """The check of one router's requests."""

    name: str
    """Of the router, for a person; empty for a single one."""
    check: SampleRatioCheck
    settled: datetime
    """When the weight has reached every request, and all of before are counted."""


class SampleRatioChecks:
    """The share as each router of a service has it: one that disobeys is not hidden by the others.

    Args:
        checks: one of each router.
    """

    def __init__(self, checks: Sequence[RouterCheck]) -> None:
        self._checks = checks
        self._found = checks[0]
        self._began: datetime | None = None
        self._until: datetime | None = None

    async def look(self, now: datetime) -> SampleRatio:
        """Take a reading of each that has settled; the worst of what they say."""

        async def one(each: RouterCheck) -> SampleRatio:
            return await each.check.look() if now >= each.settled else SampleRatio.TOO_LITTLE

        found = await asyncio.gather(*map(one, self._checks))
        if self._counts_lane:
            self._began, self._until = self._began or now, now
        worst = max(found, key=_WORSE.index)
        self._found = self._checks[found.index(worst)]
        return worst

    @property
    def seen(self) -> tuple[int, int]:
        """Requests that started on the canary, and on any version, over all routers."""
        counts = [each.check.seen for each in self._checks]
        return sum(canary for canary, _ in counts), sum(total for _, total in counts)

    @property
    def _counts_lane(self) -> bool:
        return all(each.check.came is not None for each in self._checks)

    def lane(self, weight: float) -> LaneCounts | None:
        """What came with the lane since the first reading; None where nobody counts it.

        Args:
            weight: of the canary, percent.
        """
        if self._began is None or self._until is None:
            return None
        canary, total = self.seen
        came = sum(each.check.came or 0 for each in self._checks)
        return LaneCounts(
            began_at=self._began,
            until=self._until,
            weight=weight,
            canary=canary,
            stable=total - canary,
            came=came,
        )

    @property
    def one_sided(self) -> bool:
        """Whether all requests started on one version, where it was worst."""
        return self._found.check.one_sided

    def sentence(self) -> str:
        """What was seen where nothing explains it, for a person."""
        return self._said(self._found.check.sentence())

    def remark(self) -> str:
        """What was seen where users may explain it, for a person."""
        return self._said(self._found.check.remark())

    def _said(self, text: str) -> str:
        name = self._found.name
        return f"{name}: {text}" if name else text


class ObserveActivities:
    """Activities over what the routers count."""

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._router_for = router_for
        self._sleep = sleep

    @activity.defn(name=SEE_BACK)
    async def see_back(self, request: SeeBack) -> TrafficWindow:
        """Look in windows of `quiet` until one has no stray request, or `within` is over.

        Where nobody counts requests, or they are counted late, nothing is seen, and that is the
        answer: the way back of other services must not wait for a metrics source.
        """
        windows = max(1, round(request.within / request.quiet)) if request.quiet else 1
        seen = TrafficWindow(sample_ratio=SampleRatio.TOO_LITTLE)
        parts = [part.routing for part in self._router_for(request.router).each]
        counts = [part.counts for part in parts if part.counts is not None and not part.late]
        if not counts:
            return seen
        with terminal_errors():
            for left in reversed(range(windows)):
                try:
                    seen = await self._window(counts, request)
                except UnknownRoute:
                    if not left:
                        raise
                    # Somebody may just replace its file.
                    await rest(request.quiet.total_seconds(), self._sleep)
                    continue
                activity.heartbeat(seen.strays)
                if seen.sample_ratio is not SampleRatio.MISMATCH:
                    return seen
        return seen

    async def _window(self, counts: Sequence[RequestCounts], request: SeeBack) -> TrafficWindow:
        """Of several routers, each is held against its own requests."""
        counters = [Counter(await one.requests(request.service)) for one in counts]
        await rest(request.quiet.total_seconds(), self._sleep)
        for one, counter in zip(counts, counters, strict=True):
            counter.add(await one.requests(request.service))
        found = [
            judge_sample_ratio(counter.of(request.version), counter.total, 0)
            for counter in counters
        ]
        return TrafficWindow(
            sample_ratio=max(found, key=_WORSE.index),
            strays=sum(counter.of(request.version) for counter in counters),
            total=sum(counter.total for counter in counters),
        )
