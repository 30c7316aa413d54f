"""Kayenta's judge (NetflixACAJudge), exact including its traps, for those who move over.

Its traps: the tolerance scales with the *estimated* shift, so it is a rule of evidence and no
margin; with few points the interval is clamped to the range of the differences, so that two
separated points can fail; differences below 1e-3 drown in the root finder's absolute tolerance
(feed percent); and nothing holds for repeated looks.

Source: spinnaker/kayenta, commit a69573b.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from statistics import NormalDist
from typing import NamedTuple

_TOLERANCE = 0.25
CONFIDENCE = 0.98
"""Hard-coded in Kayenta's judge, whatever its configuration says."""
_ROOT_TOLERANCE = 1e-4
_OUTLIER_FACTOR = 3.0
_NODATA_SHARE = 50.0
_EPSILON = 2.0**-52
_ROOT_STEPS = 1000


class Label(StrEnum):
    """How one metric was classified."""

    PASS = "Pass"  # noqa: S105 - Kayenta's word
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"
    ERROR = "Error"


class KayentaMetric(NamedTuple):
    """One metric's configuration, named as Kayenta names it."""

    direction: str = "increase"
    """increase, decrease or either."""
    nan_strategy: str = "remove"
    outlier_strategy: str = "keep"
    effect_size: str = "meanRatio"
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical_increase: float | None = None
    critical_decrease: float | None = None
    critical: bool = False
    must_have_data: bool = False


class Result(NamedTuple):
    """One metric's classification."""

    label: Label
    critical: bool = False
    """Whether it alone sets the score to 0."""


class Interval(NamedTuple):
    """Estimate and confidence interval of the shift (experiment minus control)."""

    low: float
    high: float
    estimate: float


def classify(
    experiment: Sequence[float],
    control: Sequence[float],
    metric: KayentaMetric = KayentaMetric(),  # noqa: B008 - immutable
    *,
    seed: int = 0,
) -> Result:
    """Classify one metric from its points.

    Args:
        experiment: the canary's points; NaN where a point is missing.
        control: the same of stable.
        metric: its configuration.
        seed: of the noise that Kayenta adds when both arms are constant but differ.
    """
    x, y = _clean(experiment, metric), _clean(control, metric)
    if not x or not y:
        if metric.nan_strategy == "replace":
            return Result(Label.PASS)
        if metric.must_have_data and not metric.critical:
            return Result(Label.NODATA_FAIL)
        return Result(Label.NODATA, metric.critical)
    if sorted(x) == sorted(y) or len({*x, *y}) == 1:
        return Result(Label.PASS)
    if len(set(x)) == 1 and len(set(y)) == 1:
        noise = random.Random(seed)  # noqa: S311 - reproducible noise, not cryptography
        x = [noise.gauss(value, abs(1e-5 * value)) for value in x]
        y = [noise.gauss(value, abs(1e-5 * value)) for value in y]
    try:
        shift = mann_whitney(x, y)
    except ValueError:
        return Result(Label.ERROR, metric.critical)
    return _label(x, y, shift, metric)


def _label(x: list[float], y: list[float], shift: Interval, metric: KayentaMetric) -> Result:
    default = 0.5 if metric.effect_size == "cles" else 1.0
    effect = _cles(x, y) if metric.effect_size == "cles" else _mean_ratio(x, y)

    def above(limit: float | None) -> bool:
        return effect >= (default if limit is None else limit)

    def below(limit: float | None) -> bool:
        return effect <= (default if limit is None else limit)

    room = _TOLERANCE * abs(shift.estimate)
    unknown = math.isnan(effect)
    up, down = (
        metric.direction in {"increase", "either"},
        metric.direction in {"decrease", "either"},
    )
    if up and shift.low > room and (unknown or above(metric.allowed_increase)):
        return Result(Label.HIGH, metric.critical and above(metric.critical_increase))
    if down and shift.high < -room and (unknown or below(metric.allowed_decrease)):
        return Result(Label.LOW, metric.critical and below(metric.critical_decrease))
    return Result(Label.PASS)


def score(groups: Sequence[tuple[float | None, Sequence[Result]]]) -> float:
    """Score 0 to 100 of weighted groups of results; None as a weight shares what is left."""
    everything = [result for _, results in groups for result in results]
    if any(result.critical and result.label is not Label.PASS for result in everything):
        return 0.0
    nodata = sum(result.label is Label.NODATA for result in everything)
    if not everything or 100.0 * nodata / len(everything) >= _NODATA_SHARE:
        return 0.0
    free = sum(weight is None for weight, _ in groups)
    left = 100.0 - sum(weight for weight, _ in groups if weight is not None)
    total = sum(
        _group_score(results) * (left / free if weight is None else weight) / 100.0
        for weight, results in groups
    )
    return round(total, 2)


