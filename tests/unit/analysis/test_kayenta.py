"""Kayenta's judge: its own known values, a second implementation, and its traps."""

from __future__ import annotations

import math
import random

import pytest

from analysis.kayenta import (
    KayentaMetric,
    Label,
    Result,
    _statistic,
    classify,
    mann_whitney,
    score,
    zeroin,
)

NAN = math.nan


def test_the_interval_of_kayentas_own_test() -> None:
    low, high, estimate = mann_whitney([10, 20, 30, 40], [1, 2, 3, 4], 0.95)
    assert (low, high, estimate) == pytest.approx((6.0, 39.0, 22.5), abs=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_statistic_agrees_with_ranks(seed: int) -> None:
    source = random.Random(seed)
    x = sorted(float(source.randint(0, 6)) for _ in range(source.randint(2, 15)))
    y = sorted(float(source.randint(0, 6)) for _ in range(source.randint(2, 15)))
    n, m = len(x), len(y)
    both = [*x, *y]
    ranks = [sum(o < v for o in both) + (both.count(v) + 1) / 2 for v in both]
    centred = sum(ranks[:n]) - n * (n + 1) / 2 - n * m / 2
    sizes = [ranks.count(rank) for rank in set(ranks)]
    ties = sum(size**3 - size for size in sizes)
    sigma = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    ties_y = sum(y.count(value) ** 3 - y.count(value) for value in set(y))
    corrected = centred - (0.5 * (1 if centred > 0 else -1) if centred else 0)
    assert _statistic(x, y, ties_y) == pytest.approx(corrected / sigma)


def test_zeroin_finds_a_root_within_its_absolute_tolerance() -> None:
    root = zeroin(lambda x: x**3 - 2, (0, -2), (5, 123))
    assert root == pytest.approx(2 ** (1 / 3), abs=1e-4)


def test_the_shift_is_found_on_normal_data() -> None:
    source = random.Random(5)
    y = [source.gauss(10, 1) for _ in range(50)]
    low, high, estimate = mann_whitney([value + 3 for value in y], y)
    assert low < estimate < high
    assert estimate == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(
    ("experiment", "control", "metric", "label"),
    [
        ([], [1.0], KayentaMetric(), Label.NODATA),
        ([NAN, NAN], [1.0], KayentaMetric(), Label.NODATA),
        ([NAN], [1.0, 2.0], KayentaMetric(nan_strategy="replace"), Label.PASS),
        ([], [1.0], KayentaMetric(nan_strategy="replace"), Label.PASS),
        ([], [1.0], KayentaMetric(must_have_data=True), Label.NODATA_FAIL),
        ([], [1.0], KayentaMetric(must_have_data=True, critical=True), Label.NODATA),
        ([2.0, 1.0], [1.0, 2.0], KayentaMetric(), Label.PASS),
        ([5.0] * 6, [2.0] * 6, KayentaMetric(), Label.HIGH),
        ([5.0] * 6, [2.0] * 6, KayentaMetric(direction="decrease"), Label.PASS),
        ([2.0] * 6, [5.0] * 6, KayentaMetric(direction="either"), Label.LOW),
        ([5.0] * 6, [2.0] * 6, KayentaMetric(allowed_increase=3.0), Label.PASS),
    ],
)
def test_classification(
    experiment: list[float], control: list[float], metric: KayentaMetric, label: Label
) -> None:
    assert classify(experiment, control, metric).label is label


def test_two_separated_points_already_fail_because_the_interval_is_clamped() -> None:
    assert classify([9.0, 9.1], [1.0, 1.1]).label is Label.HIGH


def test_rates_below_a_thousandth_drown_in_the_root_finder() -> None:
    source = random.Random(2)
    control = [source.gauss(20e-6, 3e-6) for _ in range(40)]
    experiment = [source.gauss(21e-6, 3e-6) for _ in range(40)]
    scale = 1e6
    small = mann_whitney(experiment, control)
    large = mann_whitney([scale * v for v in experiment], [scale * v for v in control])
    assert large.low < large.estimate < large.high
    assert scale * small.low != pytest.approx(large.low, rel=0.5)


def test_outliers_are_removed_only_when_asked() -> None:
    control = [1.0, 1.1, 0.9, 1.05, 0.95] * 8
    experiment = [1.0, 1.1, 0.9, 1.05, 0.95] * 7 + [500.0] * 5
    assert classify(experiment, control, KayentaMetric(outlier_strategy="remove")).label == "Pass"


def test_scores() -> None:
    good, bad, none = Result(Label.PASS), Result(Label.HIGH), Result(Label.NODATA)
    assert score([(None, [good, good, bad])]) == 66.67
    assert score([(60.0, [bad]), (None, [good])]) == 40.0
    assert score([(None, [good, good, none])]) == 100.0
    assert score([(None, [good, none])]) == 0.0
    assert score([(None, [good, good, Result(Label.HIGH, critical=True)])]) == 0.0
    assert score([(None, [none, none]), (None, [good, good, good])]) == 100.0
    assert score([]) == 0.0


def test_the_same_constant_arms_get_the_same_answer() -> None:
    answers = {classify([5.0] * 6, [4.9999] * 6, seed=1) for _ in range(5)}
    assert len(answers) == 1
