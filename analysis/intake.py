"""From raw readings of one metric to tallies of bad and all requests, interval by interval.

An interval counts once, when both arms are complete. It does not count when it spans a change of
weight or the warm-up. A failed query, a late scrape or a gap makes it longer, never empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.counters import ArmCounters, Increments
from analysis.evalues import Tally
from schemas.judging import Direction, GaugeMetric, HistogramMetric, RatioMetric
from schemas.reading import ArmReading, MetricReading, Series

_QUANTILES = (0.5, 0.9, 0.99)
_GROUP_FROM = 0.2
"""Observed canary share from which pods are compared in groups: below it one bet loses nothing."""
_PATIENCE = 4.0
"""Intervals without requests in one arm after which counting starts afresh."""
_UNITS = {"s": 1.0, "ms": 0.001}


class Interval(NamedTuple):
    """One judged interval: its time in seconds, and per stream (edge) the tallies of its groups."""

    start: float
    end: float
    streams: tuple[tuple[Tally, ...], ...]


class Timing(NamedTuple):
    """What the judge's settings say about time, in seconds, and about groups."""

    interval: float
    warmup: float
    max_groups: int


class CounterIntake:
    """Reads a ratio or a histogram."""

    def __init__(self, metric: RatioMetric | HistogramMetric, timing: Timing) -> None:
        self._metric = metric
        self._timing = timing
        self._canary = ArmCounters()
        self._stable = ArmCounters()
        self._since: float | None = None
        self._alone = metric.slo is not None
        self.edges: tuple[float, ...] = (
            metric.edges if isinstance(metric, HistogramMetric) else (math.nan,)
        )
        self.note = "nothing was read yet"
        self.heard = False
        """Whether the last reading was whole: it may show no requests, but it was an answer."""

    def take(self, reading: MetricReading, at: float, not_before: float) -> Interval | None:
        """Take one reading; the interval that it completes, or None while there is none.

        Args:
            reading: the raw series of both arms.
            at: when they were read.
            not_before: an interval that began earlier does not count.
        """
        self.heard = False
        canary, stable = reading.canary, reading.stable
        if self._alone and stable is None:
            stable = ArmReading(parts={})
        if canary is None or stable is None:
            self.note = f"the query of {'canary' if canary is None else 'stable'} failed"
            return None
        if not self.edges and not self._choose_edges(stable):
            return None
        parts_c, parts_b = self._parts(canary), self._parts(stable)
        if not self._complete(parts_c, parts_b):
            return None
        self.heard = True
        return self._difference(parts_c, parts_b, at, not_before)

    def _difference(
        self,
        parts_c: Mapping[str, Sequence[Series]],
        parts_b: Mapping[str, Sequence[Series]],
        at: float,
        not_before: float,
    ) -> Interval | None:
        since, warmup = self._since, self._timing.warmup
        grown_c, after_c = self._canary.advance(parts_c, since, warmup=warmup)
        grown_b, after_b = self._stable.advance(parts_b, since, warmup=warmup)
        afresh = since is None or since < not_before
        if since is not None and not afresh and self._silent(grown_c, grown_b):
            if at - since < _PATIENCE * self._timing.interval:
                return None
            afresh = True
        self._canary, self._stable, self._since = after_c, after_b, at
        if afresh or since is None:
            return None
        self.note = ""
        return Interval(since, at, self._streams(grown_c, grown_b))

    def _silent(self, grown_c: Increments, grown_b: Increments) -> bool:
        for arm, grown in (("canary", grown_c), ("stable", grown_b)):
            if sum(grown["total"].values()) <= 0 and not (self._alone and arm == "stable"):
                self.note = f"no new requests on {arm}"
                return True
        return False

    def _complete(
        self, parts_c: Mapping[str, Sequence[Series]], parts_b: Mapping[str, Sequence[Series]]
    ) -> bool:
        for arm, parts in (("canary", parts_c), ("stable", parts_b)):
            if self._alone and arm == "stable":
                continue
            if not parts["total"]:
                self.note = f"no series of {arm}"
                return False
            if isinstance(self._metric, HistogramMetric):
                for edge in self.edges:
                    if not parts[_edge_part(edge)]:
                        self.note = f"no bucket at {edge:g} s on {arm}"
                        return False
        return True

    def _parts(self, arm: ArmReading) -> dict[str, Sequence[Series]]:
        if isinstance(self._metric, RatioMetric):
            return {part: arm.parts.get(part, ()) for part in ("bad", "total")}
        unit = _UNITS[self._metric.unit]
        wanted: dict[str, list[Series]] = {_edge_part(edge): [] for edge in self.edges}
        infinite: list[Series] = []
        for series in arm.parts.get("buckets", ()):
            edge = _le(series) * unit
            if math.isinf(edge):
                infinite.append(series)
            elif (part := _edge_part(edge)) in wanted:
                wanted[part].append(series)
        return {**wanted, "total": arm.parts.get("total", infinite)}

    def _choose_edges(self, stable: ArmReading) -> bool:
        unit = _UNITS[self._metric.unit] if isinstance(self._metric, HistogramMetric) else 1.0
        below: dict[float, float] = {}
        for series in stable.parts.get("buckets", ()):
            edge = _le(series) * unit
            below[edge] = below.get(edge, 0.0) + series.value
        whole = below.pop(math.inf, 0.0)
        if whole <= 0 or not below:
            self.note = "stable has no requests yet to choose bucket edges from"
            return False
        ordered = sorted(below)
        near = {
            next((edge for edge in ordered if below[edge] >= quantile * whole), ordered[-1])
            for quantile in _QUANTILES
        }
        self.edges = tuple(sorted(near))
        return True

    def _streams(self, grown_c: Increments, grown_b: Increments) -> tuple[tuple[Tally, ...], ...]:
        names = (
            [_edge_part(edge) for edge in self.edges]
            if isinstance(self._metric, HistogramMetric)
            else ["bad"]
        )
        groups = self._groups(grown_c, grown_b, names)
        return tuple(
            tuple(
                Tally(*self._sum(name, grown_c, members_c), *self._sum(name, grown_b, members_b))
                for members_c, members_b in groups
            )
            for name in names
        )

    def _groups(
        self, grown_c: Increments, grown_b: Increments, names: Iterable[str]
    ) -> list[tuple[set[str] | None, set[str] | None]]:
        pods_c, pods_b = sorted(grown_c["total"]), sorted(grown_b["total"])
        count = min(len(pods_c), len(pods_b), self._timing.max_groups)
        n_c, n_b = sum(grown_c["total"].values()), sum(grown_b["total"].values())
        known = all(
            set(grown[name]) <= set(grown["total"])
            for grown in (grown_c, grown_b)
            for name in names
        )
        if count <= 1 or not known or n_c < _GROUP_FROM * (n_c + n_b):
            return [(None, None)]
        return [(set(pods_c[i::count]), set(pods_b[i::count])) for i in range(count)]

    def _sum(self, name: str, grown: Increments, members: set[str] | None) -> tuple[float, float]:
        def of(part: str) -> float:
            return sum(v for pod, v in grown[part].items() if members is None or pod in members)

        whole, counted = of("total"), of(name)
        higher = self._metric.direction is Direction.HIGHER_IS_BAD
        inverted = higher is isinstance(self._metric, HistogramMetric)
        bad = whole - counted if inverted else counted
        return min(max(bad, 0.0), whole), whole

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        chosen = self.edges if isinstance(self._metric, HistogramMetric) else ()
        return {
            "since": self._since,
            "note": self.note,
            "edges": list(chosen),
            "canary": self._canary.dump(),
            "stable": self._stable.dump(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self._since = state["since"]
        self.note = state["note"]
        if isinstance(self._metric, HistogramMetric):
            self.edges = tuple(state["edges"])
        self._canary = ArmCounters.load(state["canary"])
        self._stable = ArmCounters.load(state["stable"])


class GaugeIntake:
    """Reads a gauge: the sum over instances beside the number of instances."""

    def __init__(self, metric: GaugeMetric) -> None:
        self._metric = metric
        self._since: float | None = None
        self.edges: tuple[float, ...] = (math.nan,)
        self.note = "nothing was read yet"
        self.heard = False

    def take(self, reading: MetricReading, at: float, not_before: float) -> Interval | None:
        """Take one reading; see `CounterIntake.take`."""
        values_c, values_b = _values(reading.canary), _values(reading.stable)
        self.heard = bool(values_c and values_b)
        if not self.heard:
            self.note = f"no values of {'stable' if values_c else 'canary'}"
            return None
        since, self._since = self._since, at
        if since is None or since < not_before:
            return None
        self.note = ""
        tally = Tally(math.fsum(values_c), len(values_c), math.fsum(values_b), len(values_b))
        return Interval(since, at, ((tally,),))

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"since": self._since, "note": self.note}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self._since = state["since"]
        self.note = state["note"]


def _values(arm: ArmReading | None) -> list[float]:
    if arm is None:
        return []
    return [s.value for s in arm.parts.get("value", ()) if math.isfinite(s.value) and s.value >= 0]


def _edge_part(edge: float) -> str:
    return f"le:{edge:.9g}"


def _le(series: Series) -> float:
    text = series.labels.get("le")
    if text is None:
        raise ValueError(f"bucket series without label le: {series.labels}")
    return float(text)
