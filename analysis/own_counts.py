"""The evidence of one metric from the router's own counts, beside that of the metrics source.

Both sources count the same requests, so what the second one shows is no evidence beside the first.
Nor may their e-values be averaged: each is one for who knows no more than its own source, and a
judge that stops by the one knows what the other will show (Choe and Ramdas, arXiv 2402.09698).
So alpha is split beforehand: a good canary is failed by the router's counts with chance
SHARE * alpha at most, and by the metrics source with what is left of it. Odds times their part are
on the scale of 1/alpha again. The router is there sooner and has the larger part; the metrics
source goes on when the router can't be asked, and alone says whether a canary may go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from analysis.evalues import Tally
from analysis.evidence import SequentialTest
from analysis.intervals import CounterReader, Interval
from schemas.reading import MetricReading

SHARE: Final = 0.75
"""Of alpha, for the router's counts: they fail a canary at 4/3 of 1/alpha, and the metrics source
at 4 times 1/alpha."""

_WAITS: Final = 20
"""Readings for which the router's histograms wait for the edges that the metrics source chooses:
by two lots of edges they would be two metrics."""


class OwnCounts:
    """One ratio or histogram, by the router's own counts.

    Args:
        reader: turns readings into intervals.
        test: counts them; it has no bound.
    """

    def __init__(self, reader: CounterReader, test: SequentialTest) -> None:
        self.reader = reader
        self.test = test
        self.intervals = 0
        self.since: float | None = None
        self.until: float | None = None
        self._waited = 0

    def take(self, reading: MetricReading, at: float, not_before: float) -> Interval | None:
        """Take one reading, and count what it completes; see `CounterReader.take`."""
        if not self.reader.edges and self._waited < _WAITS:
            self._waited += 1  # the metrics source chooses them, unless it does not answer
            return None
        interval = self.reader.take(reading, at, not_before)
        if interval is not None:
            self.count(interval.streams, interval.start, interval.end)
        return interval

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval; times in seconds."""
        self.test.count(streams, start, end)
        self.intervals += 1
        self.since = start if self.since is None else self.since
        self.until = end

    def dump(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "times": [self.intervals, self.since, self.until],
            "ingestion": self.reader.dump(),
            "test": self.test.dump(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a dumped state."""
        self.intervals, self.since, self.until = state["times"]
        self.reader.restore(state["ingestion"])
        self.test.restore(state["test"])
