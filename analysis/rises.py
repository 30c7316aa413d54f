"""How well a rise of a failure rate is explained: by a change at some time, or by an exposure.

All are binomial likelihoods of intervals with bad and all requests, so that few requests say
little. Requests that fail together say less than their number: each log likelihood is divided by
how much more neighbouring intervals differ than binomials would (quasi-likelihood; Wedderburn
1974). What is fitted is paid for as in BIC (Schwarz 1978).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

_LEAST: Final = 1e-6
"""Smallest failure rate that is believed in: a first error is no proof."""
_MOST_SPREAD: Final = 1000.0
_MOST_CORRELATION: Final = 0.9
_TRIMMED: Final = 0.1
"""Share of the neighbours that differ most, and say nothing of the spread: a rise is among them."""
_ROUNDS: Final = 12
"""Of the fit of a dose and its response, which converges in a few."""


class Point(NamedTuple):
    """What was counted in one interval, which ends at `at` and begins with the one before."""

    at: float
    """Seconds since the epoch."""
    bad: float
    total: float


class Exposure(NamedTuple):
    """The share of the requests that a version has from a time on."""

    at: float
    weight: float
    """Percent, 0 to 100."""


class Fit(NamedTuple):
    """A failure rate, and what full exposure adds to it."""

    log: float
    """Log likelihood, in nats."""
    base: float
    """The rate without exposure, 0 to 1."""
    added: float
    """What an exposure of 1 adds to it, 0 to 1."""


def log_likelihood(bad: float, total: float, rate: float) -> float:
    """Of so many bad among all requests, at a failure rate; without the binomial coefficient."""
    rate = min(max(rate, _LEAST), 1.0 - _LEAST)
    return bad * math.log(rate) + (total - bad) * math.log1p(-rate)


def spread(points: Sequence[Point]) -> float:
    """How much more neighbouring intervals differ than chance alone would have them; at least 1."""
    found = sorted(
        _difference(one, other)
        for one, other in itertools.pairwise(points)
        if one.total > 0 and other.total > 0 and one.bad + other.bad > 0
    )
    kept = found[: math.ceil(len(found) * (1.0 - _TRIMMED))]
    return min(max(sum(kept) / len(kept), 1.0), _MOST_SPREAD) if kept else 1.0


def _difference(one: Point, other: Point) -> float:
    """Pearson's chi square of two intervals with one rate: 1 in the mean."""
    rate = (one.bad + other.bad) / (one.total + other.total)
    if rate >= 1.0:
        return 0.0
    variance = rate * (1.0 - rate)
    return sum(
        (each.bad - each.total * rate) ** 2 / (each.total * variance) for each in (one, other)
    )


def lasting(points: Sequence[Point], rates: Sequence[float]) -> float:
    """How much further the counts are from what was fitted than chance alone would have them.

    Rates drift, and stay where they drifted to for a while: many intervals then say as little as
    few. This is Pearson's chi square over its degrees of freedom, times what a correlation of
    neighbours takes from their number (Bartlett 1946). At least 1.
    """
    residuals = [
        (one.bad - one.total * rate) / math.sqrt(one.total * rate * (1.0 - rate))
        for one, rate in zip(points, (min(max(rate, _LEAST), 0.999) for rate in rates), strict=True)
        if one.total > 0
    ]
    if len(residuals) < 8:  # noqa: PLR2004 - nothing to be said of so few
        return 1.0
    squares = sum(one * one for one in residuals)
    if squares <= 0:
        return 1.0
    together = sum(one * other for one, other in itertools.pairwise(residuals))
    correlation = min(max(together / squares, 0.0), _MOST_CORRELATION)
    found = squares / len(residuals) * (1.0 + correlation) / (1.0 - correlation)
    return min(max(found, 1.0), _MOST_SPREAD)


def constant(points: Sequence[Point]) -> float:
    """Log likelihood of one rate throughout."""
    bad, total = sum(one.bad for one in points), sum(one.total for one in points)
    return log_likelihood(bad, total, bad / total) if total > 0 else 0.0


