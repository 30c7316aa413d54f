"""What a judge saw over one bake, kept in bounded space.

One row for each reading; once the series is full, two rows become one and each later row stands for
twice as many readings, so that the whole bake is always covered evenly. Counts are kept as
differences, which add up: a row lost to thinning loses no request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from analysis.evalues import Tally
from analysis.evidence import SequentialTest
from analysis.judge import Judge
from analysis.router_series import RouterSeries
from analysis.tracks import Track
from schemas.judging import Direction, HistogramMetric

_STATE_VERSION = 2
MOST_ROWS = 120
_LEAST_ROWS = 24
_MOST_NUMBERS = 1500
"""Of all rows together: about 8 KB as JSON, whatever the number of metrics."""
_FLOOR = -9.0
"""log10 of the smallest e-value shown; smaller ones say no more."""


class Sight(NamedTuple):
    """One metric at one time."""

    counts: tuple[Tally, ...]
    """Of each stream; from the canary's first request in a `Sight` that is added, and since the
    row before in one that is kept."""
    odds: float | None = None
    """log10 of the e-value; None: there is none."""
    bound: float | None = None
    value: float | None = None
    """Of a fixed limit."""


class Row(NamedTuple):
    """All metrics at one time."""

    at: float
    odds: float | None
    sights: dict[str, Sight]


class EvidenceSeries:
    """The rows of one bake.

    Args:
        lower_is_bad: fixed limits whose worst value is the smallest.
    """

    def __init__(self, lower_is_bad: frozenset[str] = frozenset()) -> None:
        self._lower = lower_is_bad
        self._counted: dict[str, tuple[Tally, ...]] = {}
        self._stride = 1
        self._held = 0
        self.rows: list[Row] = []
        self.router = RouterSeries()
        """What the router itself counted meanwhile, reading by reading."""

    def begin(self, sights: Mapping[str, Sight]) -> None:
        """Count from here: what an earlier bake saw is not this one's."""
        self._counted = {name: one.counts for name, one in sights.items()}

    def add(self, row: Row) -> None:
        """Add what is seen now; a row that is not newer than the last is ignored."""
        if self.rows and row.at <= self.rows[-1].at:
            return
        new = Row(row.at, row.odds, {name: self._since(name, s) for name, s in row.sights.items()})
        self._counted = {name: one.counts for name, one in row.sights.items()}
        if not self.rows:
            self.rows.append(new)
            return
        while self._held == 0 and len(self.rows) >= _room(new):
            self._halve()
        if self._held:
            self.rows[-1] = self._merge(self.rows[-1], new)
        else:
            self.rows.append(new)
        self._held = (self._held + 1) % self._stride

    def _since(self, name: str, sight: Sight) -> Sight:
        before = self._counted.get(name, ())
        counts = tuple(
            Tally(*(_short(n - b) for n, b in zip(now, then, strict=True)))
            for now, then in _pairs(sight.counts, before)
        )
        return sight._replace(counts=counts)

    def _halve(self) -> None:
        first, rest = self.rows[0], self.rows[1:]
        merged = [self._merge(a, b) for a, b in zip(rest[::2], rest[1::2], strict=False)]
        odd = len(rest) % 2
        self.rows = [first, *merged, *rest[len(rest) - odd :]]
        self._held = self._stride if odd else 0
        self._stride *= 2

    def _merge(self, earlier: Row, later: Row) -> Row:
        sights = {
            name: self._merged(name, earlier.sights[name], sight)
            if name in earlier.sights
            else sight
            for name, sight in later.sights.items()
        }
        return Row(later.at, later.odds, sights)

    def _merged(self, name: str, earlier: Sight, later: Sight) -> Sight:
        counts = tuple(
            Tally(*(_short(a + b) for a, b in zip(one, other, strict=True)))
            for one, other in _pairs(later.counts, earlier.counts)
        )
        worst = min if name in self._lower else max
        values = [one for one in (earlier.value, later.value) if one is not None]
        return later._replace(counts=counts, value=worst(values) if values else None)

    def dump(self) -> list[Any]:
        """The state as plain data: what a retried attempt goes on with."""
        rows = [[r.at, r.odds, {n: list(s) for n, s in r.sights.items()}] for r in self.rows]
        router = self.router.dump()
        return [_STATE_VERSION, self._stride, self._held, self._counted, rows, router]

    @classmethod
    def load(cls, state: Sequence[Any], lower_is_bad: frozenset[str] = frozenset()) -> Self:
        """Take up a dumped state.

        Raises:
            ValueError: the state is of another version.
        """
        version, *parts = state
        if version != _STATE_VERSION:
            raise ValueError(f"evidence series: version {version}, expected {_STATE_VERSION}")
        evidence_series = cls(lower_is_bad)
        evidence_series._stride, evidence_series._held, counted, rows, router = parts
        evidence_series.router = RouterSeries.load(router)
        evidence_series._counted = {name: _tallies(counts) for name, counts in counted.items()}
        evidence_series.rows = [
            Row(at, odds, {n: Sight(_tallies(s[0]), *s[1:]) for n, s in sights.items()})
            for at, odds, sights in rows
        ]
        return evidence_series


