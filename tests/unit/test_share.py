"""The observed share against the confirmed weight."""

from __future__ import annotations

import random

import pytest

from analysis.share import judge_share
from schemas.verdict import Share


@pytest.mark.parametrize(
    ("canary", "total", "weight", "expected"),
    [
        (0, 0, 0, Share.TOO_LITTLE),
        (0, 5000, 0, Share.AGREES),
        (1, 5000, 0, Share.DISOBEYED),
        (0, 300, 5, Share.TOO_LITTLE),
        (0, 100_000, 5, Share.DISOBEYED),
        (0, 3000, 50, Share.DISOBEYED),
        (1500, 3000, 50, Share.AGREES),
        (3000, 3000, 50, Share.DISOBEYED),
        (9_990, 10_000, 100, Share.AGREES),
        (1000, 10_000, 100, Share.DISOBEYED),
    ],
)
def test_counts_and_weight(canary: int, total: int, weight: float, expected: Share) -> None:
    assert judge_share(canary, total, weight) is expected


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
            assert judge_share(canary, total, weight) is not Share.DISOBEYED
