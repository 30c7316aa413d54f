"""The observed share against the confirmed weight."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from analysis.sample_ratio import (
    PINNED,
    UNKNOWN,
    Bucket,
    Crowd,
    crowd_of,
    judge_sample_ratio,
)
from schemas.verdict import SampleRatio


@pytest.mark.parametrize(
    ("canary", "total", "weight", "expected"),
    [
        (0, 0, 0, SampleRatio.TOO_LITTLE),
        (0, 5000, 0, SampleRatio.MATCH),
        (1, 5000, 0, SampleRatio.MISMATCH),
        (0, 300, 5, SampleRatio.TOO_LITTLE),
        (0, 100_000, 5, SampleRatio.MISMATCH),
        (0, 3000, 50, SampleRatio.MISMATCH),
        (1500, 3000, 50, SampleRatio.MATCH),
        (3000, 3000, 50, SampleRatio.MISMATCH),
        (9_990, 10_000, 100, SampleRatio.MATCH),
        (1000, 10_000, 100, SampleRatio.MISMATCH),
    ],
)
def test_counts_and_weight(canary: int, total: int, weight: float, expected: SampleRatio) -> None:
    assert judge_sample_ratio(canary, total, weight) is expected


def test_sticky_users_are_never_taken_for_disobedience() -> None:
    """10 requests by each user, all to one version: 500 rollouts, each looked at 20 times."""
    rng = random.Random(7)
    for _ in range(500):
        weight = rng.choice([1, 5, 25, 50, 75])
        canary = total = 0
        for _ in range(20):
            users = rng.randrange(1, 60)
            canary += 10 * sum(rng.random() < weight / 100 for _ in range(users))
            total += 10 * users
            assert judge_sample_ratio(canary, total, weight) is not SampleRatio.MISMATCH


Floats = npt.NDArray[np.float64]

UNIFORM = [1.0]


def _rates(kind: str, rng: random.Random) -> list[float]:
    """Requests per second of each user."""
    match kind.split():
        case ["heavy", share, others]:
            return [float(share) / (1 - float(share)) * int(others), *(UNIFORM * int(others))]
        case ["equal", users]:
            return UNIFORM * int(users)
        case ["pareto", alpha, users]:
            return [rng.paretovariate(float(alpha)) for _ in range(int(users))]
        case ["zipf", power, users]:
            return [1 / (rank + 1) ** float(power) for rank in range(int(users))]
        case ["lognormal", sigma, users]:
            return [rng.lognormvariate(0, float(sigma)) for _ in range(int(users))]
    raise AssertionError(kind)


CROWDS = [
    "heavy 0.3 60",
    "heavy 0.6 60",
    "heavy 0.9 1000",
    "equal 50",
    "equal 24",
    "pareto 2 100",
    "pareto 1.5 200",
    "zipf 1 100",
    "zipf 1.5 1000",
    "lognormal 1.5 100",
]


@pytest.mark.parametrize("kind", CROWDS)
def test_no_obedient_router_is_blamed_for_its_users_own_rates(kind: str) -> None:
    """500 rollouts with sticky users, each looked at from its first second to its third hour."""
    rng = random.Random(11)
    blamed = 0
    for _ in range(500):
        weight = rng.choice([1, 5, 25, 50, 75])
        rates = _rates(kind, rng)
        total = sum(rates)
        canary = sum(rate for rate in rates if rng.random() < weight / 100)
        looks = (50.0, 500.0, 5e3, 5e4, 5e5)
        blamed += any(
            judge_sample_ratio(canary / total * seen, seen, weight, crowd=UNKNOWN)
            is SampleRatio.MISMATCH
            for seen in looks
        )
    assert blamed == 0


def test_the_heavy_user_of_the_example_is_seen_and_not_blamed() -> None:
    """15 requests per second of 50 are one user's, who is on the canary: for an hour."""
    canary = 15 + 0.05 * 35
    found = [
        judge_sample_ratio(canary * s, 50 * s, 5, crowd=UNKNOWN) for s in (1, 10, 60, 600, 3600)
    ]
    assert SampleRatio.MISMATCH not in found
    assert found[-1] is SampleRatio.EXPLAINED
    assert judge_sample_ratio(canary * 3600, 50 * 3600, 5) is SampleRatio.MISMATCH


