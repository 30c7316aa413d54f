"""What the judge keeps for each metric: how it is read, how it is tested, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from analysis.evalues import Tally
from analysis.evidence import Plan, SequentialTest
from analysis.faults import gap_note
from analysis.intervals import CounterReader, GaugeReader, Timing
from analysis.kayenta import KayentaMetric, Result, classify
from analysis.limits import LimitTest, LimitWatch
from analysis.own_counts import SHARE, OwnCounts
from analysis.whole import Lack, Limits, most_series
from schemas.judging import (
    Direction,
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    KayentaSettings,
    Method,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)
from schemas.reading import ArmReading, Fault, Gap

_GAUGE_MARGIN = 1.2
_MOST_POINTS = 240


class MetricTest(Protocol):
    """How one metric is tested; fed one interval at a time."""

    @property
    def e_value(self) -> float:
        """Odds against the canary being good; 1 where the method has none."""

    @property
    def tolerance(self) -> float | None:
        """The bound at which the metric is good enough."""

    @property
    def broken(self) -> bool:
        """Whether a fixed limit was broken."""

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval; times in seconds."""

    def within(self, exposure: float = 1.0) -> bool | None:
        """Whether the bound is within tolerance / exposure; None: there is no bound."""

    def upper(self) -> float | None:
        """The bound."""

    def telling(self) -> int:
        """Index of the stream that says most."""

    def seen(self) -> list[Tally]:
        """What each stream has seen."""

    def totals(self) -> Tally:
        """What that stream has seen."""

    def dump(self) -> Any:
        """The state as plain data."""

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""


class PointTest:
    """Collects the points that Kayenta's judge compares; at most the last 240."""

    e_value = 1.0
    tolerance: float | None = None
    broken = False

    def __init__(self, settings: KayentaSettings, config: KayentaMetric, scale: float) -> None:
        self._step = settings.step.total_seconds()
        self._config = config
        self._scale = scale
        self._length = 0.0
        self._current: list[list[float]] = []
        self._seen: list[list[float]] = []
        self.points: list[list[tuple[float, float]]] = []
        self.taken = 0

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval, and add a point once a step is full."""
        if not self._seen:
            self._seen = [[0.0] * 4 for _ in streams]
            self._current = [[0.0] * 4 for _ in streams]
            self.points = [[] for _ in streams]
        for index, groups in enumerate(streams):
            for sums in (self._seen[index], self._current[index]):
                sums[:] = [s + sum(t[i] for t in groups) for i, s in enumerate(sums)]
        self._length += end - start
        if self._length >= self._step * (1 - 1e-9):
            for index, (bad_c, n_c, bad_b, n_b) in enumerate(self._current):
                point = (self._point(bad_c, n_c), self._point(bad_b, n_b))
                self.points[index] = [*self.points[index], point][-_MOST_POINTS:]
            self._current = [[0.0] * 4 for _ in streams]
            self._length = 0.0
            self.taken += 1

    def _point(self, bad: float, total: float) -> float:
        return round(self._scale * bad / total, 6) if total > 0 else math.nan

    def results(self) -> list[Result]:
        """Kayenta's classification of each stream; empty before the first point."""
        return [
            classify([c for c, _ in points], [b for _, b in points], self._config)
            for points in self.points
            if points
        ]

    def within(self, exposure: float = 1.0) -> bool | None:
        """There is no bound."""
        del exposure
        return None

    def upper(self) -> float | None:
        """There is no bound."""
        return None

    def telling(self) -> int:
        """Index of the stream with the worst rate."""
        rates = [seen[0] / seen[1] if seen[1] > 0 else 0.0 for seen in self._seen]
        return rates.index(max(rates)) if rates else 0

    def seen(self) -> list[Tally]:
        """What each stream has seen."""
        return [Tally(*totals) for totals in self._seen]

    def totals(self) -> Tally:
        """What that stream has seen."""
        return Tally(*self._seen[self.telling()]) if self._seen else Tally(0.0, 0.0, 0.0, 0.0)

    def dump(self) -> Any:
        """The state as plain data."""
        points = [
            [[None if math.isnan(value) else value for value in point] for point in stream]
            for stream in self.points
        ]
        return [self.taken, self._length, self._current, self._seen, points]

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self.taken, self._length, current, seen, points = state
        self._current = [list(sums) for sums in current]
        self._seen = [list(sums) for sums in seen]
        self.points = [
            [(math.nan if c is None else c, math.nan if b is None else b) for c, b in stream]
            for stream in points
        ]