def at_each_time(points: Sequence[Point], spread: float) -> list[float]:
    """A rise after each interval but the last: its log likelihood, divided by `spread`."""
    bad, total = sum(one.bad for one in points), sum(one.total for one in points)
    before_bad = before = 0.0
    found = []
    for one in points[:-1]:
        before_bad += one.bad
        before += one.total
        log = _two(before_bad, before, bad - before_bad, total - before)
        found.append(log / spread)
    return found


def _two(bad: float, total: float, bad_later: float, total_later: float) -> float:
    """Log likelihood of a rate, and of another one later that is no smaller."""
    if total <= 0 or total_later <= 0 or bad_later / total_later < bad / total:
        whole = total + total_later
        return log_likelihood(bad + bad_later, whole, (bad + bad_later) / whole) if whole else 0.0
    return log_likelihood(bad, total, bad / total) + log_likelihood(
        bad_later, total_later, bad_later / total_later
    )


def mean_of(logs: Sequence[float], shares: Sequence[float] | None = None) -> float:
    """Log of the (weighted) mean of what these are the logs of; shares need not add up to 1."""
    most = max(logs)
    if shares is None:
        return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))
    summed = sum(share * math.exp(one - most) for share, one in zip(shares, logs, strict=True))
    whole = sum(shares)
    return most + math.log(summed / whole) if summed > 0 else most - 700.0


def exposed(points: Sequence[Point], exposures: Sequence[Exposure], lag: float) -> list[float]:
    """The mean exposure, 0 to 1, in each interval, as it was `lag` seconds before.

    Args:
        points: the intervals; the first is as long as the second.
        exposures: changes, oldest first; before the first of them it is 0.
        lag: of the effect, in seconds.
    """
    if not points:
        return []
    times = [one.at + lag for one in exposures]
    sums = [0.0]  # the integral up to each change
    for before, one in itertools.pairwise(exposures):
        sums.append(sums[-1] + before.weight / 100.0 * (one.at - before.at))

    def until(at: float) -> float:
        index = bisect_right(times, at) - 1
        if index < 0:
            return 0.0
        return sums[index] + exposures[index].weight / 100.0 * (at - times[index])

    first = points[1].at - points[0].at if len(points) > 1 else 1.0
    starts = [points[0].at - first, *(one.at for one in points[:-1])]
    return [
        min(max((until(one.at) - until(start)) / max(one.at - start, 1e-9), 0.0), 1.0)
        for start, one in zip(starts, points, strict=True)
    ]


def with_exposure(points: Sequence[Point], doses: Sequence[float]) -> Fit:
    """The likeliest base rate, and what full exposure adds to it: `base + added * dose`.

    The log likelihood is concave in both; Newton's method, kept within what rates can be.

    Args:
        points: the intervals.
        doses: the exposure in each, 0 to 1.
    """
    levels: dict[float, list[float]] = {}
    for one, dose in zip(points, doses, strict=True):
        found = levels.setdefault(round(dose, 3), [0.0, 0.0])
        found[0] += one.bad
        found[1] += one.total
    rows = [(dose, bad, total) for dose, (bad, total) in levels.items() if total > 0]
    bad, total = sum(row[1] for row in rows), sum(row[2] for row in rows)
    if total <= 0:
        return Fit(0.0, 0.0, 0.0)
    flat = Fit(log_likelihood(bad, total, bad / total), bad / total, 0.0)
    if len(rows) < 2:  # noqa: PLR2004 - one dose says nothing of a response
        return flat
    fit = _fitted(rows)
    return fit if fit.added > 0 and fit.log > flat.log else flat


