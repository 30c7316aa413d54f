"""Fixed limits: what they must not pass."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from analysis.limits import LimitTest, tail
from schemas.audience_judging import limits_of
from schemas.judging import JudgeSpec, Method, ThresholdSettings
from schemas.verdict import VerdictKind

PLAIN = JudgeSpec(method=Method.THRESHOLD)


def judged(tallies: list[Tally], spec: JudgeSpec = PLAIN) -> VerdictKind:
    """The verdict at the end of a bake of intervals of 15 s."""
    judge = Judge(spec, counted_metrics(["errors"]))
    for look, tally in enumerate(tallies):
        judge.observe_counts({"errors": tally}, 15.0 * look, 15.0 * look + 15)
    bake = timedelta(seconds=15 * len(tallies))
    start = datetime.fromtimestamp(0, UTC)
    return judge.verdict(start + bake, started_at=start, bake_min=bake, bake_max=bake).kind


GOOD = Tally(0, 750, 0, 9)


def test_a_bake_of_one_window_can_pass() -> None:
    assert judged([GOOD] * 4) is VerdictKind.PASS


@pytest.mark.parametrize(
    ("last", "kind"),
    [(Tally(750, 750, 0, 9), VerdictKind.INCONCLUSIVE), (GOOD, VerdictKind.PASS)],
)
def test_a_window_that_is_over_the_limit_and_not_full_is_never_passed(
    last: Tally, kind: VerdictKind
) -> None:
    assert judged([GOOD] * 4 + [last]) is kind


def test_nobody_passes_of_whom_nothing_was_seen() -> None:
    assert judged([Tally(0, 0, 1, 900)] * 8) is VerdictKind.INCONCLUSIVE


SMALL = ThresholdSettings(max_error_ratio=0.01, chance=0.01)


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        ([Tally(1, 20, 0, 0)], VerdictKind.INCONCLUSIVE),
        ([Tally(0, 20, 0, 0)], VerdictKind.PASS),
        ([Tally(4, 20, 0, 0)], VerdictKind.FAIL),
        ([Tally(1, 20, 0, 0), Tally(0, 300, 0, 0)], VerdictKind.PASS),
        ([Tally(1, 20, 0, 0)] * 20, VerdictKind.FAIL),
    ],
)
def test_a_small_audience_fails_only_by_what_luck_can_t_explain(
    seen: list[Tally], kind: VerdictKind
) -> None:
    spec = JudgeSpec(method=Method.THRESHOLD, threshold=SMALL)
    quarters = [Tally(*(part / 4 for part in tally)) for tally in seen for _ in range(4)]
    assert judged(quarters, spec) is kind


@given(st.integers(1, 400), st.data())
def test_the_tail_is_that_of_the_binomial(total: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, total))
    rate = data.draw(st.floats(0.001, 0.999))
    chances = (
        math.comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(bad, total + 1)
    )
    exact = math.fsum(chances)
    expected = 1.0 if bad <= total * rate else exact
    assert tail(bad, total, rate) == pytest.approx(expected, rel=1e-6, abs=1e-100)


def test_a_version_at_the_limit_fails_seldom_however_often_it_is_looked_at() -> None:
    rng = np.random.default_rng(7)
    failed = 0
    for _ in range(400):
        test = LimitTest(ThresholdSettings(max_error_ratio=0.05, chance=0.1), 0.05)
        for look in range(60):
            bad = float(rng.binomial(20, 0.05))
            test.count([[Tally(bad, 20.0, 0.0, 0.0)]], 60.0 * look, 60.0 * look + 60)
        failed += test.broken
    assert failed <= 40


def test_an_audience_s_limits_have_a_chance() -> None:
    assert limits_of(JudgeSpec(alpha=0.02)).threshold.chance == 0.02
    assert limits_of(JudgeSpec(threshold=SMALL, alpha=0.02)).threshold.chance == 0.01
    assert JudgeSpec().threshold.chance is None
