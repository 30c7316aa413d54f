"""Does the observed share of requests agree with the weight that the router confirmed? Pure.

The weight is a share of users where the router is sticky, and the counts are of requests. So there
are two questions. Is the share unlike the weight, if requests came one by one (`cluster` of them
count as one draw)? And if it is, can the users' own rates explain it? Only where they can't, the
router does not do what it confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.verdict import SampleRatio

DEFAULT_CLUSTER = 50
"""Requests that count as one draw: generous, so that a few busy users never look like a fault."""
DEFAULT_DOUBT = 1e-6
"""Chance below which an obedient router is no longer believed."""
_FULL = 0.99
_MOST_USERS = 200
_FLATTEST, _STEEPEST = 1e-3, 40.0
"""Tilts that are tried, of the heaviest and of the lightest user: beyond, nothing changes."""
_STEPS = 40


class Crowd(NamedTuple):
    """How users may share the requests among them, each of them all on one version."""

    heavy: float
    """Share of the requests that a few users may have, wherever they are."""
    users: float
    """The others are as even as this number of users, at least."""
    counted: tuple[float, ...] = ()
    """Requests of each user, or of each bucket of users, where those are known."""


ONE_BY_ONE: Final = Crowd(heavy=0.0, users=math.inf)
"""A router that is not sticky: each request is drawn anew."""
UNKNOWN: Final = Crowd(heavy=0.9, users=24)
"""Nothing is known of the users: one may have nine tenths of the requests."""


def crowd_of(largest: float) -> Crowd:
    """A crowd in which no user has more than this share of the requests, 0 to 1.

    Shares of at most m, each on the canary with chance w, are no wilder than 1/m equal users: a sum
    of independent parts is bounded by parts at their extremes (Hoeffding 1963).
    """
    return Crowd(heavy=0.0, users=1 / largest)


def judge_sample_ratio(  # noqa: PLR0913 - the counts, and what is taken for granted
    canary: float,
    total: float,
    weight: float,
    *,
    cluster: int = DEFAULT_CLUSTER,
    doubt: float = DEFAULT_DOUBT,
    crowd: Crowd = ONE_BY_ONE,
) -> SampleRatio:
    """Compare the requests that started on the canary with its weight.

    Args:
        canary: requests that started on the canary.
        total: requests that started on either version.
        weight: the canary's weight, percent. At 0 a single request is enough; 100 allows for the
            few that fall back to stable while an instance of the canary is away. At both, all users
            are on one version, so that nothing is theirs to explain.
        cluster: requests that count as one draw.
        doubt: chance below which the router is not believed.
        crowd: what the users' own rates may explain.
    """
    if total <= 0:
        return SampleRatio.TOO_LITTLE
    if weight == 0:
        return SampleRatio.MISMATCH if canary > 0 else SampleRatio.MATCH
    p = min(weight / 100, _FULL)
    draws = total / cluster
    if _tail(canary / cluster, draws, p) < doubt:
        explained = p < _FULL and _by_users(canary / total, draws, p, crowd) >= doubt
        return SampleRatio.EXPLAINED if explained else SampleRatio.MISMATCH
    wrong = (0.0,) if p == _FULL else (0.0, draws)
    blind = any(_tail(extreme, draws, p) >= doubt for extreme in wrong)
    return SampleRatio.TOO_LITTLE if blind else SampleRatio.MATCH


def _by_users(share: float, draws: float, p: float, crowd: Crowd) -> float:
    """Bound on the chance of such a share, with the heavy users where they explain it best."""
    if sum(crowd.counted) > 0:
        return _by_counts(share, p, crowd.counted)
    rest = 1 - crowd.heavy
    low, high = max(0.0, (share - crowd.heavy) / rest), min(1.0, share / rest)
    nearest = min(max(p, low), high)
    users = min(crowd.users, draws * rest)
    return _tail(nearest * users, users, p)


def _tail(k: float, n: float, p: float) -> float:
    """Chernoff's bound on the chance of a share at least as far from `p` as k/n, both sides.

    exp(-n·KL(k/n || p)) bounds each side (Hoeffding 1963, theorem 1); it holds for counts that are
    not whole, too.
    """
    q = min(max(k / n, 0.0), 1.0)
    divergence = sum(x * math.log(x / y) for x, y in ((q, p), (1 - q, 1 - p)) if x > 0)
    return min(1.0, 2 * math.exp(-n * divergence))


def _by_counts(share: float, p: float, counted: Sequence[float]) -> float:
    """Chernoff's bound for users whose requests are known: the smallest over its parameter.

    Those after the first 200 are taken for fewer that are as heavy as the 200th, which explains
    more, and not less (Hoeffding 1963).
    """
    total = math.fsum(counted)
    parts = sorted((requests / total for requests in counted if requests > 0), reverse=True)
    first, rest = parts[:_MOST_USERS], math.fsum(parts[_MOST_USERS:])
    side = 1.0 if share > p else -1.0

    def exponent(size: float) -> float:
        """Of the bound, which has one smallest value."""
        tilt = side * math.exp(size)
        of_first = math.fsum(_log_mean(tilt * part, p) for part in first)
        of_rest = rest / first[-1] * _log_mean(tilt * first[-1], p)
        return of_first + of_rest - tilt * share

    low, high = math.log(_FLATTEST / first[0]), math.log(_STEEPEST / first[-1])
    for _ in range(_STEPS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if exponent(left) <= exponent(right) else (left, high)
    return min(1.0, 2 * math.exp(min(0.0, exponent(low))))


def _log_mean(tilt: float, p: float) -> float:
    """log(1 - p + p·exp(tilt)), for any tilt."""
    if tilt > 0:
        return tilt + math.log(p + (1 - p) * math.exp(-tilt))
    return math.log1p(p * math.expm1(tilt))
