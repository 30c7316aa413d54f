"""Bets on the canary's share of the bad requests, with stakes that follow from earlier intervals.

Under the null, given all earlier intervals, the canary's share s of an interval's bad requests has
a mean of at most pi, its share of the (margin-weighted) requests. So for any stake in [0, 1] that
was chosen before the interval, `1 + stake * (s / pi - 1)` has a mean of at most 1, and a product of
such factors is a supermartingale that starts at 1: nothing is asked of sizes of bursts, or of
shocks that hit both arms. Fixed stakes waste that: a large one is lost while all is well, and a
small one gains little once it isn't. Here the stake is a chance, as earlier intervals have it, that
the canary is worse by now: near nothing while all is well, and nearly all in a clear regression.

Sources: Waudby-Smith and Ramdas (arXiv 2010.09686), predictable stakes; Kelly 1956 for a stake
that is the chance; Shin, Ramdas and Rinaldo (arXiv 2203.03532), the sum of log likelihood ratios
that begins anew at zero; Ramdas et al. (arXiv 2210.01948) for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Self

from analysis.evalues import StartMixture, Tally, canary_share, share_odds

FIXED: Final = (0.1, 0.3, 0.5, 0.7, 0.95)
"""Stakes that stay, for small differences that are there from the beginning."""
FOLLOWED: Final = (2.0, 4.0)
"""Rates, in times of stable's, that the stakes which follow are looking out for."""
_FIXED_PART: Final = 0.6
"""Of the wealth; the rest is on the stakes that follow, half on each. Chosen by simulation: small
differences are found no later than by stakes that stay (tables 1 and 6 of docs/judging.md)."""
_FIRST_STAKE: Final = 0.5
"""In the first interval that has bad requests: nothing was learnt yet, for or against."""
_MOST_STAKE: Final = 0.98
_RISEN: Final = 0.25
"""Of a stake that follows, where the canary may be worse by now."""
_STEP: Final = 6.0
"""Most that one interval changes the log odds of a regression: a burst is no proof of one."""
_LEAD: Final = 6.0
"""How far the log odds may be above even, so that what is over is forgotten soon."""
_PRIOR: Final = 0.5
"""Log odds against a regression after the first interval with bad requests, less ln 2."""
_CEILING: Final = 1e200


class FollowingStake:
    """One process whose stake is the chance of a regression to so many times stable's rate.

    A regression is as likely to begin in one interval with bad requests as in another, so the odds
    for "by now" before seeing any are about 1 to their number. The log likelihood ratio since it
    began is added to that. It takes errors as independent; where they are not, stakes are poor and
    the promise is the same.
    """

    __slots__ = ("_ahead", "_times", "_told", "wealth")

    def __init__(self, times: float) -> None:
        self._times = times
        self._ahead = 0.0
        self._told = 0
        self.wealth = 1.0

    @property
    def stake(self) -> float:
        """Of the wealth, in the next interval; 0 to 0.98."""
        if self._told == 0:
            return _FIRST_STAKE
        return _MOST_STAKE / (1.0 + math.exp(self._prior - self._ahead))

    def update(self, odds: Sequence[float], whole: Tally, share: float) -> None:
        """Bet on one interval, then learn from it.

        Args:
            odds: of each group with bad requests, the canary's share of them over its share of the
                requests.
            whole: the interval, all groups together.
            share: the canary's (margin-weighted) share of the requests, 0 to 1.
        """
        bad = whole.bad_c + whole.bad_b
        if not odds or bad <= 0 or not 0.0 < share < 1.0:
            return
        stake = self.stake
        gain = math.prod(1.0 + stake * (odd - 1.0) for odd in odds)
        self.wealth = min(self.wealth * gain, _CEILING)
        self._told += 1
        rise = whole.bad_c * math.log(self._times)
        ratio = rise - bad * math.log1p(share * (self._times - 1.0))
        ahead = self._ahead + min(max(ratio, -_STEP), _STEP)
        self._ahead = min(max(ahead, 0.0), self._prior + _LEAD)

    @property
    def _prior(self) -> float:
        return _PRIOR + math.log1p(self._told)

    def dump(self) -> list[float]:
        """The state as plain numbers."""
        return [self._told, self._ahead, self.wealth]

    @classmethod
    def load(cls, state: Sequence[float], times: float) -> Self:
        """Take up a dumped state."""
        told, ahead, wealth = state
        one = cls(times)
        one._told, one._ahead, one.wealth = int(told), ahead, wealth
        return one


class AdaptiveBets:
    """The e-process of `method: adaptive`: stakes that stay and stakes that follow, averaged.

    Args:
        looks: intervals over which the stakes that stay are laid out (see `StartMixture`).
    """

    __slots__ = ("_fixed", "_following", "told")

    def __init__(self, looks: int) -> None:
        self._fixed = StartMixture(len(FIXED), looks)
        self._following = [FollowingStake(times) for times in FOLLOWED]
        self.told = 0
        """Intervals with bad requests."""

    @property
    def value(self) -> float:
        """The e-value: odds against the null, 1 at the start."""
        following = math.fsum(one.wealth for one in self._following) / len(self._following)
        return _FIXED_PART * self._fixed.value + (1.0 - _FIXED_PART) * following

    def update(self, groups: Sequence[Tally], margin: float) -> None:
        """Count one interval.

        Args:
            groups: its tallies, of groups of pods that are independent given common shocks.
            margin: times stable's rate that is still good.
        """
        whole = Tally(*map(math.fsum, zip(*groups, strict=True)))
        self.bet(share_odds(groups, margin), whole, margin)

    def bet(self, odds: Sequence[float], whole: Tally, margin: float) -> None:
        """Count one interval whose odds are known.

        Args:
            odds: of each group with bad requests, the canary's share of them over its share of the
                requests.
            whole: what is learnt from afterwards: the interval, or more.
            margin: times stable's rate that is still good.
        """
        factors = [math.prod(1.0 + stake * (odd - 1.0) for odd in odds) for stake in FIXED]
        self._fixed.update(factors)
        self.told += bool(odds)
        for one in self._following:
            one.update(odds, whole, canary_share(whole, margin))

    @property
    def least(self) -> float:
        """The e-value that is left if the next interval's bad requests are stable's alone."""
        fixed = self._fixed.after([1.0 - stake for stake in FIXED])
        following = math.fsum(one.wealth * (1.0 - one.stake) for one in self._following)
        return _FIXED_PART * fixed + (1.0 - _FIXED_PART) * following / len(self._following)

    @property
    def suspicious(self) -> bool:
        """Whether the stakes that follow have begun to rise."""
        return any(one.stake >= _RISEN for one in self._following)

    def skip(self) -> None:
        """Count one interval that says nothing."""
        self._fixed.update([1.0] * len(FIXED))

    def dump(self) -> list[list[float]]:
        """The state as plain numbers."""
        return [[self.told], self._fixed.dump(), *(one.dump() for one in self._following)]

    @classmethod
    def load(cls, state: Sequence[Sequence[float]], looks: int) -> Self:
        """Take up a dumped state."""
        (told,), fixed, *following = state
        bets = cls(looks)
        bets.told = int(told)
        bets._fixed = StartMixture.load(fixed, looks)
        bets._following = [
            FollowingStake.load(one, times) for one, times in zip(following, FOLLOWED, strict=True)
        ]
        return bets
