"""How close a canary is to FAIL and to going on, as two numbers from 0 to 1, for people. Pure.

Nothing is decided by them: the judge's verdict is what counts. Both are on a log scale, because
evidence adds up on it: an e-process gains about the same log odds in each interval of a steady
regression, so that half of the way in `to_fail` is about half of the time. `to_go_on` grows fast at
first and slowly towards the end, as a bound does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from analysis.judge import Judge
from schemas.live import LiveMetric
from schemas.verdict import Counts, MetricEvidence, Verdict, VerdictKind

RECENT: Final = timedelta(minutes=1)
"""What is called "now": rates are of the requests since then, or since the reading before."""

MOST_ODDS: Final = 1e12
"""Larger odds are shown as these: JSON knows no infinity."""


def to_fail(e_value: float, threshold: float) -> float:
    """log(e_value) / log(threshold), within 0 and 1.

    Args:
        e_value: odds against chance; at or below 1 there is no evidence.
        threshold: the odds that fail the canary, more than 1.
    """
    if e_value <= 1:
        return 0.0
    return min(math.log(e_value) / math.log(threshold), 1.0)


def to_go_on(upper_bound: float, tolerance: float) -> float:
    """log(1 / upper_bound) / log(1 / tolerance), within 0 and 1.

    Without data the bound is 1, "all requests may be bad": 0. At the tolerance it is 1.

    Args:
        upper_bound: at most this extra share is bad; may be negative for a better canary.
        tolerance: the bound that is good enough, more than 0.
    """
    if upper_bound <= tolerance or tolerance >= 1:
        return 1.0
    return max(math.log(upper_bound) / math.log(tolerance), 0.0)


class LiveEvidence:
    """Turns verdicts into live metrics; remembers the counts of the last minute.

    Args:
        kinds: of the metrics, by name.
        recent: how long ago is still now.
    """

    def __init__(self, kinds: Mapping[str, str], recent: timedelta = RECENT) -> None:
        self._kinds = kinds
        self._recent = recent
        self._seen: deque[tuple[datetime, dict[str, MetricEvidence]]] = deque()

    def metrics(self, verdict: Verdict) -> tuple[LiveMetric, ...]:
        """Every metric, now."""
        self._seen.append((verdict.at, {one.name: one for one in verdict.metrics}))
        # One reading from before the last minute stays, so that all of that minute is seen.
        while len(self._seen) > 2 and self._seen[1][0] <= verdict.at - self._recent:  # noqa: PLR2004
            self._seen.popleft()
        return tuple(self._metric(one) for one in verdict.metrics)

    def _metric(self, now: MetricEvidence) -> LiveMetric:
        before = self._seen[0][1].get(now.name)
        known = before if before is not None and before.edge == now.edge else None
        bounded = now.upper_bound is not None and now.tolerance is not None
        alone = to_fail(now.e_value, now.threshold)
        return LiveMetric(
            name=now.name,
            kind=self._kinds[now.name],
            canary=now.canary,
            stable=now.stable,
            canary_now=_rate(known.canary if known else None, now.canary),
            stable_now=_rate(known.stable if known else None, now.stable),
            e_value=min(now.e_value, MOST_ODDS),
            to_fail=1.0 if now.passed_at is not None else alone,
            upper_bound=now.upper_bound,
            tolerance=now.tolerance,
            to_go_on=to_go_on(now.upper_bound or 0.0, now.tolerance or 1.0) if bounded else None,
            edge=now.edge,
            dry_run=now.dry_run,
            note=now.note,
        )


def overall(
    judge: Judge, verdict: Verdict, metrics: tuple[LiveMetric, ...]
) -> tuple[float, float | None]:
    """How close the whole canary is to FAIL, and to going on.

    It fails by the odds over all metrics together, and goes on when each metric is good enough.
    """
    failed = judge.failure is not None or verdict.kind is VerdictKind.FAIL
    near = 1.0 if failed else to_fail(judge.e_value, judge.threshold)
    acting = [one.to_go_on for one in metrics if not one.dry_run and one.to_go_on is not None]
    return near, min(acting, default=None)


def _rate(before: Counts | None, now: Counts) -> float | None:
    """The share of bad requests from one reading to another; of all of them without a first one."""
    if before is None or now.total <= 0 or now.total < before.total or now.bad < before.bad:
        return now.rate
    total = now.total - before.total
    return (now.bad - before.bad) / total if total > 0 else None