def _fitted(rows: Sequence[tuple[float, float, float]]) -> Fit:
    low, high = min(rows), max(rows)
    base = min(max(low[1] / low[2], _LEAST), 0.5)
    rise = (high[1] / high[2] - base) / (high[0] - low[0])
    base, added = _within(base, rise, high[0])
    best = Fit(_log(rows, base, added), base, added)
    for _ in range(_ROUNDS):
        step = _newton(rows, base, added)
        if step is None:
            break
        for part in (1.0, 0.5, 0.25, 0.0625):
            tried = _within(base + part * step[0], added + part * step[1], high[0])
            log = _log(rows, *tried)
            if log > best.log + 1e-9:
                best = Fit(log, *tried)
                break
        else:
            break
        base, added = best.base, best.added
    return best


def _within(base: float, added: float, most: float) -> tuple[float, float]:
    base = min(max(base, _LEAST), 1.0 - 2 * _LEAST)
    return base, min(max(added, 0.0), 1.0, (1.0 - _LEAST - base) / most)


def _log(rows: Sequence[tuple[float, float, float]], base: float, added: float) -> float:
    return sum(log_likelihood(bad, total, base + added * dose) for dose, bad, total in rows)


def _newton(
    rows: Sequence[tuple[float, float, float]], base: float, added: float
) -> tuple[float, float] | None:
    """The step to where the gradient is zero; None where the curvature is too small to say."""
    g0 = g1 = h00 = h01 = h11 = 0.0
    for dose, bad, total in rows:
        rate = min(max(base + added * dose, _LEAST), 1.0 - _LEAST)
        slope = bad / rate - (total - bad) / (1.0 - rate)
        curve = bad / rate**2 + (total - bad) / (1.0 - rate) ** 2
        g0, g1 = g0 + slope, g1 + slope * dose
        h00, h01, h11 = h00 + curve, h01 + curve * dose, h11 + curve * dose * dose
    determinant = h00 * h11 - h01 * h01
    if determinant <= 1e-12 * h00 * h11 or h00 <= 0:
        return None
    return (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant


def odds_of_arms(pairs: Sequence[tuple[Point, Point]], added: float) -> tuple[float, float]:
    """How much likelier the failures of two versions are if one of them is worse.

    Interval by interval, given how many requests failed of both: what befalls both versions at a
    time says nothing. (Sums over intervals would: a canary has most of its requests late.)

    Args:
        pairs: the version that may be worse, and the other one, in the same intervals.
        added: the failure rate that it has to have beyond stable's, 0 to 1.

    Returns:
        In nats: for the likeliest ratio of the rates, paid for; and for the one that it has to be.
    """
    rows = [
        (one.bad, one.bad + other.bad, one.total, other.total)
        for one, other in pairs
        if one.total > 0 and other.total > 0
    ]
    whole = sum(row[3] for row in rows)
    usual = (sum(row[1] - row[0] for row in rows) + 0.5) / (whole + 1.0)
    if not rows:
        return 0.0, 0.0
    ratio = max(_RATIOS, key=lambda each: _conditional(rows, each))
    spread = _spread_of_arms(rows, ratio)
    failed = sum(row[1] for row in rows)
    gain = _conditional(rows, ratio) / spread - 0.5 * math.log(max(failed / spread, 1.0) + 1.0)
    needed = min((usual + added) / usual, 1.0 / usual)
    return gain, _conditional(rows, needed) / spread


_RATIOS: Final = tuple(1.1 * 1.35**power for power in range(24))


def _conditional(rows: Sequence[tuple[float, float, float, float]], ratio: float) -> float:
    """Log likelihood ratio of so many times the rate against the same rate."""
    return sum(
        bad_c * math.log(ratio) - bad * math.log((ratio * n_c + n_b) / (n_c + n_b))
        for bad_c, bad, n_c, n_b in rows
    )


def _spread_of_arms(rows: Sequence[tuple[float, float, float, float]], ratio: float) -> float:
    found = []
    for bad_c, bad, n_c, n_b in rows:
        share = ratio * n_c / (ratio * n_c + n_b)
        variance = bad * share * (1.0 - share)
        if variance > 0:
            found.append((bad_c - bad * share) ** 2 / variance)
    return min(max(sum(found) / len(found), 1.0), _MOST_SPREAD) if found else 1.0
