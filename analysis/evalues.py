"""E-processes: evidence against "the canary is good" that may be looked at at any time.

An e-process starts at 1 and, while the null hypothesis holds, is a supermartingale; so the chance
that it *ever* reaches 1/alpha is at most alpha (Ville's inequality), whatever the looks and stops.
The null is `p_c <= margin * p_b + delta` in every interval; stable's rate p_b may move freely.

Sources: Lindon and Malek 2022 (arXiv 2011.03567), Shin, Ramdas and Rinaldo 2022 (arXiv 2203.03532)
for the mixture over start times, Waudby-Smith and Ramdas (arXiv 2010.09686) for betting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

RATIOS = tuple(1.25 * 16.0 ** (i / 11) for i in range(12))
"""Rate ratios that the likelihood-ratio test mixes over: 12 points, log-spaced from 1.25 to 20."""
STAKES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
"""Shares of its wealth that the share-betting test stakes, mixed with equal weights."""
_FIRST = 0.75
_LATER = 0.25
_CEILING = 1e200


class Tally(NamedTuple):
    """One interval (or one pod group of it): bad and all requests of canary and stable."""

    bad_c: float
    n_c: float
    bad_b: float
    n_b: float


def log_lr_factor(tally: Tally, ratio: float, margin: float, delta: float, cluster: int) -> float:
    """Log of one interval's likelihood-ratio factor against a canary `ratio` times over the margin.

    Valid when errors are independent given the past, or arrive in independent clusters of at most
    `cluster`. margin = 0 tests against the limit `delta` alone.
    """
    share = canary_share(tally, margin)
    damped = 1.0 + share * (ratio - 1.0)
    gain = tally.bad_c * math.log(ratio) - (tally.bad_c + tally.bad_b) * math.log(damped)
    return (gain - tally.n_c * delta * (ratio / damped - 1.0)) / cluster


def lr_factors(tally: Tally, margin: float, delta: float, cluster: int) -> list[float]:
    """The likelihood-ratio factors of one interval, one per entry of RATIOS."""
    return [
        math.exp(min(log_lr_factor(tally, ratio, margin, delta, cluster), 460.0))
        for ratio in RATIOS
    ]


def share_factors(groups: Sequence[Tally], margin: float) -> list[float]:
    """The betting factors of one interval, one per entry of STAKES.

    Each group bets on the canary's share of the bad requests, which under the null has a mean of at
    most `margin * n_c / (margin * n_c + n_b)`; bursts that hit both arms do not change that.
    """
    odds = share_odds(groups, margin)
    if len(odds) == 1:
        gain = odds[0] - 1.0
        return [1.0 + stake * gain for stake in STAKES]
    return [math.prod(1.0 + stake * (odd - 1.0) for odd in odds) for stake in STAKES]


def share_odds(groups: Sequence[Tally], margin: float) -> list[float]:
    """The canary's share of the bad requests over its share of all, of each group that has some."""
    return [
        tally.bad_c / (tally.bad_c + tally.bad_b) / share
        for tally in groups
        if tally.bad_c + tally.bad_b > 0 and (share := canary_share(tally, margin)) > 0
    ]


def canary_share(tally: Tally, margin: float) -> float:
    """The canary's share of the requests, with its own weighted by the margin; 0 without any."""
    scaled = margin * tally.n_c
    whole = scaled + tally.n_b
    return scaled / whole if whole > 0 else 0.0


class StartMixture:
    """An e-process averaged over its alternatives and over when the regression begins.

    Of the wealth 1, 0.75 is laid out in the first interval and 0.25 is spread over `looks`
    intervals; what is not laid out yet is kept. A regression that begins late is then met with
    fresh wealth instead of with what the healthy time has eaten.
    """

    __slots__ = ("_kept", "_looks", "_seen", "_wealth")

    def __init__(self, alternatives: int, looks: int) -> None:
        self._wealth = [0.0] * alternatives
        self._kept = 1.0
        self._looks = looks
        self._seen = 0

    @property
    def value(self) -> float:
        """The e-value: odds against the null, 1 at the start."""
        return math.fsum(self._wealth) + self._kept

    def update(self, factors: Sequence[float]) -> None:
        """Count one interval, with one factor per alternative."""
        laid = self._laid()
        self._seen += 1
        self._kept = max(self._kept - laid, 0.0)
        fresh = laid / len(self._wealth)
        self._wealth = [
            min((wealth + fresh) * factor, _CEILING)
            for wealth, factor in zip(self._wealth, factors, strict=True)
        ]

    def after(self, factors: Sequence[float]) -> float:
        """The e-value that one more interval with these factors would make of it."""
        laid = self._laid()
        fresh = laid / len(self._wealth)
        pairs = zip(self._wealth, factors, strict=True)
        return math.fsum((w + fresh) * f for w, f in pairs) + max(self._kept - laid, 0.0)

    def _laid(self) -> float:
        """What is laid out in the next interval."""
        if self._seen >= self._looks:
            return 0.0
        return _LATER / self._looks + (_FIRST if self._seen == 0 else 0.0)

    def dump(self) -> list[float]:
        """The state as plain numbers."""
        return [self._seen, self._kept, *self._wealth]

    @classmethod
    def load(cls, state: Sequence[float], looks: int) -> Self:
        """Take up a dumped state."""
        seen, kept, *wealth = state
        mixture = cls(len(wealth), looks)
        mixture._seen = int(seen)
        mixture._kept = kept
        mixture._wealth = wealth
        return mixture


def fixed_split_log_e(bad_c: float, bad_b: float, share: float, prior: float = 1.0) -> float:
    """Log e-value of all errors at once, for a split that never changed (Lindon and Malek).

    Not used for judging, because it does not survive a changed weight; the closed form is a check
    on the rest. `prior` is both parameters of the Beta prior.
    """
    return (
        _log_beta(prior + bad_c, prior + bad_b)
        - _log_beta(prior, prior)
        - bad_c * math.log(share)
        - bad_b * math.log1p(-share)
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
