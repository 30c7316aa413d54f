"""See whether the traffic does what the router confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from temporalio import activity

from activities.policy import Policy, forever, rest, terminal_errors
from adapters.errors import Retryable
from adapters.ports import Router
from analysis.share import judge_share
from schemas.base import Duration, Model, ServiceName, Version
from schemas.catalog import RouterSpec
from schemas.verdict import Share

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


class Seen(Model):
    """What the traffic did."""

    share: Share
    strays: int = 0
    """Requests that started on the version in the last window."""
    total: int = 0
    """Requests that started on any version in the last window."""


class Counter:
    """Requests per version since a beginning; a count that shrinks (a restart) begins anew."""

    def __init__(self, first: Mapping[str, int]) -> None:
        self._last = dict(first)
        self._sums: dict[str, int] = dict.fromkeys(first, 0)

    def add(self, now: Mapping[str, int]) -> None:
        """Take the next reading."""
        for version, count in now.items():
            before = self._last.get(version, 0)
            grown = count - before if count >= before else count
            self._sums[version] = self._sums.get(version, 0) + grown
        self._last = dict(now)

    def of(self, version: str) -> int:
        """Requests of one version."""
        return self._sums.get(version, 0)

    @property
    def total(self) -> int:
        """Requests of all versions."""
        return sum(self._sums.values())


class ShareWatch:
    """Compares the observed share of one canary with its weight, for as long as it is judged."""

    def __init__(self, router: Router, service: str, canary: str, weight: float) -> None:
        self._router = router
        self._service = service
        self._canary = canary
        self._weight = weight
        self._counter: Counter | None = None

    async def look(self) -> Share:
        """Take a reading; call first when the weight has had time to reach every request."""
        try:
            with terminal_errors():
                now = await self._router.requests(self._service)
        except Retryable as error:
            activity.logger.warning(
                "the router's counts can't be read", extra={"error": str(error)}
            )
            return Share.TOO_LITTLE
        if self._counter is None:
            self._counter = Counter(now)
        self._counter.add(now)
        return judge_share(self._counter.of(self._canary), self._counter.total, self._weight)

    @property
    def seen(self) -> tuple[int, int]:
        """Requests that started on the canary, and on any version, since the first reading."""
        counter = self._counter or Counter({})
        return counter.of(self._canary), counter.total

    def sentence(self) -> str:
        """What was seen, for a person."""
        seen = self._counter or Counter({})
        return (
            f"the router confirmed {self._weight:g} % for {self._service} {self._canary}, but "
            f"{seen.of(self._canary):,} of {seen.total:,} requests started there; "
            "it disobeys, or the instances are down"
        )


class ObserveActivities:
    """Activities over what the routers count."""

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Router],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._router_for = router_for
        self._sleep = sleep

    @activity.defn(name=SEE_BACK)
    async def see_back(self, request: SeeBack) -> Seen:
        """Look in windows of `quiet` until one has no stray request, or `within` is over."""
        windows = max(1, round(request.within / request.quiet)) if request.quiet else 1
        seen = Seen(share=Share.TOO_LITTLE)
        for _ in range(windows):
            seen = await self._window(request)
            activity.heartbeat(seen.strays)
            if seen.share is not Share.DISOBEYED:
                return seen
        return seen

    async def _window(self, request: SeeBack) -> Seen:
        router = self._router_for(request.router)
        with terminal_errors():
            counter = Counter(await router.requests(request.service))
            await rest(request.quiet.total_seconds(), self._sleep)
            counter.add(await router.requests(request.service))
        strays = counter.of(request.version)
        share = judge_share(strays, counter.total, 0)
        return Seen(share=share, strays=strays, total=counter.total)
