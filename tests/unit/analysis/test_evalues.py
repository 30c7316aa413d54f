"""E-processes: known values, and what makes them e-processes."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evalues import (
    RATIOS,
    STAKES,
    StartMixture,
    Tally,
    fixed_split_log_e,
    log_lr_factor,
    lr_factors,
    share_factors,
)

KNOWN = Tally(5, 750, 10, 14250)


@pytest.mark.parametrize(
    ("margin", "delta", "expected"),
    [(1.0, 0.0, 5.312366), (1.0, 0.002, 0.562366), (1.5, 0.0, 4.196392)],
)
def test_lr_factor_has_the_known_value(margin: float, delta: float, expected: float) -> None:
    assert log_lr_factor(KNOWN, 5.0, margin, delta, 1) == pytest.approx(expected, abs=5e-7)


def test_a_cluster_size_divides_the_log() -> None:
    one, five = (log_lr_factor(KNOWN, 5.0, 1.0, 0.0, cluster) for cluster in (1, 5))
    assert five == pytest.approx(one / 5)


def test_share_factor_has_the_known_value() -> None:
    assert share_factors([KNOWN], 1.0)[STAKES.index(0.5)] == pytest.approx(3.8333, abs=5e-5)


def test_mixtures_have_the_known_values() -> None:
    lr, share = StartMixture(len(RATIOS), 240), StartMixture(len(STAKES), 240)
    seen = []
    for _ in range(3):
        lr.update(lr_factors(KNOWN, 1.0, 0.0, 1))
        share.update(share_factors([KNOWN], 1.0))
        seen.append((lr.value, share.value))
    assert seen[0] == pytest.approx((126.748, 2.68817), rel=1e-5)
    assert seen[1] == pytest.approx((35116.25, 10.53624), rel=1e-6)
    assert seen[2][1] == pytest.approx(50.25476, rel=1e-6)


def test_the_closed_form_for_a_fixed_split_has_the_known_value() -> None:
    assert math.exp(fixed_split_log_e(10, 0, 0.5)) == pytest.approx(1024 / 11)


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def poisson(mean: float, most: int) -> list[float]:
    return [math.exp(-mean) * mean**k / math.factorial(k) for k in range(most + 1)]


@pytest.mark.parametrize("n_c", [1, 2, 5])
@pytest.mark.parametrize("n_b", [1, 3, 8])
@pytest.mark.parametrize("p_b", [0.01, 0.1, 0.3])
@pytest.mark.parametrize(("margin", "delta"), [(1.0, 0.0), (1.25, 0.0), (1.5, 0.05), (0.0, 0.2)])
@pytest.mark.parametrize("cluster", [1, 3])
def test_lr_factors_gain_nothing_from_a_good_canary(  # noqa: PLR0917 - the cases of one sum
    n_c: int, n_b: int, p_b: float, margin: float, delta: float, cluster: int
) -> None:
    at_c, at_b = binomial(n_c, margin * p_b + delta), binomial(n_b, p_b)
    mean = [0.0] * len(RATIOS)
    for (x_c, q_c), (x_b, q_b) in itertools.product(enumerate(at_c), enumerate(at_b)):
        factors = lr_factors(Tally(x_c, n_c, x_b, n_b), margin, delta, cluster)
        mean = [m + q_c * q_b * f for m, f in zip(mean, factors, strict=True)]
    assert max(mean) <= 1 + 1e-12


@pytest.mark.parametrize("n_c", [1, 2, 5])
@pytest.mark.parametrize("n_b", [1, 3, 8])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_share_factors_gain_nothing_from_an_equal_canary(n_c: int, n_b: int, p: float) -> None:
    mean = [0.0] * len(STAKES)
    for (x_c, q_c), (x_b, q_b) in itertools.product(
        enumerate(binomial(n_c, p)), enumerate(binomial(n_b, p))
    ):
        factors = share_factors([Tally(x_c, n_c, x_b, n_b)], 1.0)
        mean = [m + q_c * q_b * f for m, f in zip(mean, factors, strict=True)]
    assert max(mean) <= 1 + 1e-12


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_share_factors_gain_nothing_when_errors_come_in_bursts(size: int, margin: float) -> None:
    """Compound Poisson arrivals at the edge of the null, `size` errors at a time."""
    n_c, n_b, rate = 50.0, 150.0, 0.004
    at_c, at_b = poisson(margin * rate * n_c, 14), poisson(rate * n_b, 14)
    mean = [0.0] * len(STAKES)
    for (k_c, q_c), (k_b, q_b) in itertools.product(enumerate(at_c), enumerate(at_b)):
        factors = share_factors([Tally(size * k_c, n_c, size * k_b, n_b)], margin)
        mean = [m + q_c * q_b * f for m, f in zip(mean, factors, strict=True)]
    assert max(mean) <= 1 + 1e-9


def test_pod_groups_multiply_their_bets() -> None:
    left, right = Tally(3, 100, 1, 100), Tally(0, 80, 2, 120)
    apart = [share_factors([one], 1.0) for one in (left, right)]
    together = share_factors([left, right], 1.0)
    assert together == pytest.approx([a * b for a, b in zip(*apart, strict=True)])


counts = st.integers(0, 40)


@given(counts, counts, counts, counts, st.integers(1, 500), st.integers(1, 500))
def test_splitting_an_interval_changes_nothing_for_lr(  # noqa: PLR0917 - two halves
    c1: int, c2: int, b1: int, b2: int, n_c: int, n_b: int
) -> None:
    halves = [Tally(c1, n_c + 40, b1, n_b + 40), Tally(c2, n_c + 40, b2, n_b + 40)]
    whole = Tally(*(sum(pair) for pair in zip(*halves, strict=True)))
    for ratio in RATIOS:
        parts = sum(log_lr_factor(half, ratio, 1.25, 0.001, 1) for half in halves)
        assert log_lr_factor(whole, ratio, 1.25, 0.001, 1) == pytest.approx(parts, abs=1e-9)


@given(st.lists(st.tuples(counts, counts), max_size=20))
def test_wealth_never_goes_below_zero_and_nothing_is_created(
    pairs: list[tuple[int, int]],
) -> None:
    mixture = StartMixture(len(STAKES), 10)
    for bad_c, bad_b in pairs:
        mixture.update(share_factors([Tally(bad_c, 50, bad_b, 950)], 1.0))
        assert mixture.value > 0
    flat = StartMixture(len(STAKES), 10)
    for _ in pairs:
        flat.update([1.0] * len(STAKES))
    assert flat.value == pytest.approx(1.0)


def test_intervals_without_errors_or_traffic_are_no_evidence() -> None:
    for tally in (Tally(0, 100, 0, 100), Tally(0, 0, 7, 100), Tally(0, 0, 0, 0)):
        assert share_factors([tally], 1.25) == [1.0] * len(STAKES)


def test_a_regression_that_begins_late_meets_fresh_wealth() -> None:
    late, plain = StartMixture(len(STAKES), 240), StartMixture(len(STAKES), 1)
    for mixture in (late, plain):
        for _ in range(120):
            mixture.update(share_factors([Tally(0, 750, 14, 14250)], 1.0))
        for _ in range(5):
            mixture.update(share_factors([Tally(4, 750, 14, 14250)], 1.0))
    assert late.value > 10 * plain.value
