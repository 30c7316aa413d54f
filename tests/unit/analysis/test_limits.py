"""Fixed limits: what they must not pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from schemas.judging import JudgeSpec, Method
from schemas.verdict import VerdictKind


def judged(tallies: list[Tally]) -> VerdictKind:
    """The verdict at the end of a bake of intervals of 15 s."""
    judge = Judge(JudgeSpec(method=Method.THRESHOLD), counted_metrics(["errors"]))
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
