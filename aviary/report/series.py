"""From evidence series to what is drawn: rates, odds and bounds over time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate

from pydantic import ValidationError

from schemas.evidence_series import Column, EvidenceSeries, MetricEvidenceSeries, StreamSeries
from schemas.judging import MetricSpec
from schemas.timeline import Judging, ServiceTimeline

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
    odds: Values = field(default_factory=list)
    bound: Values = field(default_factory=list)
    tolerance: float | None = None
    """At the last verdict."""

    def all(self) -> tuple[Values, ...]:
        """Every list."""
        rates = (self.canary, self.stable, self.canary_now, self.stable_now)
        return (*rates, self.odds, self.bound)

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


def evidence_series_of(judging: Judging) -> EvidenceSeries | None:
    """What the judge saw; None where nothing was kept, or by another version that nobody reads."""
    if judging.evidence_series is None:
        return None
    try:
        return EvidenceSeries.model_validate(judging.evidence_series)
    except ValidationError:
        return None


def service_series(service: ServiceTimeline) -> ServiceSeries:
    """One service's bakes, end to end; the evidence goes on over all runs of its canary."""
    whole = ServiceSeries(metrics={one.name: MetricSeries(one) for one in service.plan.metrics})
    pause = timedelta(seconds=5) + 2 * service.plan.judge.interval
    evidence_series_list = [
        evidence_series
        for one in service.judgings
        if (evidence_series := evidence_series_of(one)) is not None
    ]
    for name, edge in _edges(service.judgings, evidence_series_list).items():
        if name in whole.metrics:
            whole.metrics[name].edge = edge
    counted: dict[str, StreamSeries] = {}
    for evidence_series in evidence_series_list:
        begin = evidence_series.began_at + timedelta(seconds=evidence_series.at[0])
        if whole.at and begin - _last(whole.at) > pause:
            _break(whole)
        _append(whole, evidence_series, counted)
    _tolerances(whole, service.judgings)
    return whole


def _last(at: Sequence[datetime | None]) -> datetime:
    return next(one for one in reversed(at) if one is not None)


def _edges(
    judgings: Sequence[Judging], evidence_series_list: Sequence[EvidenceSeries]
) -> dict[str, float]:
    """The edge of each histogram that said most in the end."""
    found: dict[str, float] = {}
    for evidence_series in evidence_series_list:
        found |= {name: one.edges[-1] for name, one in evidence_series.metrics.items() if one.edges}
    for judging in judgings:
        for one in judging.verdict.metrics if judging.verdict else ():
            if one.edge is not None and one.name in found:
                found[one.name] = one.edge
    return found


def _break(whole: ServiceSeries) -> None:
    """A point at which all lines are interrupted."""
    whole.at.append(None)
    whole.odds.append(None)
    for series in whole.metrics.values():
        for values in series.all():
            values.append(None)


def _append(
    whole: ServiceSeries, evidence_series: EvidenceSeries, counted: dict[str, StreamSeries]
) -> None:
    """Add one bake; `counted` is what those before it counted, and is brought up to date."""
    gaps: Values = [None] * len(evidence_series.at)
    whole.at += [evidence_series.began_at + timedelta(seconds=at) for at in evidence_series.at]
    whole.odds += gaps if evidence_series.odds is None else _powers(evidence_series.odds)
    whole.needed = float(f"{10**evidence_series.needed:.3g}")
    for name, series in whole.metrics.items():
        seen = evidence_series.metrics.get(name) or MetricEvidenceSeries()
        series.odds += gaps if seen.odds is None else _powers(seen.odds)
        bound = gaps if seen.bound is None else seen.bound
        series.bound += [None if one is None else max(one, _SMALLEST_BOUND) for one in bound]
        stream = _stream(seen, series.edge)
        if stream is not None:
            _count(series, stream, counted)
            continue
        series.canary += gaps if seen.value is None else seen.value
        series.stable += gaps
        series.canary_now += gaps
        series.stable_now += gaps


def _count(series: MetricSeries, stream: StreamSeries, counted: dict[str, StreamSeries]) -> None:
    """Add one bake's rates."""
    before = counted.get(series.spec.name)
    sums = StreamSeries(
        bad_canary=_sums(stream.bad_canary, before.bad_canary if before else None),
        canary=_sums(stream.canary, before.canary if before else None),
        bad_stable=_sums(stream.bad_stable, before.bad_stable if before else None),
        stable=_sums(stream.stable, before.stable if before else None),
    )
    series.canary += _rates(sums.bad_canary, sums.canary)
    series.stable += _rates(sums.bad_stable, sums.stable)
    series.canary_now += _rates(stream.bad_canary, stream.canary)
    series.stable_now += _rates(stream.bad_stable, stream.stable)
    counted[series.spec.name] = sums


def _stream(seen: MetricEvidenceSeries, edge: float | None) -> StreamSeries | None:
    if not seen.streams:
        return None
    if edge is not None and edge in seen.edges:
        return seen.streams[seen.edges.index(edge)]
    return seen.streams[-1]


def _sums(column: Column, before: Column | None) -> Column:
    """A column added up, on from where the bake before ended."""
    return tuple(accumulate(column, initial=before[-1] if before else 0.0))[1:]


def _rates(bad: Column, total: Column) -> Values:
    return [float(f"{b / n:.5g}") if n > 0 else None for b, n in zip(bad, total, strict=True)]


def _powers(logs: Column) -> Values:
    return [float(f"{10 ** min(one, _LARGEST_LOG):.4g}") for one in logs]


def _tolerances(whole: ServiceSeries, judgings: Sequence[Judging]) -> None:
    """A FAIL says none that counts: the last verdict of a bake does."""
    for judging in judgings:
        for one in judging.verdict.metrics if judging.verdict and judging.bake_max else ():
            if one.name in whole.metrics and one.tolerance is not None:
                whole.metrics[one.name].tolerance = one.tolerance