@pytest.mark.parametrize(
    ("canary", "weight", "within"),
    [
        (1.0, 1, 5_000),
        (1.0, 5, 5_000),
        (1.0, 25, 10_000),
        (0.0, 50, 15_000),
        (1.0, 50, 15_000),
        (0.0, 75, 10_000),
        (0.95, 5, 50_000),
        (0.02, 75, 50_000),
    ],
)
def test_a_router_that_sends_all_one_way_is_found(
    canary: float, weight: float, within: float
) -> None:
    assert (
        judge_sample_ratio(canary * within, within, weight, crowd=UNKNOWN) is SampleRatio.MISMATCH
    )


@pytest.mark.parametrize("weight", [1, 5, 25])
def test_a_canary_without_users_at_a_small_weight_is_said(weight: float) -> None:
    """Of 50 users none is on a canary of 5 % in 8 of 100 rollouts: that is nobody's fault."""
    assert judge_sample_ratio(0, 200_000, weight, crowd=UNKNOWN) is SampleRatio.EXPLAINED


@pytest.mark.parametrize(("weight", "canary"), [(0, 1), (100, 50_000)])
def test_where_all_users_are_on_one_version_no_rate_explains_anything(
    weight: float, canary: int
) -> None:
    assert judge_sample_ratio(canary, 100_000, weight, crowd=UNKNOWN) is SampleRatio.MISMATCH
    assert judge_sample_ratio(canary, 100_000, weight, crowd=crowd_of(0.9)) is SampleRatio.MISMATCH


def test_what_is_known_of_users_sharpens_the_check() -> None:
    assert judge_sample_ratio(30_000, 100_000, 5, crowd=crowd_of(0.5)) is SampleRatio.EXPLAINED
    assert judge_sample_ratio(30_000, 100_000, 5, crowd=crowd_of(0.01)) is SampleRatio.MISMATCH


def _counted(*users: tuple[float, float]) -> Crowd:
    """Of each user, or bucket of users: requests on the canary, and all."""
    return UNKNOWN._replace(counted=tuple(Bucket(*user) for user in users))


def test_counts_of_users_say_what_they_explain() -> None:
    heavy = (30_000, 30_000)
    found = judge_sample_ratio(33_500, 100_000, 5, crowd=_counted(heavy, *EVEN[:35], *OTHERS[:665]))
    assert found is SampleRatio.EXPLAINED
    crowd = _counted(heavy, *EVEN[:300], *OTHERS[:400])
    assert judge_sample_ratio(60_000, 100_000, 5, crowd=crowd) is SampleRatio.MISMATCH
    crowd = _counted((0, 30_000), *OTHERS[:700])
    assert judge_sample_ratio(0, 100_000, 5, crowd=crowd) is SampleRatio.MISMATCH
    crowd = _counted(*EVEN[:335], *OTHERS[:665])
    assert judge_sample_ratio(33_500, 100_000, 5, crowd=crowd) is SampleRatio.MISMATCH
    alone = _counted((100_000, 100_000))
    assert judge_sample_ratio(100_000, 100_000, 5, crowd=alone) is SampleRatio.EXPLAINED
    assert judge_sample_ratio(100_000, 100_000, 5, crowd=_counted((0, 0))) is SampleRatio.MISMATCH


EVEN = [(100.0, 100.0)] * 1000
OTHERS = [(0.0, 100.0)] * 1000


def test_users_who_were_sent_elsewhere_than_their_requests_went_explain_nothing() -> None:
    """Half of the users are on the canary, whose instances are away: stable has every request."""
    crowd = _counted(*EVEN[:50], *OTHERS[:50])
    assert judge_sample_ratio(0, 20_000, 50, crowd=crowd) is SampleRatio.MISMATCH


def test_counts_of_users_take_nothing_from_what_is_promised_of_them() -> None:
    counted = _counted((30_000, 30_000), (1000, 70_000)).counted
    crowd = crowd_of(0.01)._replace(counted=counted)
    assert judge_sample_ratio(31_000, 100_000, 5, crowd=crowd) is SampleRatio.MISMATCH


LOOKS = (500, 2000, 5000, 20_000, 200_000)
BUCKETS, SAMPLED = 64, 1 / 16
"""As Envoy counts them."""


