"""What the router itself counted, read beside the metrics and at a pace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio import activity

from activities.shared_heartbeat import SharedHeartbeat
from adapters.errors import Retryable, Terminal, fault_of
from adapters.ports import OwnCounters, Routing
from analysis.judge import Judge
from analysis.router_series import RouterSeries
from analysis.selectors import Selector, selector_of
from analysis.tracks import is_sequential
from schemas.base import Model, Percent
from schemas.judging import TEMPLATE_VARIABLES, JudgeSpec, MetricSpec, render
from schemas.reading import ArmReading, Gap, MetricReading, Series, Snapshot, shown

_BUSY: Final = 0.1
"""Largest share of the time in which the judges of one process together keep a router answering."""
_STAND_IN: Final = dict.fromkeys(TEMPLATE_VARIABLES, "x")

T = TypeVar("T")


class Arms(Model):
    """The two arms of one canary, as queries are filled in, and their weight."""

    service: str
    canary: dict[str, str]
    stable: dict[str, str]
    weight: Percent
    weight_changed_at: datetime


def countable(
    routing: Routing, spec: JudgeSpec, asked: Sequence[MetricSpec], filled: Sequence[MetricSpec]
) -> frozenset[str]:
    """The metrics of a canary that the router counts itself, by name.

    Those of a pack alone: what somebody's own PromQL selects may be of another program.

    Args:
        routing: the router and its capabilities.
        spec: how the canary is judged.
        asked: the metrics as the catalog has them.
        filled: the same, with the PromQL of their packs.
    """
    if routing.counters is None or spec.router_pace is None:
        return frozenset()
    known = frozenset(routing.capabilities.counters)
    return frozenset(
        whole.name
        for metric, whole in zip(asked, filled, strict=True)
        if metric.query is not None
        and not metric.dry_run
        and is_sequential(whole, spec)
        and all(
            selector is not None and selector.name in known
            for text in whole.templates.values()
            for selector in (selector_of(render(text, _STAND_IN)),)
        )
    )


class OwnCounts:
    """Reads the counters of one canary's router until the judge has seen enough.

    Args:
        counters: the router.
        judge: takes what is read.
        kept: keeps what was counted by it.
        metrics: all of the canary's, with their PromQL.
        arms: what the queries are filled in with, for as long as the weight stays.
        spec: how often the router is asked, at most.
        shared: paces the readings of all judges of this process.
        clock: now, in UTC.
        sleep: waits that many seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing that reading needs
        self,
        counters: OwnCounters,
        judge: Judge,
        kept: RouterSeries,
        metrics: Sequence[MetricSpec],
        arms: Arms,
        spec: JudgeSpec,
        shared: SharedHeartbeat,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._counters = counters
        self._judge = judge
        self._kept = kept
        self._arms = arms
        self._fastest = (spec.router_pace or spec.interval).total_seconds()
        self._slowest = max(spec.interval.total_seconds(), self._fastest)
        self._shared = shared
        self._clock = clock
        self._sleep = sleep
        self._queries = {
            metric.name: [_selectors(metric, arm) for arm in (arms.canary, arms.stable)]
            for metric in metrics
            if metric.name in judge.ask_router
        }

    async def until_failed(self) -> bool:
        """Read and count until the canary has failed; False: the router can't be asked any more."""
        pause = self._fastest
        while True:
            began = self._clock()
            try:
                series = await self._counters.counters(self._arms.service)
            except Retryable as error:
                gap = Gap(fault=fault_of(error), detail=shown(str(error)))
                self._judge.observe_router(self._snapshot(began, gap))
                pause = min(2 * pause, self._slowest)
            except Terminal as error:
                activity.logger.warning("router is not asked any more", extra={"error": str(error)})
                return False
            else:
                self._kept.add(self._judge.observe_router(self._snapshot(began, series)))
                pause = self._pause(self._clock() - began)
            if self._judge.failure is not None:
                return True
            await self._sleep(pause)

    def _pause(self, took: timedelta) -> float:
        """Seconds until the next reading, so that the router has time for other things."""
        judges = self._shared.judges
        least = max(self._shared.between_readings, judges * took.total_seconds() / _BUSY)
        return min(max(self._fastest, least), self._slowest)

    def _snapshot(self, at: datetime, found: Sequence[Series] | Gap) -> Snapshot:
        def reading(selectors: Mapping[str, Selector]) -> ArmReading | Gap:
            if isinstance(found, Gap):
                return found
            return ArmReading(parts={part: one.pick(found) for part, one in selectors.items()})

        return Snapshot(
            at=at,
            weight=self._arms.weight,
            weight_changed_at=self._arms.weight_changed_at,
            metrics={
                name: MetricReading(canary=reading(canary), stable=reading(stable))
                for name, (canary, stable) in self._queries.items()
            },
        )


def _selectors(metric: MetricSpec, arm: Mapping[str, str]) -> dict[str, Selector]:
    found = {
        part: selector_of(render(template, arm)) for part, template in metric.templates.items()
    }
    return {part: one for part, one in found.items() if one is not None}


async def whichever_first(
    watching: Coroutine[Any, Any, T],
    asking: Coroutine[Any, Any, bool],
    failed: Callable[[], Awaitable[T]],
) -> T:
    """The verdict by the metrics source, or by the router's own counts: of who is first.

    Args:
        watching: judges by the metrics source.
        asking: judges by the router's own counts; its end says whether the canary has failed. If
            so, `watching` is cancelled in whatever it waits for; if not, it goes on alone.
        failed: makes the verdict then.
    """
    watch, ask = asyncio.create_task(watching), asyncio.create_task(asking)
    try:
        await asyncio.wait((watch, ask), return_when=asyncio.FIRST_COMPLETED)
        if watch.done() or not ask.result():
            return await watch
    finally:
        for task in (watch, ask):
            task.cancel()
        await asyncio.gather(watch, ask, return_exceptions=True)
    return await failed()
