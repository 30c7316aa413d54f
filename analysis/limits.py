"""Fixed limits: `method: threshold`, and metrics of kind threshold.

Without `chance` no promise about false alarms: a limit knows nothing of luck. Here for those who
want it, and as the yardstick in the benchmark. With it, a version that is at the limit fails with
that chance at most, however often it is looked at, as long as its errors are independent: the tails
of the looks are below parts of it that add up to no more (a union bound).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from analysis.evalues import Tally
from schemas.judging import ThresholdSettings

_SMALL: Final = 1e-12
_LARGEST: Final = sys.float_info.max
"""In place of an infinite value, which JSON does not have."""


class LimitTest:
    """Checks one metric's rate in windows of fixed length."""

    def __init__(self, settings: ThresholdSettings, limit: float | None) -> None:
        self._window = settings.window.total_seconds()
        self._times = settings.max_times_stable
        self._checks = settings.checks
        self._chance = settings.chance
        self._limit = limit
        self._failed = 0
        self._done = 0
        self._length = 0.0
        self._current: list[list[float]] = []
        self._seen: list[list[float]] = []

    e_value = 1.0
    tolerance: float | None = None

    @property
    def broken(self) -> bool:
        """Whether as many checks failed as fail the canary."""
        return self._failed >= self._checks

    @property
    def doubtful(self) -> bool:
        """Nothing to pass on: nothing seen, a window begun that is over, or too few checks to fail.

        A window that is not full yet fails nobody, and passes nobody while it is over the limit;
        with a chance, all that was seen takes its place.
        """
        if self._chance is not None and any(self._over(totals) for totals in self._seen):
            return True
        if self._chance is None and any(self._over(totals) for totals in self._current):
            return True
        seen = any(totals[1] > 0 for totals in self._seen)
        return not seen or (self._failed > 0 and self._done < self._checks)

    def count(self, streams: Sequence[Sequence[Tally]], start: float, end: float) -> None:
        """Count one interval, and check once a window is full."""
        if not self._seen:
            self._seen = [[0.0] * 4 for _ in streams]
            self._current = [[0.0] * 4 for _ in streams]
        for index, groups in enumerate(streams):
            for tally in groups:
                self._current[index] = _plus(self._current[index], tally)
                self._seen[index] = _plus(self._seen[index], tally)
        self._length += end - start
        if self._length >= self._window * (1 - 1e-9):
            self._done += 1
            self._failed += self._fails()
            self._current = [[0.0] * 4 for _ in streams]
            self._length = 0.0

    def _fails(self) -> bool:
        """Whether the check that ends now fails."""
        if self._chance is None or self._limit is None:
            return any(self._over(totals) for totals in self._current)
        part = self._chance / (self._done * (self._done + 1) * len(self._seen))
        return any(
            self._over(totals) and tail(totals[0], totals[1], self._limit) < part
            for totals in self._seen
        )

    def _over(self, totals: Sequence[float]) -> bool:
        bad_c, n_c, bad_b, n_b = totals
        if n_c <= 0:
            return False
        if self._limit is not None and bad_c / n_c > self._limit:
            return True
        return self._times is not None and n_b > 0 and bad_c / n_c > self._times * bad_b / n_b

    def within(self, exposure: float = 1.0) -> bool | None:
        """There is no bound."""
        del exposure
        return None

    def upper(self) -> float | None:
        """There is no bound."""
        return None

    def telling(self) -> int:
        """Index of the stream with the worst rate."""
        rates = [totals[0] / totals[1] if totals[1] > 0 else 0.0 for totals in self._seen]
        return rates.index(max(rates)) if rates else 0

    def seen(self) -> list[Tally]:
        """What each stream has seen."""
        return [Tally(*totals) for totals in self._seen]

    def totals(self) -> Tally:
        """What the worst stream has seen."""
        return Tally(*self._seen[self.telling()]) if self._seen else Tally(0.0, 0.0, 0.0, 0.0)

    def dump(self) -> Any:
        """The state as plain data."""
        return [self._failed, self._length, self._current, self._seen, self._done]

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self._failed, self._length, self._current, self._seen, self._done = state


class LimitWatch:
    """Checks every series of a threshold metric's value at each reading."""

    def __init__(self, limit: float, checks: int, *, lower_is_bad: bool) -> None:
        self._limit = limit
        self._checks = checks
        self._lower = lower_is_bad
        self._in_a_row = 0
        self.broken = False
        self.worst = math.nan

    def check(self, values: Sequence[float]) -> bool:
        """Check one reading; False where there was nothing to check, or not everything could be.

        A value beyond the limit counts whatever the others are; without one, each must be a number.
        """
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return False
        worst = min(known) if self._lower else max(known)
        beyond = worst < self._limit if self._lower else worst > self._limit
        if not beyond and not all(map(math.isfinite, values)):
            return False
        self.worst = min(max(worst, -_LARGEST), _LARGEST)
        self._in_a_row = self._in_a_row + 1 if beyond else 0
        self.broken = self.broken or self._in_a_row >= self._checks
        return True

    def dump(self) -> Any:
        """The state as plain data."""
        worst = None if math.isnan(self.worst) else self.worst
        return [self._in_a_row, self.broken, worst]

    def restore(self, state: Any) -> None:
        """Take up a dumped state."""
        self._in_a_row, self.broken, worst = state
        self.worst = math.nan if worst is None else worst


def tail(bad: float, total: float, rate: float) -> float:
    """The chance of so many bad requests or more, of independent ones that are bad at a rate.

    Exact for whole numbers; others, which histograms have between edges, count as fewer bad ones of
    more.

    Args:
        bad: bad requests.
        total: all requests.
        rate: chance of each to be bad, 0 to 1, both excluded.
    """
    k, n = math.floor(bad), math.ceil(total)
    if k <= n * rate:
        return 1.0
    if k > n:
        return 0.0
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(log + k * math.log(rate) + (n - k) * math.log1p(-rate))
    found = term
    while k < n and term > found * _SMALL:
        term *= (n - k) / (k + 1) * rate / (1 - rate)
        found += term
        k += 1
    return min(1.0, found)


def _plus(totals: Sequence[float], tally: Tally) -> list[float]:
    return [total + value for total, value in zip(totals, tally, strict=True)]
