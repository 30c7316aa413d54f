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

from collections.abc import Mapping
from typing import Any, Final

from analysis.evidence import SequentialTest
from analysis.intervals import CounterReader
from schemas.reading import MetricReading

SHARE: Final = 0.75
"""Of alpha, for the router's counts: they fail a canary at 4/3 of 1/alpha, and the metrics source
at 4 times 1/alpha."""


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

    def take(self, reading: MetricReading, at: float, not_before: float) -> None:
        """Take one reading; see `CounterReader.take`."""
        interval = self.reader.take(reading, at, not_before)
        if interval is None:
            return
        self.test.count(interval.streams, interval.start, interval.end)
        self.intervals += 1
        self.since = interval.start if self.since is None else self.since
        self.until = interval.end

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