class Track:
    """One counted metric (ratio, histogram, gauge): reader, test, and when it was judged."""

    def __init__(
        self, metric: RatioMetric | HistogramMetric | GaugeMetric, spec: JudgeSpec, most: int
    ) -> None:
        self.metric = metric
        self.test = _test(metric, spec)
        limits = Limits(most, spec.replica_labels)
        seconds = spec.interval.total_seconds(), spec.warmup.total_seconds()
        timing = Timing(*seconds, spec.max_groups, limits)
        self.reader = (
            GaugeReader(metric, limits)
            if isinstance(metric, GaugeMetric)
            else CounterReader(_with_edges(metric, spec), timing)
        )
        self.own: OwnCounts | None = None
        """What the router itself counted; None: it is not asked."""
        self.intervals = 0
        self.since: float | None = None
        self.until: float | None = None
        self.passed_at: float | None = None
        self._spec = spec

    def ask_router(self) -> None:
        """Have the router's own counts as well, from the beginning: later is no beginning.

        Raises:
            TypeError: such a metric has none.
        """
        if isinstance(self.metric, GaugeMetric) or not isinstance(self.test, SequentialTest):
            raise TypeError(f"metric {self.metric.name}: a router does not count it")
        plan = _plan(self.metric, self._spec)
        burst = self._spec.longest_burst.total_seconds() if plan.bets else None
        pace = self._spec.router_pace or self._spec.interval
        looks = _looks(self._spec, pace + timedelta(seconds=burst or 0.0))
        seconds = self._spec.interval.total_seconds(), self._spec.warmup.total_seconds()
        # One group: what befalls one instance of the canary shows at all proxies at once.
        reader = CounterReader(self.metric, Timing(*seconds, 1))
        self.own = OwnCounts(
            reader, SequentialTest(plan._replace(looks=looks, tolerance=None, burst=burst))
        )

    def share_edges(self) -> None:
        """Have the router counted by the edges of the metrics source, once it has chosen some."""
        if self.own is not None and not self.own.reader.edges:
            self.own.reader.edges = self.reader.edges

    @property
    def e_value(self) -> float:
        """Odds against the canary being good, from this metric alone: by whoever saw more."""
        if self.own is None:
            return self.test.e_value
        return max(SHARE * self.own.test.sure, (1.0 - SHARE) * self.test.e_value)

    @property
    def heard(self) -> bool:
        """Whether the last reading was whole."""
        return self.reader.heard

    @property
    def fault(self) -> Fault | None:
        """What kept the last reading from being evidence."""
        return self.reader.fault

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval; times in seconds."""
        self.test.count(streams, start, end)
        self.intervals += 1
        self.since = start if self.since is None else self.since
        self.until = end

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "times": [self.intervals, self.since, self.until, self.passed_at],
            "ingestion": self.reader.dump(),
            "test": self.test.dump(),
            **({} if self.own is None else {"router": self.own.dump()}),
        }

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self.intervals, self.since, self.until, self.passed_at = state["times"]
        self.reader.restore(state["ingestion"])
        self.test.restore(state["test"])
        if "router" in state:
            self.ask_router()
        if self.own is not None:
            self.own.restore(state["router"])


class WatchTrack:
    """One threshold metric."""

    def __init__(self, metric: ThresholdMetric) -> None:
        lower = metric.direction is Direction.LOWER_IS_BAD
        self.metric = metric
        self.watch = LimitWatch(metric.limit, metric.checks, lower_is_bad=lower)
        self.heard = False
        self.fault: Fault | None = None
        self.note = "nothing was read yet"
        self.intervals = 0
        self.since: float | None = None
        self.until: float | None = None
        self.passed_at: float | None = None

    def check(self, arm: ArmReading | Gap | None, at: float) -> None:
        """Check one reading of the canary; time in seconds."""
        lack = self._check(arm)
        self.heard = lack is None
        self.fault, self.note = lack or (None, "")
        if lack is None:
            self.intervals += 1
            self.since = at if self.since is None else self.since
            self.until = at

    def _check(self, arm: ArmReading | Gap | None) -> Lack | None:
        if not isinstance(arm, ArmReading):
            fault = arm.fault if arm is not None else Fault.OTHER
            return Lack(fault, gap_note("canary", arm))
        values = [series.value for series in arm.parts.get("value", ())]
        if not values:
            return Lack(Fault.EMPTY, "no values of canary")
        if self.watch.check(values):
            return None
        wrong = sum(not math.isfinite(value) for value in values)
        return Lack(Fault.NOT_A_NUMBER, f"{wrong:,} of {len(values):,} values of canary are NaN")

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        times = [self.intervals, self.since, self.until, self.passed_at]
        kept = {"note": self.note, "fault": self.fault}
        return {"times": times, **kept, "test": self.watch.dump()}

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self.intervals, self.since, self.until, self.passed_at = state["times"]
        self.note = state["note"]
        self.fault = None if state["fault"] is None else Fault(state["fault"])
        self.watch.restore(state["test"])


def make_track(metric: MetricSpec, spec: JudgeSpec, metrics: int = 1) -> Track | WatchTrack:
    """What the judge keeps for this metric, one of so many."""
    if isinstance(metric, ThresholdMetric):
        return WatchTrack(metric)
    return Track(metric, spec, most_series(metrics))


def is_sequential(metric: MetricSpec, spec: JudgeSpec) -> bool:
    """Whether requests are counted, and tested at each interval: more intervals tell more."""
    counted = isinstance(metric, RatioMetric | HistogramMetric)
    return counted and spec.method not in {Method.THRESHOLD, Method.KAYENTA}


def _test(metric: RatioMetric | HistogramMetric | GaugeMetric, spec: JudgeSpec) -> MetricTest:
    if spec.method is Method.THRESHOLD:
        return LimitTest(spec.threshold, _limit(metric, spec))
    if spec.method is Method.KAYENTA:
        scale = 1.0 if isinstance(metric, GaugeMetric) else 100.0
        return PointTest(spec.kayenta, _kayenta_config(metric, spec.kayenta), scale)
    return SequentialTest(_plan(metric, spec))


def _plan(metric: RatioMetric | HistogramMetric | GaugeMetric, spec: JudgeSpec) -> Plan:
    margin = spec.margin if metric.margin is None else metric.margin
    delta = spec.absolute_margin if metric.absolute_margin is None else metric.absolute_margin
    lr = spec.method is Method.LR
    relative = 0.0
    cluster, bound_cluster = spec.cluster, max(spec.bound_cluster, spec.cluster if lr else 1)
    tolerance: float | None = metric.tolerance or spec.tolerance
    if isinstance(metric, GaugeMetric):
        lr, margin, delta, tolerance = False, max(margin, _GAUGE_MARGIN), 0.0, None
    elif isinstance(metric, HistogramMetric):
        cluster = bound_cluster
        tolerance = metric.tolerance or spec.latency_tolerance
        relative = margin - 1.0
    bets = not lr
    # A gauge's values are no numbers of requests, which is what stakes are learnt from.
    adaptive = spec.method is Method.ADAPTIVE and not isinstance(metric, GaugeMetric)
    if not isinstance(metric, GaugeMetric) and metric.slo is not None:
        bets, margin, delta, cluster = False, 0.0, metric.slo, bound_cluster
        adaptive = False
        tolerance, relative = metric.tolerance or metric.slo, 0.0
    swapped = isinstance(metric, GaugeMetric) and metric.direction is Direction.LOWER_IS_BAD
    return Plan(
        bets=bets,
        margin=margin,
        delta=delta,
        cluster=cluster,
        looks=_looks(spec, spec.fastest),
        beta=spec.beta,
        bound_cluster=bound_cluster,
        tolerance=tolerance,
        relative=relative,
        swapped=swapped,
        adaptive=adaptive,
    )


def _looks(spec: JudgeSpec, pace: timedelta | None) -> int:
    """Readings in which a regression may begin: as much time, whatever the pace."""
    return round(spec.looks * max(spec.interval / (pace or spec.interval), 1.0))


def _limit(metric: RatioMetric | HistogramMetric | GaugeMetric, spec: JudgeSpec) -> float | None:
    if isinstance(metric, GaugeMetric):
        return None
    if metric.slo is not None:
        return metric.slo
    if isinstance(metric, RatioMetric):
        return spec.threshold.max_error_ratio
    return 1.0 - spec.threshold.quantile if spec.threshold.max_latency is not None else None


def _with_edges(
    metric: RatioMetric | HistogramMetric, spec: JudgeSpec
) -> RatioMetric | HistogramMetric:
    latency = spec.threshold.max_latency
    if (
        spec.method is Method.THRESHOLD
        and isinstance(metric, HistogramMetric)
        and metric.slo is None
        and latency is not None
    ):
        return metric.model_copy(update={"edges": (latency.total_seconds(),)})
    return metric


def _kayenta_config(metric: MetricSpec, settings: KayentaSettings) -> KayentaMetric:
    # Ratios and histograms already count what is bad: only a gauge keeps its own direction.
    lower = isinstance(metric, GaugeMetric) and metric.direction is Direction.LOWER_IS_BAD
    return KayentaMetric(
        direction="decrease" if lower else "increase",
        nan_strategy=settings.nan_strategy,
        outlier_strategy=settings.outlier_strategy,
        effect_size=settings.effect_size,
        allowed_increase=settings.allowed_increase,
        allowed_decrease=settings.allowed_decrease,
        critical=metric.name in settings.critical,
    )
