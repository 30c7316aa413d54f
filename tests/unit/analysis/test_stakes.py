"""Stakes that follow from earlier intervals: known values, and that the promise needs no more."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evalues import STAKES, StartMixture, Tally, share_factors
from analysis.stakes import AdaptiveBets

KNOWN = Tally(5, 750, 10, 14250)


def after(tallies: Sequence[Tally], margin: float = 1.0) -> AdaptiveBets:
    bets = AdaptiveBets(240)
    for tally in tallies:
        bets.update([tally], margin)
    return bets


def next_value(bets: AdaptiveBets, groups: Sequence[Tally], margin: float = 1.0) -> float:
    copy = AdaptiveBets.load(bets.dump(), 240)
    copy.update(groups, margin)
    return copy.value


def test_the_odds_have_the_known_values() -> None:
    seen = [after([KNOWN] * times).value for times in (1, 2, 3)]
    assert seen == pytest.approx([3.43563958, 17.43781859, 101.50542605], rel=1e-8)


def test_a_clear_regression_at_half_of_the_requests_takes_six_intervals() -> None:
    """Any test that stands bursts of any size needs five: 2 ** 5 > 20."""
    only_canary = [after([Tally(30, 100, 0, 100)] * times).value for times in (5, 6)]
    assert only_canary == pytest.approx([14.29165259, 27.01065844], rel=1e-8)
    plain = StartMixture(len(STAKES), 240)
    for _ in range(7):
        plain.update(share_factors([Tally(30, 100, 0, 100)], 1.0))
    assert plain.value < 20


counts = st.integers(0, 30)
requests = st.integers(1, 400)
histories = st.lists(
    st.builds(lambda a, n, b, m: Tally(a, n + 30, b, m + 30), counts, requests, counts, requests),
    max_size=8,
)
bursts = st.lists(st.integers(1, 500), min_size=1, max_size=4)
few = settings(max_examples=40)


@few
@given(
    histories,
    st.lists(st.tuples(st.integers(1, 9), bursts), min_size=1, max_size=2),
    st.sampled_from([1.0, 1.5]),
    requests,
    requests,
)
def test_whatever_was_before_bursts_and_common_shocks_give_nothing(
    history: list[Tally],
    shocks: list[tuple[int, list[int]]],
    margin: float,
    n_c: int,
    n_b: int,
) -> None:
    """Exact: a shock of random strength, whose bursts each fall on the canary by its share."""
    bets = after(history, margin)
    share = margin * n_c / (margin * n_c + n_b)
    mean, chances = 0.0, sum(chance for chance, _ in shocks)
    for chance, sizes in shocks:
        for fallen in itertools.product((True, False), repeat=len(sizes)):
            bad_c = sum(itertools.compress(sizes, fallen))
            likely = math.prod(share if one else 1 - share for one in fallen)
            tally = Tally(bad_c, n_c, sum(sizes) - bad_c, n_b)
            mean += chance / chances * likely * next_value(bets, [tally], margin)
    assert mean <= bets.value * (1 + 1e-9)


@few
@given(histories, st.floats(0.0, 1.0), st.integers(1, 6))
def test_pods_that_are_shocked_apart_give_nothing_in_groups(
    history: list[Tally], strength: float, size: int
) -> None:
    """Two pairs of alike pods, each with a shock of its own on either side."""
    bets = after(history)
    sides = list(itertools.product((1.0, strength), repeat=2))
    mean = 0.0
    for pairs in itertools.product(sides, repeat=2):
        groups = [Tally(size * left, 50, size * right, 50) for left, right in pairs]
        mean += next_value(bets, groups) / len(sides) ** 2
    assert mean <= bets.value * (1 + 1e-9)


@few
@given(histories)
def test_odds_are_never_below_zero_and_outlive_a_dump(history: list[Tally]) -> None:
    bets = after(history)
    assert bets.value > 0
    again = AdaptiveBets.load(json.loads(json.dumps(bets.dump())), 240)
    assert (again.value, again.told) == (bets.value, bets.told)
    assert next_value(again, [KNOWN]) == next_value(bets, [KNOWN])


def test_intervals_without_bad_requests_or_of_one_version_leave_the_odds_as_they_are() -> None:
    bets = after([KNOWN] * 2)
    before = bets.value
    for tally in (Tally(0, 100, 0, 100), Tally(0, 0, 7, 100), Tally(9, 100, 0, 0)):
        assert next_value(bets, [tally]) == pytest.approx(before, rel=0.02)
    bets.skip()
    assert bets.value == pytest.approx(before, rel=0.02)


def test_a_regression_after_a_long_healthy_time_is_found_in_a_few_intervals() -> None:
    """A thousand intervals with some errors each would have eaten a large stake."""
    dice = random.Random(7)
    healthy = [(int(dice.random() < 0.63), int(dice.random() < 0.63)) for _ in range(1000)]
    bets = after([Tally(bad_c, 100, bad_b, 100) for bad_c, bad_b in healthy])
    assert 0.1 < bets.value < 20
    needed = 0
    while bets.value < 20:
        bets.update([Tally(10, 100, 1, 100)], 1.0)
        needed += 1
    assert needed <= 14


def _burst(mean: float) -> Callable[[random.Random], Tally]:
    def interval(dice: random.Random) -> Tally:
        if dice.random() > 0.3:
            return Tally(0, 100, 0, 100)
        size = 1 + int(dice.expovariate(1 / mean))
        return Tally(size, 100, 0, 100) if dice.random() < 0.5 else Tally(0, 100, size, 100)

    return interval


@pytest.mark.parametrize("interval", [_burst(1), _burst(10), _burst(30), _burst(100)])
def test_good_canaries_are_failed_with_at_most_the_promised_chance(
    interval: Callable[[random.Random], Tally],
) -> None:
    """60 canaries at half of the requests, looked at 200 times; 9 of 60 has chance 0.3 %."""
    failed = 0
    for run in range(60):
        dice = random.Random(run)
        bets = AdaptiveBets(240)
        for _ in range(200):
            bets.update([interval(dice)], 1.0)
            if bets.value >= 20:
                failed += 1
                break
    assert failed < 9
