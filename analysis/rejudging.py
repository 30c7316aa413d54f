"""What another judge or strategy would have decided on counts that were recorded. Pure.

The counts are of the weight that the canary had then. At another weight as many requests are taken
to come, shared by that weight, and each version is taken to fail the same share of them: what a
verdict at a larger weight would have been, not what is proven.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from analysis.evalues import Tally
from analysis.judge import Judge
from schemas.verdict import Verdict, VerdictKind

_SAME_WEIGHT: Final = 1e-9
_NOTHING: Final = Tally(0.0, 0.0, 0.0, 0.0)


class Interval(NamedTuple):
    """What was counted from one time to another."""

    start: float
    """In seconds, as the end."""
    end: float
    share: float | None
    """Of the requests that the canary had, 0 to 1; None: its requests were no share of them, and
    are taken as they are at any weight."""
    streams: Mapping[str, Sequence[Tally]]
    by_router: bool = False
    """Whether the router itself counted, beside the metrics source: the same requests again."""


class Step(NamedTuple):
    """One step of a strategy."""

    share: float
    """Of the requests, 0 to 1."""
    bake_min: timedelta
    bake_max: timedelta
    exposure: float
    """Share that the canary gets next."""
    back_in_doubt: bool
    """Whether a bake without a verdict goes back; a person is asked otherwise."""


class Way(StrEnum):
    """What would have become of the canary."""

    BACK = "back"
    THROUGH = "through"
    """All steps are passed; it is watched on."""
    ASKED = "asked"
    """A bake ended in doubt: a person is asked."""
    OPEN = "open"
    """What was recorded ends before there is a verdict."""


@dataclass
class Outcome:
    """What would have happened, as far as the record goes."""

    way: Way = Way.OPEN
    at: float | None = None
    """When it was decided, in seconds."""
    share: float = 0.0
    """Of the requests that the canary had then."""
    verdict: Verdict | None = None
    """The one that decided, or the last."""
    failed: float = 0.0
    """Requests that would have failed, by the metric that costs are counted by."""
    failed_then: float = 0.0
    """Those that did."""
    requests: float = 0.0
    """All that were counted."""

    @property
    def cost(self) -> float:
        """Failed requests more than there were; fewer, if negative."""
        return self.failed - self.failed_then


@dataclass
class _Rates:
    """Of one stream: shares of bad requests so far, for intervals in which a version had none."""

    seen: Tally = _NOTHING

    def take(self, tally: Tally) -> tuple[float, float]:
        """The rates of an interval; those so far where it has none, and 0 where none is known."""
        self.seen = Tally(*(a + b for a, b in zip(self.seen, tally, strict=True)))
        stable = _rate(tally.bad_b, tally.n_b, _rate(self.seen.bad_b, self.seen.n_b, 0.0))
        canary = _rate(tally.bad_c, tally.n_c, _rate(self.seen.bad_c, self.seen.n_c, stable))
        return canary, stable


def _rate(bad: float, total: float, otherwise: float) -> float:
    return bad / total if total > 0 else otherwise


def shared(tally: Tally, before: float | None, share: float, rates: tuple[float, float]) -> Tally:
    """The counts of an interval, had the canary had another share of the requests.

    Args:
        tally: as counted.
        before: the share that it had; None: no share says how many it had.
        share: the one that it would have had.
        rates: shares of bad requests of canary and stable.
    """
    if before is None or math.isclose(before, share, abs_tol=_SAME_WEIGHT):
        return tally
    requests = tally.n_c + tally.n_b
    canary, stable = requests * share, requests * (1 - share)
    return Tally(canary * rates[0], canary, stable * rates[1], stable)


class Rejudging:
    """Goes through intervals with a judge and the steps of a strategy.

    Args:
        judge: of the other policy, as it is before the first interval.
        steps: of the other strategy; None: the weights are those that were recorded, and only a
            FAIL changes anything.
        costs_by: name of the metric whose bad requests are those that users would call failed;
            None: costs are not counted.
    """

    def __init__(
        self, judge: Judge, steps: Sequence[Step] | None, costs_by: str | None = None
    ) -> None:
        self._judge = judge
        self._steps = steps
        self._costs_by = costs_by
        self._rates: dict[tuple[bool, str, int], _Rates] = {}
        self._step = 0
        self._began: float | None = None
        self.outcome = Outcome()

    def run(self, intervals: Sequence[Interval]) -> Outcome:
        """All intervals, in order."""
        for one in intervals:
            self._take(one)
        if self._steps is None and self.outcome.way is Way.OPEN and intervals:
            self._decide(Way.THROUGH, intervals[-1].end)
        return self.outcome

    def _share(self, interval: Interval) -> float:
        if self.outcome.way is Way.BACK and not self._decided_within(interval):
            return 0.0
        if self.outcome.way is Way.BACK:
            return self.outcome.share
        if self._steps is None:
            return interval.share or 0.0
        if self._step >= len(self._steps):
            return 1.0
        return self._steps[self._step].share

    def _decided_within(self, interval: Interval) -> bool:
        """Whether it was decided while this was counted: by the router, which is sooner."""
        return self.outcome.at is not None and interval.start < self.outcome.at

    def _take(self, interval: Interval) -> None:
        self._pass_empty(interval.start)
        share = self._share(interval)
        streams: dict[str, list[Tally]] = {}
        for name, tallies in interval.streams.items():
            streams[name] = [
                shared(tally, interval.share, share, self._taken(interval, name, index, tally))
                for index, tally in enumerate(tallies)
            ]
        if not interval.by_router:
            self._count(interval, streams)
        if self.outcome.way is Way.BACK:
            return
        self._began = interval.start if self._began is None else self._began
        known = {name: tallies for name, tallies in streams.items() if name in self._judge.tracks}
        if interval.by_router:
            self._judge.observe_router_streams(known, interval.start, interval.end)
        else:
            self._judge.observe_streams(known, interval.start, interval.end)
        self._judged(interval.end, share)

    def _taken(
        self, interval: Interval, name: str, index: int, tally: Tally
    ) -> tuple[float, float]:
        key = interval.by_router, name, index
        return self._rates.setdefault(key, _Rates()).take(tally)

    def _count(self, interval: Interval, streams: Mapping[str, Sequence[Tally]]) -> None:
        if self._costs_by is None or not interval.streams.get(self._costs_by):
            return
        then, now = interval.streams[self._costs_by][0], streams[self._costs_by][0]
        if interval.share is None and self.outcome.way is Way.BACK:
            return  # not requests of users
        self.outcome.failed_then += then.bad_c + then.bad_b
        self.outcome.failed += now.bad_c + now.bad_b
        self.outcome.requests += then.n_c + then.n_b

    def _pass_empty(self, at: float) -> None:
        """Steps that are not judged are over at once."""
        steps = self._steps or ()
        while self._step < len(steps) and not steps[self._step].bake_max:
            self._next(at)

    def _next(self, at: float) -> None:
        self._step += 1
        self._began = at
        if self._steps is not None and self._step == len(self._steps):
            self._decide(Way.THROUGH, at)

    def _decide(self, way: Way, at: float) -> None:
        outcome = self.outcome
        outcome.way, outcome.at = way, at

    def _judged(self, at: float, share: float) -> None:
        verdict = self._verdict(at)
        outcome = self.outcome
        if outcome.way in {Way.OPEN, Way.THROUGH} or verdict.kind is VerdictKind.FAIL:
            outcome.verdict = verdict
        if outcome.way is not Way.THROUGH:
            outcome.share = share
        if verdict.kind is VerdictKind.FAIL:
            outcome.share = share
            self._decide(Way.BACK, at)
        elif verdict.final and outcome.way is Way.OPEN and self._steps is not None:
            if verdict.kind is VerdictKind.PASS:
                self._next(at)
            else:
                back = self._steps[self._step].back_in_doubt
                self._decide(Way.BACK if back else Way.ASKED, at)

    def _verdict(self, at: float) -> Verdict:
        now = datetime.fromtimestamp(at, UTC)
        began = datetime.fromtimestamp(at if self._began is None else self._began, UTC)
        if self._steps is None or self._step >= len(self._steps):
            never = timedelta.max
            return self._judge.verdict(now, started_at=began, bake_min=never, bake_max=never)
        step = self._steps[self._step]
        return self._judge.verdict(
            now,
            started_at=began,
            bake_min=step.bake_min,
            bake_max=step.bake_max,
            exposure=step.exposure,
        )
