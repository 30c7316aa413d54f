"""From raw readings of one metric to tallies of bad and all requests, interval by interval.

An interval counts once, when both arms are complete. It does not count when it spans a change of
weight or the warm-up. A failed query, a late scrape or a gap makes it longer, never empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.counters import ArmCounters, Increments, Parts, instance_of
from analysis.duplicates import Moved, suspected
from analysis.evalues import Tally
from analysis.faults import gap_note
from analysis.whole import ANY, Lack, Limits, Shown, lack_of_edges, lack_of_sense
from schemas.judging import Direction, GaugeMetric, HistogramMetric, RatioMetric
from schemas.reading import ArmReading, Fault, Gap, MetricReading, Series, shown

_QUANTILES = (0.5, 0.9, 0.99)
_GROUP_FROM = 0.2
"""Observed canary share from which pods are compared in groups: below it one bet loses nothing."""
_PATIENCE = 4.0
"""Intervals without requests in one arm after which counting starts afresh."""
_VANISHED_FOR = 40
"""Readings for which series that are gone are missed."""
_UNITS = {"s": 1.0, "ms": 0.001}


class Interval(NamedTuple):
    """One judged interval: its time in seconds, and per stream (edge) the tallies of its groups."""

    start: float
    end: float
    streams: tuple[tuple[Tally, ...], ...]


class Timing(NamedTuple):
    """What the judge's settings say about time, in seconds, about groups, and about answers."""

    interval: float
    warmup: float
    max_groups: int
    limits: Limits = ANY


class _Whole(NamedTuple):
    """A reading that lacks nothing."""

    canary: Parts
    stable: Parts
    switched: bool
    """Whether another replica had to step in."""


