"""An A/B test: both directions, one alpha, and a state that can be taken up."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.ab import AbTest
from analysis.evalues import Tally
from schemas.judging import JudgeSpec

SPEC = JudgeSpec()


def run(seed: int, canary: float, stable: float, intervals: int, n: int = 400) -> AbTest:
    """A test of intervals with as many requests on each side, until it shows something."""
    rng, test = random.Random(seed), AbTest(SPEC)
    bad_c = bad_b = 0
    for at in range(1, intervals + 1):
        bad_c += sum(rng.random() < canary for _ in range(n))
        bad_b += sum(rng.random() < stable for _ in range(n))
        test.take(Tally(bad_c, at * n, bad_b, at * n), float(at))
        if test.more is not None:
            break
    return test


@pytest.mark.parametrize(("canary", "more"), [(0.06, True), (0.015, False)])
def test_it_shows_which_has_more(canary: float, more: bool) -> None:
    for seed in range(5):
        test = run(seed, canary, 0.03, 100)
        assert test.more is more
        assert test.odds >= test.threshold == 20
        assert test.at is not None


def test_without_a_difference_it_rarely_shows_one_however_often_it_is_looked_at() -> None:
    shown = sum(run(seed, 0.03, 0.03, 40, n=100).more is not None for seed in range(100))
    assert shown <= 10, "5 of 100 at most are expected"


def test_one_alpha_is_for_both_directions_together() -> None:
    early = 0
    for seed in range(8):
        rng, test, bad_c, bad_b = random.Random(seed), AbTest(SPEC), 0, 0
        for at in range(1, 200):
            bad_c += sum(rng.random() < 0.06 for _ in range(50))
            bad_b += sum(rng.random() < 0.03 for _ in range(50))
            test.take(Tally(bad_c, at * 50, bad_b, at * 50), float(at))
            if test.more is not None:
                break
            # By half of alpha each: odds of one direction alone are not enough.
            early += test._more.e_value >= test.threshold
    assert early > 0


def test_what_was_shown_first_stays() -> None:
    test = run(1, 0.06, 0.03, 60)
    seen = test.at
    counted = 100_000.0
    test.take(Tally(test._last.bad_c, counted, counted / 2, counted), 1e6)
    assert (test.more, test.at) == (True, seen)


COUNTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 200), st.integers(0, 50), st.integers(0, 200)),
    max_size=12,
)


@given(COUNTS, st.integers(0, 12))
def test_it_goes_on_from_what_was_kept_and_both_sides_are_alike(
    counts: list[tuple[int, int, int, int]], cut: int
) -> None:
    whole, again, turned = AbTest(SPEC), AbTest(SPEC), AbTest(SPEC)
    seen = Tally(0.0, 0.0, 0.0, 0.0)
    for at, (bad_c, more_c, bad_b, more_b) in enumerate(counts):
        grown = Tally(bad_c, bad_c + more_c, bad_b, bad_b + more_b)
        seen = Tally(*(a + b for a, b in zip(seen, grown, strict=True)))
        if at == cut:
            kept = json.loads(json.dumps(again.dump()))
            again = AbTest(SPEC)
            again.restore(kept)
        for test in (whole, again):
            test.take(seen, float(at))
            test.take(seen, float(at))  # the same again says nothing new
        turned.take(Tally(seen.bad_b, seen.n_b, seen.bad_c, seen.n_c), float(at))
    assert again.dump() == whole.dump()
    assert turned.odds == pytest.approx(whole.odds)
    assert turned.more is (None if whole.more is None else not whole.more)


def test_counts_that_shrink_are_no_evidence() -> None:
    test = run(1, 0.03, 0.03, 3)
    before = test.dump()
    test.take(Tally(0, 1, 0, 1), 99.0)
    assert test.dump() == before
