"""The evidence series of a bake: bounded, whole, in order, and the same after a restart."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.evidence_series import MOST_ROWS, EvidenceSeries, Row, Sight, columns, look, of_judge
from analysis.judge import Judge
from schemas.evidence_series import EvidenceSeries as SeriesColumns
from schemas.judging import (
    HistogramMetric,
    JudgeSpec,
    Method,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)
from schemas.reading import Snapshot
from tests.unit.analysis.readings import EDGES, START, Pod, arm, both, only, snapshot

ERRORS = RatioMetric(name="errors")
STEPS = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 9), st.integers(0, 99)), min_size=1, max_size=400
)
Counts = tuple[Tally, ...]


def _rows(steps: list[tuple[int, int, int]], streams: int = 1) -> list[Row]:
    """Readings after so many seconds each, with so many more bad and good requests."""
    at, bad, total, rows = 0, 0, 0, []
    for seconds, worse, more in steps:
        at, bad, total = at + seconds, bad + worse, total + worse + more
        counts = (Tally(bad, total, 0, total),) * streams
        rows.append(Row(at, 0.0, {"errors": Sight(counts, 0.0, 0.5)}))
    return rows


def _fill(evidence_series: EvidenceSeries, rows: list[Row]) -> EvidenceSeries:
    for row in rows:
        evidence_series.add(row)
    return evidence_series


@given(STEPS, st.integers(1, 8))
def test_it_is_bounded_in_order_whole_and_has_both_ends(
    steps: list[tuple[int, int, int]], streams: int
) -> None:
    rows = _rows(steps, streams)
    kept = _fill(EvidenceSeries(), rows).rows
    times = [row.at for row in kept]
    assert len(kept) <= MOST_ROWS
    assert times == sorted(set(times))
    assert (times[0], times[-1]) == (rows[0].at, rows[-1].at)
    for index in range(streams):
        counted = [row.sights["errors"].counts[index] for row in kept]
        assert sum(one.n_c for one in counted) == rows[-1].sights["errors"].counts[index].n_c
        assert sum(one.bad_c for one in counted) == rows[-1].sights["errors"].counts[index].bad_c


@given(STEPS, st.integers(0, 400))
def test_a_restart_changes_nothing(steps: list[tuple[int, int, int]], at: int) -> None:
    rows = _rows(steps)
    whole = _fill(EvidenceSeries(), rows)
    broken = _fill(EvidenceSeries(), rows[:at])
    resumed = _fill(EvidenceSeries.load(json.loads(json.dumps(broken.dump()))), rows[at:])
    assert resumed.rows == whole.rows
    assert json.dumps(resumed.dump()) == json.dumps(whole.dump())


def test_thinning_covers_the_whole_bake_evenly() -> None:
    kept = _fill(EvidenceSeries(), _rows([(1, 0, 1)] * 5000)).rows
    gaps = [b.at - a.at for a, b in pairwise(kept)]
    assert len(kept) > MOST_ROWS / 2 - 1
    assert max(gaps) <= 2 * min(gaps[:-1])


def test_the_more_streams_the_fewer_rows() -> None:
    kept = _fill(EvidenceSeries(), _rows([(1, 0, 1)] * 500, streams=30)).rows
    assert len(kept) <= 24


def test_a_reading_that_is_not_newer_is_ignored() -> None:
    rows = _rows([(1, 1, 1), (1, 1, 1)])
    evidence_series = _fill(EvidenceSeries(), [*rows, rows[0], rows[1]])
    assert [row.at for row in evidence_series.rows] == [1, 2]


@pytest.mark.parametrize(("lower", "worst"), [(frozenset[str](), 9.0), (frozenset({"up"}), 1.0)])
def test_thinning_keeps_the_worst_value_of_a_limit(lower: frozenset[str], worst: float) -> None:
    evidence_series = EvidenceSeries(lower)
    for at in range(600):
        value = {150: 9.0, 151: 1.0}.get(at, 5.0)
        evidence_series.add(Row(at, None, {"up": Sight((), value=value)}))
    values = [row.sights["up"].value for row in evidence_series.rows]
    assert len(values) <= MOST_ROWS
    assert worst in values


def _snapshot(look_at: int, canary: Pod, stable: Pod, *, slow: float = 0.0) -> Snapshot:
    canary.serve(100, bad=5, slower=slow)
    stable.serve(900)
    one, other = arm(canary), arm(stable)
    parts = {"errors": ("bad", "total"), "latency": ("buckets",), "memory": ("value",)}
    metrics = {n: both(only(one, *p), only(other, *p)) for n, p in parts.items()}
    return snapshot(15 * look_at, metrics)


def _watched(
    spec: JudgeSpec, metrics: tuple[MetricSpec, ...], looks: int = 400
) -> tuple[Judge, EvidenceSeries]:
    judge = Judge(spec, metrics)
    evidence_series = of_judge(judge)
    canary, stable = Pod("c"), Pod("s")
    names = {metric.name for metric in metrics}
    for index in range(looks):
        seen = _snapshot(index, canary, stable, slow=1)
        kept = {name: one for name, one in seen.metrics.items() if name in names}
        judge.observe(seen.model_copy(update={"metrics": kept}))
        evidence_series.add(look(judge, seen.at.timestamp()))
    return judge, evidence_series


THREE = (
    ERRORS,
    HistogramMetric(name="latency", edges=EDGES),
    ThresholdMetric(name="memory", limit=120, value="memory"),
)


def test_the_columns_say_what_the_judge_saw_and_stay_small() -> None:
    judge, evidence_series = _watched(JudgeSpec(), THREE)
    plain = columns(evidence_series, judge)
    found = SeriesColumns.model_validate(json.loads(json.dumps(plain)))
    assert len(json.dumps(plain, separators=(",", ":"))) < 12_000
    assert found.began_at == START
    assert found.at[-1] == 15 * 399
    errors = found.metrics["errors"]
    assert sum(errors.streams[0].canary) == 399 * 100
    assert sum(errors.streams[0].bad_canary) == 399 * 5
    assert errors.odds is not None
    assert errors.odds[-1] > 0
    assert found.odds is not None
    assert found.odds[-1] == pytest.approx(math.log10(judge.e_value), abs=1e-3)
    assert found.needed == pytest.approx(math.log10(20), abs=1e-4)
    assert found.metrics["latency"].edges == EDGES
    assert len(found.metrics["latency"].streams) == 3
    assert found.metrics["memory"].value == (None, *[100] * (len(found.at) - 1))


@pytest.mark.parametrize("method", [Method.THRESHOLD, Method.KAYENTA])
def test_a_method_without_odds_has_no_column_of_them(method: Method) -> None:
    judge, evidence_series = _watched(JudgeSpec(method=method), (ERRORS,), looks=20)
    found = SeriesColumns.model_validate(columns(evidence_series, judge))
    assert found.odds is None
    assert found.metrics["errors"].odds is None
    assert sum(found.metrics["errors"].streams[0].canary) == 19 * 100


def test_the_next_bake_counts_from_its_own_beginning() -> None:
    judge, _ = _watched(JudgeSpec(), (ERRORS,), looks=10)
    evidence_series = of_judge(judge)
    evidence_series.add(look(judge, 1000.0))
    assert evidence_series.rows[0].sights["errors"].counts == (Tally(0, 0, 0, 0),)


def test_without_metrics_there_is_no_series() -> None:
    judge = Judge(JudgeSpec(), ())
    evidence_series = of_judge(judge)
    evidence_series.add(look(judge, 1.0))
    assert columns(evidence_series, judge) is None


@pytest.mark.parametrize("state", [None, [], (), [99, "new"], {"of": "another"}, "junk"])
def test_what_another_version_kept_is_left(state: Any) -> None:
    assert of_judge(Judge(JudgeSpec(), (ERRORS,)), state).rows == []
    if isinstance(state, list) and state:
        with pytest.raises(ValueError, match="version 99"):
            EvidenceSeries.load(state)


def test_columns_of_different_lengths_are_refused() -> None:
    judge, evidence_series = _watched(JudgeSpec(), (ERRORS,), looks=5)
    plain = json.loads(json.dumps(columns(evidence_series, judge)))
    plain["metrics"]["errors"]["streams"][0]["canary"].pop()
    with pytest.raises(ValueError, match=r"errors\.canary: expected 5 numbers, got 4"):
        SeriesColumns.model_validate(plain)
