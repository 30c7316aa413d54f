"""Bets in rounds: exact chances under bursts that last for several readings, and known values."""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.evidence import Plan, SequentialTest
from analysis.rounds import Rounds

PLAN = Plan(
    bets=True,
    margin=1.0,
    delta=0.0,
    cluster=1,
    looks=240,
    beta=0.05,
    bound_cluster=5,
    tolerance=None,
    adaptive=True,
    burst=1.0,
)
READING = 0.25
LAST = 4
"""Readings in a burst of a second."""
READINGS = 32
Fallen = tuple[bool, ...]
"""Of each burst, whether it fell on the canary."""
Path = list[float]
Burst = tuple[int, list[int]]
"""The reading in which it begins, and how many requests it makes bad in each."""

bursts = st.lists(
    st.tuples(st.integers(0, 24), st.lists(st.integers(0, 40), min_size=1, max_size=LAST)),
    min_size=1,
    max_size=6,
)
short = st.lists(
    st.tuples(st.integers(0, 24), st.lists(st.integers(0, 40), min_size=1, max_size=2)),
    min_size=1,
    max_size=6,
)
few = settings(max_examples=25, deadline=None)


def odds_over_time(
    test: SequentialTest, fallen: Sequence[tuple[bool, Burst]], share: float
) -> list[float]:
    """What a canary could be failed by after each reading, when the bursts fell like that."""
    bad = [[0, 0] for _ in range(READINGS)]
    for canary, (begins, course) in fallen:
        for number, more in enumerate(course):
            bad[begins + number][not canary] += more
    found = []
    for number, (bad_c, bad_b) in enumerate(bad):
        tally = Tally(bad_c, 1000 * share, bad_b, 1000 * (1 - share))
        test.count([[tally]], number * READING, (number + 1) * READING)
        found.append(test.sure)
    return found


def chance_to_pass(times: float, plan: Plan, come: Sequence[Burst], share: float) -> float:
    """Exact: that the odds are ever so large, where each burst falls on the canary by its share."""
    chance = 0.0
    for fallen in itertools.product((True, False), repeat=len(come)):
        likely = math.prod(share if one else 1 - share for one in fallen)
        pairs = list(zip(fallen, come, strict=True))
        chance += likely * (max(odds_over_time(SequentialTest(plan), pairs, share)) >= times)
    return chance


@few
@given(bursts, st.sampled_from([0.05, 0.2, 0.5]), st.sampled_from([1.5, 2.0, 4.0, 20.0]))
def test_bursts_of_a_second_pass_no_odds_more_often_than_they_say(
    come: list[Burst], share: float, times: float
) -> None:
    for adaptive in (True, False):
        plan = PLAN._replace(adaptive=adaptive)
        assert chance_to_pass(times, plan, come, share) <= 1 / times + 1e-9


LONG: list[Burst] = [(0, [9] * LAST), (8, [9] * LAST), (16, [9] * LAST)]


def test_without_rounds_they_do() -> None:
    assert chance_to_pass(20.0, PLAN._replace(burst=0.0), LONG, 0.5) > 1 / 20
    assert chance_to_pass(20.0, PLAN, LONG, 0.5) == 0.0


def most_that_stopping_gains(paths: Mapping[Fallen, Path], come: Sequence[Burst]) -> float:
    """Exact: the mean of the odds of who may stop at any reading, knowing where bursts fell so far.

    Args:
        paths: the odds over time, however the bursts fall, each way as likely.
        come: the bursts.
    """
    worth = {fallen: path[-1] for fallen, path in paths.items()}
    for number in reversed(range(READINGS - 1)):
        known: dict[tuple[bool | None, ...], list[Fallen]] = defaultdict(list)
        for fallen in paths:
            pairs = zip(fallen, come, strict=True)
            known[tuple(one if begins <= number else None for one, (begins, _) in pairs)].append(
                fallen
            )
        for alike in known.values():
            later = math.fsum(worth[one] for one in alike) / len(alike)
            worth |= dict.fromkeys(alike, max(paths[alike[0]][number], later))
    return math.fsum(worth.values()) / len(worth)


