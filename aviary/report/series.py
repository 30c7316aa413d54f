"""From trails to the series that are drawn: rates, odds and bounds over time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate

from pydantic import ValidationError

from schemas.judging import HistogramMetric, MetricSpec
from schemas.timeline import Judging, ServiceStory
from schemas.trail import MetricTrail, StreamTrail, Trail

Values = list[float | None]

_SMALLEST_BOUND = 1e-6
"""On a log axis there is no 0, and nothing below."""
_LARGEST_LOG = 200.0


@dataclass
class MetricSeries:
    """One metric over all of a service's bakes; every list is as long as the service's `at`."""

    spec: MetricSpec
    edge: float | None = None
    """Histogram: the edge, in seconds, that the rates are of."""
    canary: Values = field(default_factory=list)
    """Rate since judging began; of a fixed limit, its value."""
    stable: Values = field(default_factory=list)
    canary_now: Values = field(default_factory=list)
    """Rate since the point before."""
    stable_now: Values = field(default_factory=list)
    requests: Values = field(default_factory=list)
    """Of the canary, since judging began."""
    odds: Values = field(default_factory=list)
    bound: Values = field(default_factory=list)
    tolerance: float | None = None
    """At the last verdict."""

    @property
    def measured(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for value in (*self.canary, *self.stable))


@dataclass
class ServiceSeries:
    """All metrics of one service."""

    at: list[datetime | None] = field(default_factory=list)
    """None: a break, for a time in which nobody judged."""
    odds: Values = field(default_factory=list)
    """Over all metrics that are acted upon."""
    needed: float | None = None
    """The odds that fail the canary."""
    metrics: dict[str, MetricSeries] = field(default_factory=dict)


def trail_of(judging: Judging) -> Trail | None:
    """What the judge saw; None where nothing was kept, or by another version that nobody reads."""
    if judging.trail is None:
        return None
    try:
        return Trail.model_validate(judging.trail)
    except ValidationError:
        return None


def service_series(story: ServiceStory) -> ServiceSeries:
    """One service's bakes, end to end."""
    whole = ServiceSeries()
    pause = timedelta(seconds=5) + 2 * story.plan.judge.interval
    specs = {metric.name: metric for metric in story.plan.metrics}
    for run in dict.fromkeys(one.run_id for one in story.judgings):
        judgings = [one for one in story.judgings if one.run_id == run]
        parts = [(one, trail) for one in judgings if (trail := trail_of(one)) is not None]
        edges = _edges(judgings, [trail for _, trail in parts])
        counted: dict[str, StreamTrail] = {}
        for _, trail in parts:
            times = [trail.began_at + timedelta(seconds=at) for at in trail.at]
            if whole.at and times[0] - _last(whole.at) > pause:
                _append(whole, [None], specs, None, {}, {})
            _append(whole, times, specs, trail, edges, counted)
    _tolerances(whole, story.judgings)
    return whole


def _last(at: Sequence[datetime | None]) -> datetime:
    return next(one for one in reversed(at) if one is not None)


def _edges(judgings: Sequence[Judging], trails: Sequence[Trail]) -> dict[str, float]:
    """The edge of each histogram that said most in the end."""
    found: dict[str, float] = {}
    for trail in trails:
        found |= {name: one.edges[-1] for name, one in trail.metrics.items() if one.edges}
    for judging in judgings:
        for one in judging.verdict.metrics if judging.verdict else ():
            if one.edge is not None and one.name in found:
                found[one.name] = one.edge
    return found


def _append(
    whole: ServiceSeries,
    times: Sequence[datetime | None],
    specs: dict[str, MetricSpec],
    trail: Trail | None,
    edges: dict[str, float],
    counted: dict[str, StreamTrail],
) -> None:
    gaps: Values = [None] * len(times)
    for name, spec in specs.items():
        series = whole.metrics.setdefault(name, MetricSeries(spec))
        seen = trail.metrics.get(name) if trail is not None else None
        if isinstance(spec, HistogramMetric) and name in edges:
            series.edge = edges[name]
        if seen is None:
            _gap(series, gaps)
        else:
            _extend(series, seen, gaps, counted)
    whole.odds += gaps if trail is None else _powers(trail.odds, gaps)
    whole.needed = whole.needed if trail is None else float(f"{10**trail.needed:.3g}")
    whole.at += times


def _gap(series: MetricSeries, gaps: Values) -> None:
    for values in _all(series):
        values += gaps


def _all(series: MetricSeries) -> Iterator[Values]:
    yield from (series.canary, series.stable, series.canary_now, series.stable_now)
    yield from (series.requests, series.odds, series.bound)


def _extend(
    series: MetricSeries, seen: MetricTrail, gaps: Values, counted: dict[str, StreamTrail]
) -> None:
    """Add one bake of one metric."""
    series.odds += _powers(seen.odds, gaps)
    bound = gaps if seen.bound is None else seen.bound
    series.bound += [None if one is None else max(one, _SMALLEST_BOUND) for one in bound]
    stream = _stream(seen, series.edge)
    if stream is None:
        series.canary += gaps if seen.value is None else seen.value
        for values in (series.stable, series.canary_now, series.stable_now, series.requests):
            values += gaps
        return
    name = series.spec.name
    before = counted.get(name)
    bad_c, n_c = (
        _sums(stream.bad_canary, before, "bad_canary"),
        _sums(stream.canary, before, "canary"),
    )
    bad_b, n_b = (
        _sums(stream.bad_stable, before, "bad_stable"),
        _sums(stream.stable, before, "stable"),
    )
    series.canary += _rates(bad_c, n_c)
    series.stable += _rates(bad_b, n_b)
    series.canary_now += _rates(stream.bad_canary, stream.canary)
    series.stable_now += _rates(stream.bad_stable, stream.stable)
    series.requests += n_c
    counted[name] = StreamTrail(
        bad_canary=(bad_c[-1],), canary=(n_c[-1],), bad_stable=(bad_b[-1],), stable=(n_b[-1],)
    )


def _stream(seen: MetricTrail, edge: float | None) -> StreamTrail | None:
    if not seen.streams:
        return None
    if edge is not None and edge in seen.edges:
        return seen.streams[seen.edges.index(edge)]
    return seen.streams[-1]


def _sums(column: Sequence[float], before: StreamTrail | None, of: str) -> list[float]:
    """A column added up, on from where the bake before ended."""
    start: float = getattr(before, of)[0] if before is not None else 0.0
    return list(accumulate(column, initial=start))[1:]


def _rates(bad: Sequence[float], total: Sequence[float]) -> Values:
    return [float(f"{b / n:.5g}") if n > 0 else None for b, n in zip(bad, total, strict=True)]


def _powers(logs: Sequence[float] | None, gaps: Values) -> Values:
    if logs is None:
        return gaps
    return [float(f"{10 ** min(one, _LARGEST_LOG):.4g}") for one in logs]


def _tolerances(whole: ServiceSeries, judgings: Sequence[Judging]) -> None:
    """A FAIL says none that counts: the last verdict of a bake does."""
    for judging in judgings:
        for one in judging.verdict.metrics if judging.verdict and judging.bake_max else ():
            if one.name in whole.metrics and one.tolerance is not None:
                whole.metrics[one.name].tolerance = one.tolerance
