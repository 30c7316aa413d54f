"""The charts show what the evidence series say, and plotly takes them."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest

from analysis.evalues import Tally
from analysis.evidence_series import look, of_judge
from analysis.judge import Judge
from aviary.report.charts import service_figure
from aviary.report.layers import arrange, direct
from aviary.report.running import with_kept
from aviary.report.series import evidence_series_of, service_series
from aviary.report.weights import weights_figure
from schemas.event_kinds import MomentKind
from schemas.judging import JudgeSpec
from schemas.timeline import ServiceTimeline, Timeline
from tests.replay.record import SCENARIOS
from tests.unit.report.sample import METRICS, SHOP, at, many, recorded, timeline_of

NOW = at(200)


def _trace(figure: dict[str, Any], name: str) -> dict[str, Any]:
    found = [one for one in figure["data"] if one["name"] == name and one["mode"] == "lines"]
    trace: dict[str, Any] = found[0]
    return {**trace, "x": figure["xs"][trace["x"]]}


def _plain(figure: dict[str, Any]) -> dict[str, Any]:
    data = [{**trace, "x": figure["xs"][trace["x"]]} for trace in figure["data"]]
    return {"data": data, "layout": figure["layout"]}


@pytest.mark.parametrize("scenario", [one.__name__ for one in SCENARIOS])
def test_plotly_takes_the_figures_of_recorded_releases(scenario: str) -> None:
    timeline = recorded(scenario)
    weights = go.Figure(_plain(weights_figure(timeline, NOW)))
    assert weights.data
    for name in timeline.services:
        go.Figure(_plain(service_figure(timeline, name, NOW)))


def test_plotly_takes_the_figures_of_a_long_release() -> None:
    timeline = timeline_of(SHOP, bad="payments")
    go.Figure(_plain(weights_figure(timeline, NOW)))
    go.Figure(_plain(service_figure(timeline, "payments", NOW)))


def test_the_odds_are_those_of_the_evidence_series() -> None:
    timeline = timeline_of(SHOP, bad="payments")
    evidence_series_list = [
        evidence_series_of(one) for one in timeline.services["payments"].judgings
    ]
    logs = [
        value
        for evidence_series in evidence_series_list
        if evidence_series and evidence_series.odds
        for value in evidence_series.odds
    ]
    drawn = _trace(service_figure(timeline, "payments", NOW), "odds over all")
    assert [math.log10(value) for value in drawn["y"] if value] == pytest.approx(logs, abs=1e-3)
    assert max(value for value in drawn["y"] if value) >= 20
    times = [
        (evidence_series.began_at + timedelta(seconds=second) - timeline.started_at).total_seconds()
        for evidence_series in evidence_series_list
        if evidence_series
        for second in evidence_series.at
    ]
    assert [one for one in drawn["x"] if one is not None] == pytest.approx(times, abs=0.01)


def test_the_line_that_fails_is_at_one_over_alpha() -> None:
    drawn = _trace(service_figure(timeline_of(SHOP), "ledger", NOW), "odds that fail")
    assert set(drawn["y"]) == {20.0}


def test_rates_end_where_the_verdict_says() -> None:
    timeline = timeline_of(SHOP, bad="payments")
    verdict = timeline.services["payments"].judgings[-1].verdict
    assert verdict is not None
    figure = service_figure(timeline, "payments", NOW)
    errors = verdict.metrics[0]
    for name, counts in (("canary", errors.canary), ("stable", errors.stable)):
        assert counts.rate is not None
        assert _trace(figure, name)["y"][-1] == pytest.approx(100 * counts.rate, rel=1e-3)


def test_a_canary_that_went_on_in_another_run_is_one_line() -> None:
    one = timeline_of(SHOP).services["ledger"]
    judgings = tuple(
        judging.model_copy(update={"run_id": f"run-{index}"})
        for index, judging in enumerate(one.judgings)
    )
    assert service_series(one.model_copy(update={"judgings": judgings})) == service_series(one)


def test_a_dot_is_the_rate_of_one_interval() -> None:
    service = timeline_of({"ledger": ()}).services["ledger"]
    series = service_series(service)
    evidence_series = evidence_series_of(service.judgings[0])
    assert evidence_series is not None
    stream = evidence_series.metrics["errors"].streams[0]
    expected = [
        None if n == 0 else pytest.approx(bad / n, rel=1e-4)
        for bad, n in zip(stream.bad_canary, stream.canary, strict=True)
    ]
    assert series.metrics["errors"].canary_now[: len(expected)] == expected


def test_every_column_is_as_long_as_its_times() -> None:
    for bad in (None, "ledger"):
        series = service_series(timeline_of({"ledger": ()}, bad=bad).services["ledger"])
        for metric in series.metrics.values():
            assert {len(values) for values in metric.all()} == {len(series.at)}
        assert len(series.odds) == len(series.at)


def test_verdicts_alerts_and_people_are_drawn_where_they_happened() -> None:
    timeline = timeline_of(SHOP, bad="payments")
    figure = weights_figure(timeline, NOW)
    marks = {one["name"]: figure["xs"][one["x"]] for one in figure["data"] if "marker" in one}
    failed = [
        (one.at - timeline.started_at).total_seconds()
        for one in timeline.moments
        if one.verdict is not None and one.verdict.kind.value == "FAIL"
        and one.kind is MomentKind.JUDGED
    ]  # fmt: skip
    assert marks["verdict FAIL"] == failed
    assert marks["a person"] == [600.0, 720.0]
    assert len(marks["alert"]) == 1


def test_a_series_of_another_version_leaves_the_rest() -> None:
    timeline = timeline_of({"ledger": ()})
    one = timeline.services["ledger"]
    judgings = tuple(
        j.model_copy(update={"evidence_series": {"of": "tomorrow"}}) for j in one.judgings
    )
    changed = Timeline.model_validate(
        timeline.model_copy(
            update={"services": {"ledger": one.model_copy(update={"judgings": judgings})}}
        ).model_dump()
    )
    names = {trace["name"] for trace in service_figure(changed, "ledger", NOW)["data"]}
    assert "weight" in names
    assert "canary" not in names


@pytest.mark.parametrize("needs", [SHOP, many(50), {"alone": ()}])
def test_arrows_go_down_beside_the_boxes(needs: dict[str, tuple[str, ...]]) -> None:
    edges = direct({name: frozenset(of) for name, of in needs.items()})
    plan = timeline_of(needs).plan
    layout = arrange(plan.stages, edges)
    boxes = [slot.name for line in layout.lines for slot in line if slot.to is None]
    assert sorted(boxes) == sorted(needs)
    assert {(a[0][1].name, a[-1][1].name) for a in layout.arrows} == {
        (one, name) for name, of in edges.items() for one in of
    }
    for arrow in layout.arrows:
        lines = [line for line, _ in arrow]
        assert lines == list(range(lines[0], lines[-1] + 1))
        assert all(slot in layout.lines[line] for line, slot in arrow)


def test_only_direct_dependencies_are_drawn() -> None:
    edges = direct({name: frozenset(of) for name, of in SHOP.items()})
    assert edges["storefront"] == {"checkout"}
    assert edges["checkout"] == {"inventory", "payments"}


def _bakes_still(kept: Any) -> ServiceTimeline:
    """A service whose first bake goes on, with what its judge has kept so far."""
    one = timeline_of({"ledger": ()}).services["ledger"]
    first = one.judgings[0].model_copy(
        update={"evidence_series": None, "ended_at": None, "verdict": None}
    )
    return with_kept(one.model_copy(update={"judgings": (first,)}), kept)


def _kept() -> dict[str, Any]:
    judge = Judge(JudgeSpec(), METRICS)
    evidence_series = of_judge(judge)
    for index in range(4):
        judge.observe_counts({"errors": Tally(1, 100, 1, 900)}, 15.0 * index, 15.0 * (index + 1))
        evidence_series.add(look(judge, 15.0 * (index + 1)))
    state: dict[str, Any] = json.loads(
        json.dumps({**judge.dump(), "evidence_series": evidence_series.dump()})
    )
    return state


def test_a_bake_that_goes_on_is_drawn_from_the_judges_heartbeat() -> None:
    series = service_series(_bakes_still(_kept()))
    assert len(series.at) == 4
    assert series.metrics["errors"].canary == [0.01] * 4


@pytest.mark.parametrize(
    "kept",
    [
        None,
        "junk",
        {},
        {"evidence_series": [1, 1, 0, {}, []]},
        {"state": 99, "evidence_series": []},
    ],
)
def test_a_heartbeat_of_another_version_leaves_the_rest(kept: Any) -> None:
    assert service_series(_bakes_still(kept)).at == []


def test_a_judging_that_ended_keeps_its_own_series() -> None:
    one = timeline_of({"ledger": ()}).services["ledger"]
    assert with_kept(one, _kept()) == one
