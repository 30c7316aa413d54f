"""The ramp of a canary: before the first request, and after each interval, the next weight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.clock import server_now
from activities.observe import Counter
from activities.policy import Policy, forever, may_come_back, rest, terminal_errors
from adapters.errors import Unanswered, Unsupported
from adapters.ports import MetricsSource, RequestCounts, Routing
from analysis.ramp import Decision, Ramp, bound_cluster, feasibility
from schemas.base import Model, Percent, ServiceName, Version
from schemas.capabilities import Grid, at_most, smallest
from schemas.judging import Direction, JudgeSpec, MetricSpec, RampSpec, is_acting_ratio, render
from schemas.reading import Fault, partial_of
from schemas.router_spec import RouterSpec

BEGIN_RAMP: Final = "aviary.ramp.begin"

BEGIN_POLICY = Policy(
    start_to_close=timedelta(days=1),
    retry=forever(timedelta(seconds=10)),
    heartbeat=timedelta(seconds=30),
)

Resolve = Callable[[JudgeSpec, MetricSpec], MetricSpec]


class BeginRamp(Model):
    """Measure the service before its canary has traffic, and find the first weight."""

    router: RouterSpec
    service: ServiceName
    stable: Version
    spec: JudgeSpec
    metrics: tuple[MetricSpec, ...]
    ramp: RampSpec


class RampState(Model):
    """Where a ramp is; carried from interval to interval."""

    spec: RampSpec
    spent: dict[str, Any]
    counts: dict[str, int]
    """The router's counts per version when they were last read."""
    counted_at: datetime
    weight: Percent
    """The weight until the next decision."""
    full: bool = False
    sentence: str = ""


def counted(routing: Routing, service: str) -> RequestCounts:
    """Who counts the requests of a service.

    Raises:
        Unsupported: nobody does.
    """
    if routing.counts is None or routing.late:
        what = "a router that counts requests at once"
        raise Unsupported(f"{service}: a ramp needs {what}; this doesn't")
    return routing.counts


def next_state(  # noqa: PLR0913 - what one interval is
    state: RampState,
    *,
    canary: str,
    weight: float,
    counts: Mapping[str, int],
    bound: float | None,
    now: datetime,
    weights: Grid,
) -> RampState:
    """Count the interval since the last reading, and decide the next weight. Pure.

    Args:
        state: as the last decision left it.
        canary: the canary's version.
        weight: percent during the interval.
        counts: requests per version, as the router counts them now.
        bound: upper bound on the extra share of failures; None before any data.
        now: when the counts were read.
        weights: the router's; the next is the largest of them that keeps to the budget.
    """
    counter = Counter(state.counts)
    counter.add(counts)
    seconds = (now - state.counted_at).total_seconds()
    ramp = Ramp.load(state.spec, state.spent)
    if seconds <= 0:
        return state
    ramp.observe(weight, seconds, counter.of(canary), counter.total)
    changed: dict[str, Any] = {"spent": ramp.dump(), "counts": dict(counts), "counted_at": now}
    if counter.total == 0:
        sentence = "no requests were seen; the weight stays"
        return state.model_copy(update={**changed, "sentence": sentence})
    decision = ramp.decide(1.0 if bound is None else bound)
    changed |= {
        "weight": at_most(weights, decision.weight),
        "full": decision.full,
        "sentence": _sentence(state.spec, ramp, decision, bound, weights),
    }
    return state.model_copy(update=changed)


def _sentence(
    spec: RampSpec, ramp: Ramp, decision: Decision, bound: float | None, weights: Grid
) -> str:
    known = "unknown yet" if bound is None else f"at most {100 * bound:.3g} %"
    text = (
        f"{ramp.routed:,.0f} requests on the canary; extra failures are {known}, "
        f"of a budget of {spec.budget:g} requests"
    )
    if decision.full:
        return f"{text}: good enough for everything"
    if decision.weight <= 0:
        return f"{text}: the budget allows no more requests"
    weight = at_most(weights, decision.weight)
    if weight <= 0:
        return (
            f"{text}: the budget allows {decision.weight:g} %, and the least that the router can "
            f"do is {smallest(weights):g} %"
        )
    return f"{text}: next {weight:g} %"


class RampActivities:
    """Activities over the router's counts and the metrics source."""

    def __init__(
        self,
        source: MetricsSource,
        router_for: Callable[[RouterSpec], Routing],
        resolve: Resolve,
        clock: Callable[[], datetime] = server_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._router_for = router_for
        self._resolve = resolve
        self._clock = clock
        self._sleep = sleep

    @activity.defn(name=BEGIN_RAMP)
    async def begin(self, request: BeginRamp) -> RampState:
        """Watch one interval of stable's traffic, check that the ramp can end, and begin it.

        Raises:
            ApplicationError: type `InfeasibleRamp`, with the smallest budget that is feasible.
        """
        routing = self._router_for(request.router)
        seconds = request.ramp.interval.total_seconds()
        with terminal_errors(), may_come_back():
            counts = counted(routing, request.service)
            while True:
                before = await counts.requests(request.service), await self._errors(request)
                await rest(seconds, self._sleep)
                after = await counts.requests(request.service), await self._errors(request)
                counter = Counter(before[0])
                counter.add(after[0])
                if counter.total > 0:
                    break
        rps = counter.total / seconds
        self._check(request, _rate(before[1], after[1]), rps)
        ramp = Ramp(request.ramp)
        decision, weights = ramp.decide(1.0, rps=rps), routing.capabilities.weights
        return RampState(
            spec=request.ramp,
            spent=ramp.dump(),
            counts=dict(after[0]),
            counted_at=self._clock(),
            weight=at_most(weights, decision.weight),
            sentence=_sentence(request.ramp, ramp, decision, None, weights),
        )

    def _check(self, request: BeginRamp, rate: float, rps: float) -> None:
        answer = feasibility(
            request.ramp,
            rate=rate,
            rps=rps,
            cluster=bound_cluster(request.ramp, request.spec),
            beta=request.spec.beta,
        )
        if not answer.feasible:
            raise ApplicationError(answer.message, type="InfeasibleRamp", non_retryable=True)

    async def _errors(self, request: BeginRamp) -> tuple[float, float]:
        """Stable's raw counters of bad and of all requests, summed, of the first acting ratio."""
        metric = next(one for one in request.metrics if is_acting_ratio(one))
        resolved = self._resolve(request.spec, metric)
        locator = self._router_for(request.router).locator
        pool = await locator.locate(request.service, request.stable)
        arm = {"service": request.service, "version": request.stable, "pool": pool}
        sums = []
        for part in ("bad", "total"):
            series = await self._source.query(render(resolved.templates[part], arm), self._clock())
            if (partial := partial_of(series)) and not request.spec.accept_warnings:
                text = f"{metric.name} of {request.service}: the answer is partial: {partial}"
                raise Unanswered(text, Fault.PARTIAL)
            sums.append(sum(one.value for one in series))
        counted, total = sums
        good_counted = metric.direction is Direction.LOWER_IS_BAD
        return (total - counted if good_counted else counted), total


def _rate(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Stable's share of failed requests between two readings; 0 where nothing is known."""
    bad, total = (max(late - early, 0.0) for early, late in zip(before, after, strict=True))
    return min(bad / total, 1.0) if total > 0 else 0.0
