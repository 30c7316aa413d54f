"""When to read the metrics next: where there is traffic, sooner than an interval. Pure.

What counts requests (ratios and histograms) is read as soon as the canary has had some requests
that may tell something. What shows a state (gauges, fixed limits) is read once an interval, as one
state read twice is not two pieces of evidence. The pace follows from numbers of requests, never
from how many of them were bad: an interval that ended because of what was in it would be none
that the judge may bet on.
"""

from __future__ import annotations

from typing import Final

from analysis.evidence import SequentialTest
from analysis.judge import Judge
from analysis.tracks import Track
from schemas.judging import JudgeSpec

TELLING: Final = 10.0
"""Requests of the canary in one reading: with fewer, most readings of a clear fault are empty."""


class ReadingPace:
    """Paces the readings of one judge.

    Args:
        spec: its interval is the longest pause, its `fastest` the shortest.
        judge: whose tracks show how many requests there are.
    """

    def __init__(self, spec: JudgeSpec, judge: Judge) -> None:
        self._interval = spec.interval.total_seconds()
        self._fastest = (spec.fastest or spec.interval).total_seconds()
        tests = {n: t for n, t in judge.tracks.items() if isinstance(t, Track)}
        self._quick = {n: t for n, t in tests.items() if _quick(t)}
        self._whole_at: float | None = None
        self._seen = {name: (one.until, one.test.totals().n_c) for name, one in self._quick.items()}
        self._rate: float | None = None
        self._pause = self._fastest if self._quick else self._interval

    @property
    def quick(self) -> frozenset[str]:
        """The metrics that may be read more than once an interval."""
        return frozenset(self._quick) if self._fastest < self._interval else frozenset()

    def whole(self, now: float) -> bool:
        """Whether an interval is over, so that all metrics are read now, at so many seconds."""
        due = self._whole_at is None or now - self._whole_at >= self._interval * (1 - 1e-6)
        if due:
            self._whole_at = now
        return due or not self.quick

    def pause(self, now: float, least: float = 0.0) -> float:
        """Seconds from a reading to the next one.

        Where a reading showed nothing new, as the source gathers more seldom, the pause is doubled.

        Args:
            now: when the reading was, in seconds.
            least: the shortest pause that is allowed, for a source that many judges ask.
        """
        if not self.quick:
            return self._interval
        if self._moved():
            wanted = TELLING / self._rate if self._rate else self._interval
            self._pause = max(wanted, self._fastest)
        else:
            self._pause *= 2
        self._pause = min(max(self._pause, least), self._interval)
        left = self._interval - (now - self._whole_at) if self._whole_at is not None else 0.0
        return min(self._pause, left) if left > 0 else self._pause

    def _moved(self) -> bool:
        """Whether an interval was counted since the last reading; learns the rate of requests."""
        moved = False
        for name, track in self._quick.items():
            before, requests = self._seen[name]
            if track.until is None or track.until == before:
                continue
            moved = True
            begun = track.since if before is None else before
            grown, spent = track.test.totals().n_c - requests, track.until - (begun or track.until)
            if spent > 0 and grown >= 0:
                self._rate = grown / spent
            self._seen[name] = (track.until, track.test.totals().n_c)
        return moved


def _quick(track: Track) -> bool:
    return isinstance(track.test, SequentialTest) and track.metric.kind != "gauge"