def paths_of(come: Sequence[Burst], late: int) -> dict[Fallen, Path]:
    """The average of two streams at half of the requests: the second shows a burst so late."""
    found = {}
    for fallen in itertools.product((True, False), repeat=len(come)):
        pairs = list(zip(fallen, come, strict=True))
        later = [(one, (begins + late, course)) for one, (begins, course) in pairs]
        both = [odds_over_time(SequentialTest(PLAN), one, 0.5) for one in (pairs, later)]
        found[fallen] = [(one + other) / 2 for one, other in zip(*both, strict=True)]
    return found


KNOWN_BEFORE: list[Burst] = [(0, [9]), (3, [9] * LAST), (10, [9] * LAST), (17, [9] * LAST)]
"""The second begins in the pause after the first bet, and goes on into the next round."""


@few
@given(bursts)
@example(KNOWN_BEFORE)
def test_nothing_is_gained_by_stopping_while_a_round_goes_on(come: list[Burst]) -> None:
    assert most_that_stopping_gains(paths_of(come, 0), come) <= 1 + 1e-9


@few
@given(short)
@example([(begins, course[:2]) for begins, course in KNOWN_BEFORE])
def test_nor_where_two_streams_show_a_burst_at_different_times(come: list[Burst]) -> None:
    """Errors, and slow answers half a second after them: together no longer than a burst."""
    assert most_that_stopping_gains(paths_of(come, 2), come) <= 1 + 1e-9


def test_a_bet_is_over_at_once_and_the_next_is_a_burst_later() -> None:
    rounds, over = Rounds(1.0), []
    for number in range(20):
        at = number * READING
        bet = rounds.take(Tally(8, 50, 0, 50), 1.0, at, at + READING)
        if bet is not None:
            over.append((at, bet.odds, bet.whole.bad_c))
            rounds.expect(at + READING, suspicious=True)
    assert over == [(0.0, 2.0, 8), (1.25, 2.0, 40), (2.5, 2.0, 40), (3.75, 2.0, 40)]


def test_while_all_is_well_a_round_collects_what_four_bursts_would_take() -> None:
    rounds, over = Rounds(1.0), []
    for number in range(200):
        at = number * READING
        bet = rounds.take(Tally(0.5, 50, 0.5, 50), 1.0, at, at + READING)
        if bet is not None:
            over.append(at)
            rounds.expect(at + READING, suspicious=False)
    assert [b - a for a, b in itertools.pairwise(over[1:])] == pytest.approx([5.0] * 8)
    sudden = rounds.take(Tally(40, 50, 0, 50), 1.0, 100.0, 100.25)
    assert sudden is not None


def test_readings_that_began_within_a_burst_of_the_bet_are_left_out() -> None:
    rounds = Rounds(1.0)
    assert rounds.take(Tally(1, 50, 0, 50), 1.0, 0, 0.25) is not None
    rounds.expect(0.25, suspicious=True)
    assert rounds.take(Tally(90, 50, 0, 50), 1.0, 0.25, 9.0) is None
    bet = rounds.take(Tally(1, 50, 3, 50), 1.0, 9.0, 9.25)
    assert bet is not None
    assert bet.odds == pytest.approx(0.5)
    assert bet.whole == (91, 100, 3, 100)


def test_another_weight_within_a_round_counts_each_reading_by_its_own() -> None:
    rounds = Rounds(1.0)
    rounds.expect(0.0, suspicious=False)
    rounds = Rounds.load([0.0, None, 3.0, 3.0, 0.0, 0.0, [0, 0, 0, 0], False], 1.0)
    assert rounds.take(Tally(1, 5, 1, 95), 1.0, 1, 2) is None
    bet = rounds.take(Tally(1, 50, 0, 50), 1.0, 2, 3)
    assert bet is not None
    assert bet.odds == pytest.approx((1 / 0.05 + 1 / 0.5) / 3)


@few
@given(bursts, st.integers(0, 31))
def test_another_attempt_goes_on_with_the_round(come: list[Burst], at: int) -> None:
    whole, first = SequentialTest(PLAN), SequentialTest(PLAN)
    pairs = [(True, one) for one in come]
    odds_over_time(whole, pairs, 0.5)
    bad = [0] * 32
    for begins, course in come:
        for number, more in enumerate(course):
            bad[begins + number] += more
    for number, more in enumerate(bad):
        if number == at:
            again = SequentialTest(PLAN)
            again.restore(json.loads(json.dumps(first.dump())))
            first = again
        tally = Tally(more, 500, 0, 500)
        first.count([[tally]], number * READING, (number + 1) * READING)
    assert first.dump() == whole.dump()
    assert first.sure == whole.sure
