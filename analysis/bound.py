"""An upper bound on the canary's extra failures that holds at all times at once.

With probability 1 - beta, the request-weighted mean of `p_c - weight * p_b` over everything seen is
never above the bound, even if rates and split move. Zero errors in N canary requests give about
`cluster * (ln(1/beta) + ln 24) / N`.

Sources: a mixture of the test supermartingales of Howard et al. 2021 (arXiv 1810.08240), with
`exp(L + u * N * (1 - a))` per point a; the empirical guard is their normal mixture.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Self

from analysis.evalues import Tally

_POINTS = 24
_GAPS = tuple(10.0 ** (-3 + 3 * i / (_POINTS - 1)) for i in range(_POINTS))
_LOGS = tuple(math.log1p(-gap) if gap < 1.0 else -math.inf for gap in _GAPS)
_EMPIRICAL_FROM = 8
_STEPS = 60
_EXACT = 1e-13


class ExcessBound:
    """Accumulates one metric's counts, and bounds its mean excess over stable.

    Args:
        beta: chance that the bound is ever too low.
        cluster: errors that may have come as one.
        against_stable: False bounds the canary's own rate (for a limit).
    """

    __slots__ = ("_beta", "_cluster", "_intervals", "_logs", "_requests", "_rho", "_sum", "_var")

    def __init__(self, beta: float, cluster: int, *, against_stable: bool = True) -> None:
        self._beta = beta
        self._cluster = cluster
        self._rho = 1.0 if against_stable else 0.0
        self._logs = [0.0] * _POINTS
        self._requests = 0.0
        self._sum = 0.0
        self._var = 0.0
        self._intervals = 0

    @property
    def requests(self) -> float:
        """Canary requests that the bound rests on."""
        return self._requests

    def add(self, tally: Tally) -> None:
        """Count one interval; one without stable requests says nothing of an excess."""
        bad_c, n_c, bad_b, n_b = tally
        if n_c <= 0 or (n_b <= 0 and self._rho > 0):
            return
        scale = self._rho * n_c / n_b if self._rho > 0 else 0.0
        if bad_c > 0:
            self._logs = [total + bad_c * log for total, log in zip(self._logs, _LOGS, strict=True)]
        if bad_b > 0 and scale > 0:
            self._logs = [
                total + bad_b * math.log1p(scale * gap)
                for total, gap in zip(self._logs, _GAPS, strict=True)
            ]
        excess = bad_c - scale * bad_b
        mean = self._sum / self._requests if self._requests > 0 else 0.0
        self._var += (excess - n_c * mean) ** 2
        self._sum += excess
        self._requests += n_c
        self._intervals += 1

    def upper(self) -> float:
        """The bound, from -1 to 1; 1 before any data.

        Newton's method, from where a single point of the mixture is enough: the log of the mixture
        grows and is convex, so each step comes down to the root and never passes it.
        """
        if self._requests <= 0 or not self._rejects(1.0):
            return 1.0
        needed = math.log(_POINTS / self._beta)
        slopes = [self._requests * gap / self._cluster for gap in _GAPS]
        starts = [total / self._cluster for total in self._logs]
        firsts = ((needed - at) / slope for at, slope in zip(starts, slopes, strict=True))
        excess: float = min(*firsts, 1.0)
        for _ in range(_STEPS):
            parts = [at + slope * excess for at, slope in zip(starts, slopes, strict=True)]
            top = max(parts)
            shares = [math.exp(part - top) for part in parts]
            whole = math.fsum(shares)
            steepness = sum(map(operator.mul, shares, slopes)) / whole
            step = (top + math.log(whole) - needed) / steepness
            excess -= step
            if step <= _EXACT * max(abs(excess), _EXACT):
                break
        return min(max(excess, self._empirical(), -1.0), 1.0)

    def within(self, tolerance: float) -> bool:
        """Whether the bound is at most the tolerance (cheaper than `upper`)."""
        return self._requests > 0 and self._rejects(tolerance) and self._empirical() <= tolerance

    def _rejects(self, excess: float) -> bool:
        reach = excess * self._requests
        exponents = [
            (total + reach * gap) / self._cluster
            for total, gap in zip(self._logs, _GAPS, strict=True)
        ]
        top: float = max(exponents)
        needed: float = math.log(_POINTS / self._beta)
        if top >= needed:
            return True
        if top + math.log(_POINTS) < needed:
            return False
        whole = math.fsum(math.exp(exponent - top) for exponent in exponents)
        return top + math.log(whole) >= needed

    def _empirical(self) -> float:
        if self._intervals < _EMPIRICAL_FROM:
            return -1.0
        prior = max(self._var / 3.0, 1.0)
        spread = self._var + prior
        width = math.sqrt(2.0 * spread * math.log1p(math.sqrt(spread / prior) / (2.0 * self._beta)))
        return (self._sum + width) / self._requests

    def dump(self) -> list[float | None]:
        """The state as plain numbers; None stands for minus infinity."""
        logs = [None if math.isinf(log) else log for log in self._logs]
        return [self._intervals, self._requests, self._sum, self._var, *logs]

    @classmethod
    def load(
        cls,
        state: Sequence[float | None],
        beta: float,
        cluster: int,
        *,
        against_stable: bool = True,
    ) -> Self:
        """Take up a dumped state."""
        bound = cls(beta, cluster, against_stable=against_stable)
        head = [0.0 if value is None else value for value in state[:4]]
        bound._intervals = int(head[0])
        bound._requests, bound._sum, bound._var = head[1:]
        bound._logs = [-math.inf if log is None else log for log in state[4:]]
        return bound
