"""What a router's own counters showed over one bake, kept in bounded space for judging it again.

Of a bake that is longer than there is room for, the newest readings stay as they were, since a
verdict comes of those; older ones are added up in pairs, again and again. No request is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from analysis.evalues import Tally
from analysis.intervals import Interval

_MOST_NUMBERS: Final = 1000
"""Of all readings together: about 4 KB as JSON, whatever the number of metrics."""
_LEAST_ROWS: Final = 16
MOST_ROWS: Final = 120
_NOTHING: Final = Tally(0.0, 0.0, 0.0, 0.0)
COLUMNS: Final = ("bad_canary", "canary", "bad_stable", "stable")


class RouterRow(NamedTuple):
    """What was counted from one time to another, in seconds: each stream of each metric."""

    start: float
    end: float
    streams: dict[str, tuple[Tally, ...]]


class RouterSeries:
    """The readings of one bake."""

    def __init__(self) -> None:
        self.rows: list[RouterRow] = []

    def add(self, counted: Mapping[str, Interval]) -> None:
        """Add what one reading has completed, by metric; nothing, where it completed nothing."""
        if not counted:
            return
        start = min(one.start for one in counted.values())
        end = max(one.end for one in counted.values())
        streams = {name: tuple(map(_whole, one.streams)) for name, one in counted.items()}
        self.rows.append(RouterRow(start, end, streams))
        while len(self.rows) > _room(self.rows[-1]):
            self._thin()

    def _thin(self) -> None:
        older = len(self.rows) // 2 // 2 * 2
        pairs = zip(self.rows[:older:2], self.rows[1:older:2], strict=True)
        self.rows = [*(_merge(*pair) for pair in pairs), *self.rows[older:]]

    def dump(self) -> list[Any]:
        """The state as plain data."""
        return [list(row) for row in self.rows]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Self:
        """Take up a dumped state."""
        series = cls()
        series.rows = [
            RouterRow(start, end, {n: tuple(Tally(*one) for one in s) for n, s in streams.items()})
            for start, end, streams in state
        ]
        return series

    def columns(self, edges: Mapping[str, Sequence[float]]) -> dict[str, Any] | None:
        """The readings as `schemas.evidence_series` has them; None where there are none.

        Args:
            edges: in seconds, of each histogram.
        """
        if not self.rows:
            return None
        begin = self.rows[0].start
        found: dict[str, Any] = {}
        for name in sorted({name for row in self.rows for name in row.streams}):
            known = [row.streams.get(name, ()) for row in self.rows]
            number = max(map(len, known))
            rows = [(*one, *[_NOTHING] * (number - len(one))) for one in known]
            streams = [
                dict(zip(COLUMNS, zip(*(row[index] for row in rows), strict=True), strict=True))
                for index in range(number)
            ]
            found[name] = {"streams": streams}
            if name in edges:
                found[name]["edges"] = list(edges[name])
        return {
            "began_at": datetime.fromtimestamp(begin, UTC).isoformat(),
            "at": [round(row.end - begin, 3) for row in self.rows],
            "took": [round(row.end - row.start, 3) for row in self.rows],
            "metrics": found,
        }


def _room(row: RouterRow) -> int:
    """How many rows like this one there may be."""
    width = 2 + sum(4 * len(tallies) for tallies in row.streams.values())
    return min(max(_MOST_NUMBERS // width, _LEAST_ROWS), MOST_ROWS)


def _whole(groups: Sequence[Tally]) -> Tally:
    return Tally(*(_plain(math.fsum(column)) for column in zip(*groups, strict=True)))


def _plain(value: float) -> float:
    """The same number, an integer where it is one: shorter as JSON."""
    return int(value) if value == int(value) else value


def _merge(earlier: RouterRow, later: RouterRow) -> RouterRow:
    streams = dict(earlier.streams)
    for name, tallies in later.streams.items():
        before = streams.get(name, ())
        before = (*before, *[_NOTHING] * (len(tallies) - len(before)))
        streams[name] = tuple(
            Tally(*(a + b for a, b in zip(one, other, strict=True)))
            for one, other in zip(before, tallies, strict=False)
        )
    return RouterRow(earlier.start, later.end, streams)