def _group_score(results: Sequence[Result]) -> float:
    counted = [r for r in results if r.label not in {Label.NODATA, Label.ERROR}]
    if not counted:
        return 100.0
    return 100.0 * sum(r.label is Label.PASS for r in counted) / len(counted)


def mann_whitney(
    x: Sequence[float], y: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Kayenta's Mann-Whitney interval of the shift of x over y.

    Raises:
        ValueError: every value is tied, so that the statistic has no variance.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = min(x) - max(y), max(x) - min(y)
    xs, ys = sorted(x), sorted(y)
    ties = sum(size**3 - size for size in Counter(ys).values())

    def statistic(shift: float) -> float:
        return _statistic([value - shift for value in xs], ys, ties)

    at_low, at_high = statistic(low), statistic(high)

    def root(level: float) -> float:
        if at_low - level <= 0:
            return low
        if at_high - level >= 0:
            return high
        ends = (low, at_low - level), (high, at_high - level)
        return zeroin(lambda shift: statistic(shift) - level, *ends)

    estimate = zeroin(statistic, (low, at_low), (high, at_high))
    return Interval(root(z), root(-z), estimate)


def _statistic(x: Sequence[float], y: Sequence[float], ties_y: int) -> float:
    """Standardized rank sum of sorted x over sorted y, with a continuity correction of 1/2.

    `sum of ranks - n(n+1)/2` is the number of pairs in which x is larger, a tie counting 1/2.
    """
    n, m = len(x), len(y)
    wins, ties, start = 0.0, ties_y, 0
    while start < n:
        end = bisect_right(x, x[start], start)
        below = bisect_left(y, x[start])
        tied = bisect_right(y, x[start], below) - below
        mine = end - start
        wins += mine * (below + tied / 2)
        both = mine + tied
        ties += both**3 - both - (tied**3 - tied)
        start = end
    centred = wins - n * m / 2
    size = n + m
    variance = n * m / 12 * (size + 1 - ties / (size * (size - 1)))
    if variance <= 0:
        raise ValueError("all values are tied")
    correction = math.copysign(0.5, centred) if centred else 0.0
    return (centred - correction) / math.sqrt(variance)


def zeroin(
    f: Callable[[float], float],
    low: tuple[float, float],
    high: tuple[float, float],
    tol: float = _ROOT_TOLERANCE,
) -> float:
    """Root of f as R's `zeroin` (Brent 1973) finds it; the tolerance is absolute.

    Args:
        f: the function.
        low: one end of the bracket, and f there.
        high: the other end.
        tol: absolute tolerance.
    """
    (a, fa), (b, fb) = low, high
    if fa == 0:
        return a
    c, fc = a, fa
    for _ in range(_ROOT_STEPS):
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        least = 2 * _EPSILON * abs(b) + tol / 2
        half = (c - b) / 2
        if abs(half) <= least or fb == 0:
            return b
        step = half
        if abs(before) >= least and abs(fa) > abs(fb):
            p, q = _interpolate((a, fa), (b, fb), (c, fc))
            if p < 0.75 * 2 * half * q - abs(least * q) / 2 and p < abs(before * q / 2):
                step = p / q
        if abs(step) < least:
            step = least if step > 0 else -least
        a, fa = b, fb
        b += step
        fb = f(b)
        if (fb > 0) == (fc > 0):
            c, fc = a, fa
    return b


def _interpolate(
    previous: tuple[float, float], best: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float]:
    """Step from `best` as p / q with p >= 0: a secant, or an inverse parabola."""
    (a, fa), (b, fb), (c, fc) = previous, best, other
    width = c - b
    if a == c:
        ratio = fb / fa
        p, q = width * ratio, 1.0 - ratio
    else:
        q, first, second = fa / fc, fb / fc, fb / fa
        p = second * (width * q * (q - first) - (b - a) * (first - 1.0))
        q = (q - 1.0) * (first - 1.0) * (second - 1.0)
    return (p, -q) if p > 0 else (-p, q)


def _clean(values: Sequence[float], metric: KayentaMetric) -> list[float]:
    if metric.nan_strategy == "replace":
        kept = [0.0 if math.isnan(value) else value for value in values]
    else:
        kept = [value for value in values if not math.isnan(value)]
    if metric.outlier_strategy != "remove" or not kept:
        return kept
    low, first, third, high = (_percentile(kept, q) for q in (0.01, 0.25, 0.75, 0.99))
    reach = _OUTLIER_FACTOR * (third - first)
    bottom, top = min(low, first - reach), max(high, third + reach)
    return [value for value in kept if bottom <= value <= top]


def _percentile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _mean_ratio(x: Sequence[float], y: Sequence[float]) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    return math.nan if mean_x == 0 or mean_y == 0 else mean_x / mean_y


def _cles(x: Sequence[float], y: Sequence[float]) -> float:
    ys = sorted(y)
    wins = math.fsum((bisect_left(ys, v) + bisect_right(ys, v)) / 2 for v in x)
    return wins / (len(x) * len(y))
