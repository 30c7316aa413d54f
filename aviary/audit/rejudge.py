"""Judges past releases again, by the judge, metrics and strategies of another catalog. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from analysis.judge import Judge
from analysis.rejudging import Interval, Outcome, Rejudging, Step, Way
from analysis.tracks import is_sequential
from aviary.audit.past import PastRelease, PastService
from schemas.catalog import Catalog, ResolvedService
from schemas.causes import CauseKind
from schemas.judging import (
    HistogramMetric,
    JudgeSpec,
    Method,
    MetricSpec,
    ThresholdMetric,
    is_acting_ratio,
)
from schemas.strategy import OnInconclusive, Strategy

ASSUMED: Final = (
    "each version fails the same share of requests at any weight, and as many requests come",
    "at a larger weight than was measured a verdict is what would be expected; it is not proven",
    "only what was counted is judged: gates are approved at once; no hook, alert or person acts",
    "nothing is known after the last count",
    "counts are as recorded: sums over instances, and of long bakes several readings in one",
)
"""What the answers stand on, for whoever reads them."""
_WHOLE: Final = 100.0


@dataclass
class Rejudged:
    """One service, then and by the other policy."""

    past: PastService
    outcome: Outcome | None = None
    """None: it could not be judged again."""
    metrics: tuple[str, ...] = ()
    costs_by: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def way_then(self) -> Way:
        """What became of it."""
        if self.past.back_at is not None:
            return Way.BACK
        return Way.OPEN if self.past.held_at is None else Way.THROUGH

    @property
    def at_then(self) -> datetime | None:
        """When that was decided."""
        return self.past.back_at or self.past.held_at

    @property
    def at(self) -> datetime | None:
        """When the other policy decides."""
        at = self.outcome.at if self.outcome else None
        return None if at is None else datetime.fromtimestamp(at, UTC)

    @property
    def judged_then(self) -> bool:
        """Whether a verdict of its own took it back."""
        return self.past.back_by == CauseKind.VERDICT.value

    @property
    def differs(self) -> bool:
        """Whether it would have gone another way; going back earlier is one."""
        if self.outcome is None:
            return False
        way = self.outcome.way
        if self.way_then is Way.BACK:
            if way is Way.BACK:
                return self.earlier > timedelta(0) and not self._same_verdict
            return self.judged_then
        return way is Way.BACK or (way is Way.ASKED and self.way_then is Way.THROUGH)

    @property
    def earlier(self) -> timedelta:
        """How much earlier it goes back; negative: later."""
        if self.at is None or self.past.back_at is None or self.outcome is None:
            return timedelta(0)
        return self.past.back_at - self.at

    @property
    def _same_verdict(self) -> bool:
        """By the last interval there is: what took it back then came of the same counts."""
        both = self.past.intervals(), self.past.router_intervals()
        last = {found[-1].end for found in both if found}
        return self.judged_then and self.outcome is not None and self.outcome.at in last


def rejudged(releases: Iterable[PastRelease], catalog: Catalog) -> Iterator[list[Rejudged]]:
    """The services of each release, in the order of their names."""
    for release in releases:
        yield [_service(release.services[name], catalog) for name in sorted(release.services)]


def _service(past: PastService, catalog: Catalog) -> Rejudged:
    found = Rejudged(past)
    try:
        policy = catalog.resolve(past.service)
    except KeyError:
        found.notes.append("the catalog has no such service")
        return found
    intervals = past.intervals()
    metrics = tuple(_recorded(policy, past.edges(), found.notes))
    if not intervals or not metrics:
        found.notes.append("nothing was recorded that the catalog judges by")
        return found
    spec = _without(policy.judge, metrics)
    own = past.router_intervals()
    asked = _asked(spec, metrics, own)
    # Of two that end at once the metrics source's is the longer one, and was begun before.
    both = sorted([*intervals, *(own if asked else ())], key=lambda one: (one.end, one.by_router))
    chosen = [_chosen(one, metrics, past.edges(), asked) for one in both]
    try:
        subject = f"{past.service} {past.version}"
        judge = Judge(spec, metrics, subject=subject, ask_router=asked)
        steps = _steps(policy, found.notes)
        found.costs_by = next((one.name for one in metrics if is_acting_ratio(one)), None)
        found.outcome = Rejudging(judge, steps, found.costs_by).run(chosen)
    except ValueError as error:
        found.notes.append(str(error))
        return found
    found.metrics = tuple(one.name for one in metrics)
    return found


def _recorded(
    policy: ResolvedService, edges: Mapping[str, tuple[float, ...]], notes: list[str]
) -> Iterator[MetricSpec]:
    """The metrics that were counted then, by the edges of then."""
    for metric in policy.metrics or ():
        if isinstance(metric, ThresholdMetric):
            notes.append(f"{metric.name}: values against a limit are not judged again")
        elif metric.name not in edges:
            notes.append(f"{metric.name}: not counted then")
        elif isinstance(metric, HistogramMetric) is not bool(edges[metric.name]):
            notes.append(f"{metric.name}: another kind of metric then")
        elif not isinstance(metric, HistogramMetric):
            yield metric
        elif set(wanted := _edges(metric, policy.judge)) <= set(edges[metric.name]):
            yield metric.model_copy(update={"edges": wanted or edges[metric.name]})
        else:
            notes.append(f"{metric.name}: other edges than were counted then")


def _edges(metric: HistogramMetric, spec: JudgeSpec) -> tuple[float, ...]:
    """Those that the judge asks for; none where it takes what is there."""
    latency = spec.threshold.max_latency
    if spec.method is Method.THRESHOLD and metric.slo is None and latency is not None:
        return (latency.total_seconds(),)
    return metric.edges


def _asked(
    spec: JudgeSpec, metrics: Sequence[MetricSpec], own: Sequence[Interval]
) -> frozenset[str]:
    """The metrics of which the router was asked as well, where the policy would ask it."""
    if spec.router_pace is None:
        return frozenset()
    counted = {name for one in own for name in one.streams}
    return frozenset(
        one.name
        for one in metrics
        if one.name in counted and not one.dry_run and is_sequential(one, spec)
    )


def _chosen(
    interval: Interval,
    metrics: Sequence[MetricSpec],
    edges: Mapping[str, tuple[float, ...]],
    asked: frozenset[str],
) -> Interval:
    """The interval with the streams that the metrics are judged by."""
    streams = {}
    for metric in metrics:
        if interval.by_router and metric.name not in asked:
            continue
        tallies = interval.streams.get(metric.name, ())
        if tallies and isinstance(metric, HistogramMetric):
            of = dict(zip(edges[metric.name], tallies, strict=True))
            tallies = [of[edge] for edge in metric.edges]
        if tallies:
            streams[metric.name] = tallies
    return interval._replace(streams=streams)


def _without(spec: JudgeSpec, metrics: Sequence[MetricSpec]) -> JudgeSpec:
    """The judge, of these metrics alone."""
    critical = spec.kayenta.critical & {one.name for one in metrics}
    kayenta = spec.kayenta.model_copy(update={"critical": critical})
    return spec.model_copy(update={"kayenta": kayenta})


def _steps(policy: ResolvedService, notes: list[str]) -> list[Step] | None:
    """The steps of the strategy; None where its weights can't be told from counts."""
    strategy = policy.strategy
    if strategy.ramp is not None:
        notes.append("its ramp is not simulated: judged at the weights of then")
        return None
    if any(one.audience is not None for one in strategy.full_steps):
        notes.append("its audiences are not simulated: judged at the weights of then")
        return None
    return list(_weighted(strategy))


def _weighted(strategy: Strategy) -> Iterator[Step]:
    """Steps that give users to the version; previews and copies cost none of them anything."""
    steps = [one for one in strategy.full_steps if one.weight]
    for one, following in zip(steps, [*steps[1:], *steps[-1:]], strict=True):
        yield Step(
            share=one.weight / _WHOLE,
            bake_min=one.bake.min,
            bake_max=one.bake.max,
            exposure=following.weight / _WHOLE,
            back_in_doubt=strategy.on_inconclusive is OnInconclusive.ROLL_BACK,
        )
