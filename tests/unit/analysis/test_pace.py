"""When the metrics are read: at the pace of the traffic, between two bounds."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.evalues import Tally
from analysis.judge import Judge, counted_metrics
from analysis.pace import ReadingPace
from schemas.judging import GaugeMetric, JudgeSpec, MetricSpec, RatioMetric, ThresholdMetric

QUICK = JudgeSpec(interval=timedelta(seconds=4), fastest=timedelta(milliseconds=250))


def paced(spec: JudgeSpec, rps: float, seconds: float) -> list[tuple[float, bool]]:
    """When readings are, and whether they are of all metrics; each shows all requests so far."""
    judge = Judge(spec, counted_metrics(["errors"]))
    pace, now, before, readings = ReadingPace(spec, judge), 0.0, 0.0, []
    while now < seconds:
        if now > before:
            n = rps * (now - before)
            judge.observe_counts({"errors": Tally(0, n, 0, n)}, before, now)
        readings.append((now, pace.whole(now)))
        before = now
        now += pace.pause(now)
    return readings


def test_without_a_fastest_pace_there_is_one_reading_an_interval() -> None:
    assert paced(JudgeSpec(interval=timedelta(seconds=4)), 100, 12) == [
        (0, True),
        (4, True),
        (8, True),
    ]


@pytest.mark.parametrize(("rps", "pause"), [(1000, 0.25), (10, 1.0), (1, 4.0)])
def test_ten_requests_of_the_canary_make_a_reading(rps: float, pause: float) -> None:
    times = [at for at, _ in paced(QUICK, rps, 40)][-4:]
    gaps = [after - at for at, after in itertools.pairwise(times)]
    assert max(gaps) == pytest.approx(pause)


def test_all_metrics_are_read_once_an_interval() -> None:
    whole = [at for at, all_ in paced(QUICK, 1000, 20) if all_]
    assert whole == pytest.approx([0, 4, 8, 12, 16])


def test_a_source_that_shows_nothing_new_is_asked_less_and_less_but_each_interval() -> None:
    judge = Judge(QUICK, counted_metrics(["errors"]))
    pace, now, pauses = ReadingPace(QUICK, judge), 0.0, []
    for _ in range(9):
        pace.whole(now)
        pauses.append(pace.pause(now))
        now += pauses[-1]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert all(pause <= 4 for pause in pauses)
    assert now >= 4 * 4


def test_many_judges_leave_each_other_room() -> None:
    judge = Judge(QUICK, counted_metrics(["errors"]))
    pace = ReadingPace(QUICK, judge)
    pace.whole(0.0)
    assert pace.pause(0.0, least=3.0) == 3.0
    assert pace.pause(0.0, least=60.0) == 4.0


def test_what_shows_a_state_is_read_once_an_interval() -> None:
    metrics: list[MetricSpec] = [
        RatioMetric(name="errors", bad="b", total="t"),
        GaugeMetric(name="memory", value="m"),
        ThresholdMetric(name="oom", value="o", limit=0),
    ]
    assert ReadingPace(QUICK, Judge(QUICK, metrics)).quick == {"errors"}
    slow = QUICK.model_copy(update={"fastest": None})
    assert not ReadingPace(slow, Judge(slow, metrics)).quick


@settings(max_examples=40)
@given(st.lists(st.floats(0, 5000), min_size=1, max_size=20), st.floats(0, 10))
def test_a_pause_is_within_its_bounds_whatever_the_traffic(
    rates: list[float], least: float
) -> None:
    judge = Judge(QUICK, counted_metrics(["errors"]))
    pace, now, before = ReadingPace(QUICK, judge), 0.0, 0.0
    whole_at = 0.0
    for rps in rates:
        if now > before:
            n = rps * (now - before)
            judge.observe_counts({"errors": Tally(0, n, 0, n)}, before, now)
        if pace.whole(now):
            assert now - whole_at <= 4 + 1e-6
            whole_at = now
        before = now
        now += pace.pause(now, least)
        assert 0 < now - before <= 4


@pytest.mark.parametrize("fastest", ["16s", "50ms", "0s"])
def test_a_fastest_pace_is_within_its_bounds(fastest: str) -> None:
    with pytest.raises(ValidationError, match="fastest"):
        JudgeSpec.model_validate({"fastest": fastest})
