"""The router's readings of a bake: bounded, whole, and the newest as they were."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.intervals import Interval
from analysis.router_series import MOST_ROWS, RouterSeries
from schemas.evidence_series import RouterEvidenceSeries

READINGS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 99)), min_size=1, max_size=300)
FEW = settings(max_examples=15, deadline=None)


def filled(readings: list[tuple[int, int]], streams: int = 1) -> RouterSeries:
    series, at = RouterSeries(), 1000.0
    for bad, good in readings:
        groups = ((Tally(bad, bad + good, 0, 100),),) * streams
        series.add({"errors": Interval(at, at + 0.25, groups)})
        at += 0.25
    return series


@FEW
@given(READINGS, st.integers(1, 8))
def test_it_is_bounded_and_loses_no_request(readings: list[tuple[int, int]], streams: int) -> None:
    series = filled(readings, streams)
    assert len(series.rows) <= MOST_ROWS
    assert len(json.dumps(series.columns({}), separators=(",", ":"))) < 7000
    for index in range(streams):
        counted = [row.streams["errors"][index] for row in series.rows]
        assert sum(one.bad_c for one in counted) == sum(bad for bad, _ in readings)
        assert sum(one.n_b for one in counted) == 100 * len(readings)
    assert all(a.end == b.start for a, b in pairwise(series.rows))
    assert series.rows[0].start == 1000.0
    assert series.rows[-1].end == 1000.0 + 0.25 * len(readings)


@FEW
@given(READINGS)
def test_the_newest_stay_as_they_were_read(readings: list[tuple[int, int]]) -> None:
    newest = filled(readings).rows[-MOST_ROWS // 2 :]
    assert all(row.end - row.start == 0.25 for row in newest)
    for row, (bad, _) in zip(reversed(newest), reversed(readings), strict=False):
        assert row.streams["errors"][0].bad_c == bad


@FEW
@given(READINGS)
def test_another_attempt_goes_on_from_it(readings: list[tuple[int, int]]) -> None:
    series = filled(readings)
    again = RouterSeries.load(json.loads(json.dumps(series.dump())))
    assert again.rows == series.rows


def test_a_metric_that_began_later_has_zeros_before() -> None:
    series = filled([(1, 2)])
    slow = ((Tally(0, 5, 0, 5),), (Tally(1, 5, 0, 5),))
    series.add({"latency": Interval(1000.25, 1000.5, slow)})
    found = RouterEvidenceSeries.model_validate(series.columns({"latency": (0.1, 1.0)}))
    assert list(found.at) == [0.25, 0.5]
    assert list(found.metrics["latency"].edges) == [0.1, 1.0]
    assert list(found.metrics["latency"].streams[1].bad_canary) == [0, 1]
    assert list(found.metrics["errors"].streams[0].canary) == [3, 0]


def test_nothing_is_shown_where_nothing_was_counted() -> None:
    series = RouterSeries()
    series.add({})
    assert series.columns({}) is None
