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
_UNEVEN = 2.0
"""The same users may ask for one version so many times as often as for the other."""
_STAKES = (0.1, 0.25, 0.5, 0.75, 0.95)
_ALIKE = 0.1
"""Counts by user explain what was seen where their own share differs from it by no more."""


class Bucket(NamedTuple):
    """Requests of a user, or of users who are in no other bucket: all of them, or a sample."""

    canary: float
    total: float


class Crowd(NamedTuple):
    """How users may share the requests among them, each of them all on one version."""

    heavy: float
    """Share of the requests that a few users may have, wherever they are."""
    users: float
    """The others are as even as this number of users, at least."""
    counted: tuple[Bucket, ...] = ()
    """Requests of users, where those are counted."""


ONE_BY_ONE: Final = Crowd(heavy=0.0, users=math.inf)
"""A router that is not sticky: each request is drawn anew."""
UNKNOWN: Final = Crowd(heavy=0.9, users=24)
"""Nothing is known of the users: one may have nine tenths of the requests."""


PINNED: Final = Crowd(heavy=1.0, users=math.inf)
"""A router that keeps users whatever the weight becomes: all shares are theirs to explain."""


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
    at_least: bool = False,
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
        at_least: whether the canary may have more than its weight: only less is a fault then.
    """
    if total <= 0:
        return SampleRatio.TOO_LITTLE
    if weight == 0:
        return SampleRatio.MISMATCH if canary > 0 else SampleRatio.MATCH
    if at_least and canary / total >= weight / 100:
        return SampleRatio.MATCH
    p = min(weight / 100, _FULL)
    draws = total / cluster
    all_there = p == _FULL and canary / total >= _FULL  # more than what is allowed for is no fault
    if not all_there and _tail(canary / cluster, draws, p) < doubt:
        explained = p < _FULL and _explained(canary / total, draws, p, crowd) >= doubt
        return SampleRatio.EXPLAINED if explained else SampleRatio.MISMATCH
    wrong = (0.0,) if p == _FULL else (0.0, draws)
    blind = any(_tail(extreme, draws, p) >= doubt for extreme in wrong)
    return SampleRatio.TOO_LITTLE if blind else SampleRatio.MATCH


def _explained(share: float, draws: float, p: float, crowd: Crowd) -> float:
    """Bound on the chance of such a share, by all that is known of the users."""
    buckets = [bucket for bucket in crowd.counted if bucket.total > 0]
    if not buckets:
        return _by_users(share, draws, p, crowd)
    counted = math.fsum(one.canary for one in buckets) / math.fsum(one.total for one in buckets)
    chance = _by_buckets(buckets, p)
    promised = crowd.heavy == 0
    if promised or abs(counted - share) > _ALIKE:
        # In the second case requests went elsewhere than their users were sent.
        chance = min(chance, _by_users(share, draws, p, crowd))
    return chance


def _by_users(share: float, draws: float, p: float, crowd: Crowd) -> float:
    """Bound on the chance of such a share, with the heavy users where they explain it best."""
    rest = 1 - crowd.heavy
    if rest <= 0:
        return 1.0
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


def _by_buckets(buckets: Sequence[Bucket], p: float) -> float:
    """Bound on the chance that the users of so many buckets are on the canary so often.

    Whatever a bucket's users ask for, its expected share is the weight, as each of them is on the
    canary with that chance; by a version that is asked for twice as often as the other, its odds
    are doubled at most (by Jensen). So a stake on each bucket's share has an expectation of 1 at
    most, and so has their product, since no user is in two of them: it exceeds 1/x with chance x
    at most (Markov). That holds for both sides and all stakes together, as their mean.
    """
    high, low = _UNEVEN * p / (1 - p + _UNEVEN * p), p / (p + _UNEVEN * (1 - p))
    shares = [one.canary / one.total for one in buckets]
    wealth = [
        math.fsum(math.log1p(stake * (share / expected - 1)) for share in side)
        for side, expected in ((shares, high), ([1 - share for share in shares], 1 - low))
        for stake in _STAKES
    ]
    most = max(wealth)
    mean = most + math.log(math.fsum(math.exp(one - most) for one in wealth) / len(wealth))
    return math.exp(-max(0.0, mean))