class CounterReader:
    """Reads a ratio or a histogram."""

    def __init__(self, metric: RatioMetric | HistogramMetric, timing: Timing) -> None:
        self._metric = metric
        self._timing = timing
        self._replicas = timing.limits.replica_labels or ()
        self._canary = ArmCounters(replica_labels=self._replicas)
        self._stable = ArmCounters(replica_labels=self._replicas)
        self._shown = Shown(metric, self._instance_of) if isinstance(metric, RatioMetric) else None
        self._since: float | None = None
        self._vanished = 0
        self._alone = metric.slo is not None
        self.edges: tuple[float, ...] = (
            metric.edges if isinstance(metric, HistogramMetric) else (math.nan,)
        )
        self.note = "nothing was read yet"
        self.fault: Fault | None = None
        """What kept the last reading from being evidence."""
        self.heard = False
        """Whether the last reading was whole: it may show no requests, but it was an answer."""

    def take(self, reading: MetricReading, at: float, not_before: float) -> Interval | None:
        """Take one reading; the interval that it completes, or None while there is none.

        Args:
            reading: the raw series of both arms.
            at: when they were read.
            not_before: an interval that began earlier does not count.
        """
        found = self._whole(reading)
        self.heard = not isinstance(found, Lack)
        if isinstance(found, Lack):
            self.fault, self.note = found.fault, found.note
            return None
        self.fault = None
        if found.switched:  # another replica's counters are not quite the same: begin anew
            not_before = math.inf
            self._canary = ArmCounters(replica_labels=self._replicas)
            self._stable = ArmCounters(replica_labels=self._replicas)
        return self._difference(found.canary, found.stable, at, not_before)

    def _whole(self, reading: MetricReading) -> _Whole | Lack:
        """Both arms of a reading, or what it lacks."""
        canary, stable = reading.canary, reading.stable
        if self._alone and not isinstance(stable, ArmReading):
            stable = ArmReading(parts={})
        if not isinstance(canary, ArmReading):
            return _gap("canary", canary)
        if not isinstance(stable, ArmReading):
            return _gap("stable", stable)
        if not self.edges and not self._choose_edges(stable):
            return Lack(Fault.EMPTY, "stable has no requests yet to choose bucket edges from")
        parts_c, switched_c = self._canary.fold(self._parts(canary))
        parts_b, switched_b = self._stable.fold(self._parts(stable))
        lack = self._lack("canary", canary, parts_c)
        lack_b = self._lack("stable", stable, parts_b)
        if lack_b is not None and self._alone:
            parts_b = dict.fromkeys(parts_b, ())
        else:
            lack = lack or lack_b
        lack = lack or self._lack_of_old(parts_c, parts_b)
        return lack or _Whole(parts_c, parts_b, switched_c or switched_b)

    def _instance_of(self, one: Series) -> str:
        return instance_of(one.labels, self._replicas)

    def _lack(self, arm: str, reading: ArmReading, parts: Parts) -> Lack | None:
        """What this arm's answer lacks in itself."""
        if not parts["total"]:
            return Lack(Fault.EMPTY, f"no series of {arm}")
        senseless = lack_of_sense(arm, parts, self._timing.limits)
        if senseless is not None:
            return senseless
        if self._shown is not None:
            shown_by = reading.parts.get("shown_by", ())
            return self._shown.lack(arm, parts, shown_by, partial=bool(reading.partial))
        edges = {_edge_part(edge): edge for edge in self.edges}
        return lack_of_edges(arm, parts, edges, self._instance_of)

    def _lack_of_old(self, parts_c: Parts, parts_b: Parts) -> Lack | None:
        """What was there in the last reading and is not any more; not held against it for ever."""
        gone = {"canary": self._canary.vanished(parts_c), "stable": self._stable.vanished(parts_b)}
        if self._alone:
            del gone["stable"]
        arm = next((arm for arm, number in gone.items() if number), None)
        self._vanished = 0 if arm is None else self._vanished + 1
        if arm is None or self._vanished > _VANISHED_FOR:
            return None
        if self._vanished == _VANISHED_FOR and self._shown is not None:
            # From here on, as in the beginning: the answer itself must show that they can be there.
            self._shown.seen[arm] = False
        text = f"{gone[arm]:,} series of {arm} are gone although their instances went on"
        return Lack(Fault.VANISHED, text)

    def _difference(
        self,
        parts_c: Parts,
        parts_b: Parts,
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
        before = self._canary, self._stable
        self._canary, self._stable, self._since = after_c, after_b, at
        if afresh or since is None:
            return None
        self.note = ""
        grown_c = self._once("canary", before[0].moved(parts_c, since), grown_c)
        grown_b = self._once("stable", before[1].moved(parts_b, since), grown_b)
        return Interval(since, at, self._streams(grown_c, grown_b))

    def _once(self, arm: str, moved: Sequence[Moved], grown: Increments) -> Increments:
        """The increments, counted once where all of them seem to be there more than once."""
        replicas = self._timing.limits.replica_labels
        copies = None if replicas is not None else suspected(moved)
        if copies is None:
            return grown
        self.note = f"counted once, for it seems that {copies.sentence(arm)}"
        times = len(copies.values)
        return {part: {pod: n / times for pod, n in pods.items()} for part, pods in grown.items()}

    def _silent(self, grown_c: Increments, grown_b: Increments) -> bool:
        for arm, grown in (("canary", grown_c), ("stable", grown_b)):
            if sum(grown["total"].values()) <= 0 and not (self._alone and arm == "stable"):
                self.note = f"no new requests on {arm}"
                return True
        return False

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
            if math.isfinite(series.value):
                below[edge] = below.get(edge, 0.0) + series.value
        whole = below.pop(math.inf, 0.0)
        if whole <= 0 or not below:
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
            "fault": self.fault,
            "vanished": self._vanished,
            "seen": self._shown.seen if self._shown is not None else {},
            "edges": list(chosen),
            "canary": self._canary.dump(),
            "stable": self._stable.dump(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self._since = state["since"]
        self.note = state["note"]
        self.fault = _fault(state)
        self._vanished = state["vanished"]
        if self._shown is not None:
            self._shown.seen = dict(state["seen"])
        if isinstance(self._metric, HistogramMetric):
            self.edges = tuple(state["edges"])
        self._canary = ArmCounters.load(state["canary"], self._replicas)
        self._stable = ArmCounters.load(state["stable"], self._replicas)


class GaugeReader:
    """Reads a gauge: the sum over instances beside the number of instances."""

    def __init__(self, metric: GaugeMetric, limits: Limits = ANY) -> None:
        self._metric = metric
        self._limits = limits
        self._since: float | None = None
        self.edges: tuple[float, ...] = (math.nan,)
        self.note = "nothing was read yet"
        self.fault: Fault | None = None
        self.heard = False

    def take(self, reading: MetricReading, at: float, not_before: float) -> Interval | None:
        """Take one reading; see `CounterIntake.take`."""
        values_c = self._values("canary", reading.canary)
        values_b = self._values("stable", reading.stable)
        lack = next((one for one in (values_c, values_b) if isinstance(one, Lack)), None)
        self.heard = lack is None
        self.fault = None if lack is None else lack.fault
        self.note = self.note if lack is None else lack.note
        if isinstance(values_c, Lack) or isinstance(values_b, Lack):
            return None
        since, self._since = self._since, at
        if since is None or since < not_before:
            return None
        self.note = ""
        tally = Tally(math.fsum(values_c), len(values_c), math.fsum(values_b), len(values_b))
        return Interval(since, at, ((tally,),))

    def _values(self, arm: str, reading: ArmReading | Gap | None) -> list[float] | Lack:
        """One value of each instance, or what keeps them from being judged."""
        if not isinstance(reading, ArmReading):
            return _gap(arm, reading)
        parts = {"value": reading.parts.get("value", ())}
        if self._limits.replica_labels:
            counters = ArmCounters(replica_labels=self._limits.replica_labels)
            parts["value"] = tuple(counters.fold(parts)[0]["value"])
        if not parts["value"]:
            return Lack(Fault.EMPTY, f"no values of {arm}")
        # An instance without a value (an average over no requests) leaves the mean to the others.
        known = [s for s in parts["value"] if math.isfinite(s.value) and s.value >= 0]
        lack = lack_of_sense(arm, {"value": known or parts["value"]}, self._limits)
        return lack if lack is not None else [one.value for one in known]

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {"since": self._since, "note": self.note, "fault": self.fault}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self._since = state["since"]
        self.note = state["note"]
        self.fault = _fault(state)


def _gap(arm: str, gap: Gap | None) -> Lack:
    return Lack(gap.fault if gap is not None else Fault.OTHER, gap_note(arm, gap))


def _fault(state: Mapping[str, Any]) -> Fault | None:
    return None if state["fault"] is None else Fault(state["fault"])


def _edge_part(edge: float) -> str:
    return f"le:{edge:.9g}"


def _le(series: Series) -> float:
    text = series.labels.get("le", "")
    try:
        edge = float(text)
    except ValueError:
        edge = math.nan
    if math.isnan(edge):
        raise ValueError(
            f"bucket series: label le is {shown(repr(text))}, expected a number, "
            f"in {shown(repr(series.labels))}"
        )
    return edge