def _looks(
    rates: list[float], weight: float, on: Floats, rng: np.random.Generator, uneven: float = 1
) -> list[SampleRatio]:
    """What is found of a rollout at each look, where a sample of requests is counted by buckets.

    Args:
        rates: of the users.
        weight: the canary's, percent.
        on: the chance with which a request of each user goes to the canary.
        rng: draws requests, sample and buckets.
        uneven: how much more often the same user asks the canary.
    """
    shares, bucket = np.array(rates), rng.integers(0, BUCKETS, len(rates))
    chances = np.concatenate([shares * on * uneven, shares * (1 - on)])
    seen, sample, found = np.zeros(len(chances)), np.zeros(len(chances)), []
    for before, now in pairwise((0, *LOOKS)):
        new = rng.multinomial(now - before, chances / chances.sum())
        seen += new
        sample += rng.binomial(new, SAMPLED)
        canary, stable = (np.bincount(bucket, half, BUCKETS) for half in np.split(sample, 2))
        crowd = _counted(*zip(canary.tolist(), (canary + stable).tolist(), strict=True))
        on_canary = float(seen[: len(rates)].sum())
        found.append(judge_sample_ratio(on_canary, now, weight, crowd=crowd))
    return found


@pytest.mark.parametrize("kind", [*CROWDS, "equal 10", "pareto 0.8 300", "lognormal 3 50"])
def test_no_obedient_router_is_blamed_where_a_sample_is_counted(kind: str) -> None:
    """500 rollouts, each looked at five times; a version may be asked for more than the other."""
    for seed in range(500):
        rng, draw = np.random.default_rng(seed), random.Random(seed)
        rates = _rates(kind, draw)
        weight, uneven = draw.choice([1, 5, 25, 50, 75]), draw.choice([0.5, 1, 2])
        on = (rng.random(len(rates)) < weight / 100).astype(float)
        assert SampleRatio.MISMATCH not in _looks(rates, weight, on, rng, uneven)


@pytest.mark.parametrize("kind", [*CROWDS, "pareto 1.1 500"])
def test_a_router_that_half_obeys_is_found_whatever_the_users_rates(kind: str) -> None:
    """Half of the requests at a weight of 5 %, drawn one by one: found after 5,000 in 9 of 10."""
    found = 0
    for seed in range(40):
        rng, rates = np.random.default_rng(seed), _rates(kind, random.Random(seed))
        looks = _looks(rates, 5, np.full(len(rates), 0.5), rng)
        assert looks[LOOKS.index(20_000)] is SampleRatio.MISMATCH
        found += looks[LOOKS.index(5_000)] is SampleRatio.MISMATCH
    assert found >= (36 if kind != "heavy 0.9 1000" else 15)


@pytest.mark.parametrize(("weight", "share"), [(5, 50), (50, 5), (5, 25), (25, 75), (1, 10)])
@pytest.mark.parametrize("sticky", [False, True])
def test_with_a_thousand_users_a_wrong_weight_is_found(
    weight: float, share: float, *, sticky: bool
) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chance = np.full(1000, share / 100)
        on = (rng.random(1000) < chance).astype(float) if sticky else chance
        found = _looks(UNIFORM * 1000, weight, on, rng)
        assert found[LOOKS.index(20_000)] is SampleRatio.MISMATCH


def test_a_largest_user_holds_what_it_promises() -> None:
    rng = random.Random(5)
    for kind in ("equal 20", "heavy 0.05 20", "zipf 0 20"):
        rates = _rates(kind, rng)
        largest, total = max(rates) / sum(rates), sum(rates)
        for _ in range(2000):
            weight = rng.choice([1, 5, 25, 50, 75])
            canary = sum(rate for rate in rates if rng.random() < weight / 100)
            found = judge_sample_ratio(canary / total * 1e7, 1e7, weight, crowd=crowd_of(largest))
            assert found is not SampleRatio.MISMATCH


@pytest.mark.parametrize("weight", [0.01, 5, 50, 95])
@pytest.mark.parametrize("canary", [0, 0.3, 1])
def test_a_router_that_keeps_users_is_blamed_for_no_share_between(
    weight: float, canary: float
) -> None:
    found = judge_sample_ratio(canary * 1e6, 1e6, weight, crowd=PINNED)
    assert found is not SampleRatio.MISMATCH


def test_a_router_that_keeps_users_is_blamed_at_both_ends() -> None:
    assert judge_sample_ratio(1, 1000, 0, crowd=PINNED) is SampleRatio.MISMATCH
    assert judge_sample_ratio(500, 100_000, 100, crowd=PINNED) is SampleRatio.MISMATCH
    assert judge_sample_ratio(100_000, 100_000, 100, crowd=PINNED) is SampleRatio.MATCH


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_where_a_lane_brings_more_only_less_is_a_fault(share: float) -> None:
    assert judge_sample_ratio(share * 1e6, 1e6, 5, at_least=True) is SampleRatio.MATCH
    assert judge_sample_ratio(0, 1e6, 5, at_least=True) is SampleRatio.MISMATCH
    assert judge_sample_ratio(1, 1e6, 0, at_least=True) is SampleRatio.MISMATCH