def look(judge: Judge, at: float) -> Row:
    """What the judge has seen so far; time in seconds."""
    sights = {name: _sight(track) for name, track in judge.tracks.items()}
    bets = any(one.odds is not None for one in sights.values())
    return Row(at, _odds(judge.e_value) if bets else None, sights)


def of_judge(judge: Judge, state: Any = None) -> EvidenceSeries:
    """The series for a judge that is about to begin, or to go on.

    Args:
        judge: as it is before it observes anything.
        state: what an earlier attempt kept; of another version of this code, it is left, since no
            canary may fail for want of a chart.
    """
    if isinstance(state, list) and state[:1] == [_STATE_VERSION]:
        return EvidenceSeries.load(state, _lower_is_bad(judge))
    evidence_series = EvidenceSeries(_lower_is_bad(judge))
    evidence_series.begin(look(judge, 0.0).sights)
    return evidence_series


def columns(evidence_series: EvidenceSeries, judge: Judge) -> dict[str, Any] | None:
    """The series as `schemas.evidence_series` reads it; None where nothing was measured."""
    if not evidence_series.rows or not judge.tracks:
        return None
    rows, begin = evidence_series.rows, evidence_series.rows[0].at
    odds = [row.odds for row in rows]
    router = evidence_series.router.columns(_router_edges(judge))
    return {
        "began_at": datetime.fromtimestamp(begin, UTC).isoformat(),
        "at": [_whole(round(row.at - begin, 2)) for row in rows],
        "odds": None if None in odds else odds,
        "needed": round(math.log10(judge.threshold), 4),
        "metrics": {name: _columns(name, rows, judge) for name in judge.tracks},
        **({} if router is None else {"router": router}),
    }


def _router_edges(judge: Judge) -> dict[str, tuple[float, ...]]:
    """Of each histogram that the router counts, its edges."""
    own = {n: t.own for n, t in judge.tracks.items() if isinstance(t, Track) and t.own is not None}
    found = {name: one.reader.edges for name, one in own.items()}
    return {n: e for n, e in found.items() if not any(math.isnan(one) for one in e)}


def _columns(name: str, rows: Sequence[Row], judge: Judge) -> dict[str, Any]:
    empty = Sight(())
    sights = [row.sights.get(name, empty) for row in rows]
    found: dict[str, Any] = {}
    if streams := len(sights[-1].counts):
        found["streams"] = [
            dict(
                zip(
                    ("bad_canary", "canary", "bad_stable", "stable"),
                    zip(*(_at(sight.counts, index) for sight in sights), strict=True),
                    strict=True,
                )
            )
            for index in range(streams)
        ]
    track = judge.tracks[name]
    if isinstance(track, Track) and isinstance(track.metric, HistogramMetric):
        found["edges"] = list(track.reader.edges)
    for column in ("odds", "bound", "value"):
        values = [getattr(sight, column) for sight in sights]
        if any(value is not None for value in values):
            found[column] = [0 if v is None else v for v in values] if column == "odds" else values
    return found


def _lower_is_bad(judge: Judge) -> frozenset[str]:
    metrics = (track.metric for track in judge.tracks.values())
    return frozenset(m.name for m in metrics if m.direction is Direction.LOWER_IS_BAD)


def _sight(track: Any) -> Sight:
    if not isinstance(track, Track):
        worst = track.watch.worst
        return Sight((), value=None if math.isnan(worst) else _short(worst))
    bound = track.test.upper()
    return Sight(
        tuple(track.test.seen()),
        _odds(track.e_value) if isinstance(track.test, SequentialTest) else None,
        None if bound is None else _short(bound, 4),
    )


def _room(row: Row) -> int:
    """How many rows like this one there may be."""
    width = 2 + sum(3 + 4 * len(sight.counts) for sight in row.sights.values())
    return min(max(_MOST_NUMBERS // width, _LEAST_ROWS), MOST_ROWS)


def _pairs(longer: Sequence[Tally], shorter: Sequence[Tally]) -> list[tuple[Tally, Tally]]:
    """Stream by stream; one that the earlier reading did not have yet begins at nothing."""
    return [(one, _at(shorter, index)) for index, one in enumerate(longer)]


def _at(counts: Sequence[Tally], index: int) -> Tally:
    return counts[index] if index < len(counts) else Tally(0.0, 0.0, 0.0, 0.0)


def _tallies(counts: Sequence[Sequence[float]]) -> tuple[Tally, ...]:
    return tuple(Tally(*one) for one in counts)


def _odds(e_value: float) -> float:
    return _whole(round(max(math.log10(e_value), _FLOOR), 3)) if e_value > 0 else _FLOOR


def _short(value: float, digits: int = 6) -> float:
    """A number with so many significant digits; 0 for one that is none."""
    return _whole(float(f"{value:.{digits}g}")) if math.isfinite(value) else 0


def _whole(value: float) -> float:
    """The same number, an integer where it is one: shorter as JSON."""
    return int(value) if value == int(value) else value
