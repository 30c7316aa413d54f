"""The charts show what the trails say, and plotly takes them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest

from aviary.report.charts import service_figure
from aviary.report.lanes import weights_figure
from aviary.report.layers import arrange, direct
from aviary.report.series import service_series, trail_of
from schemas.timeline import MomentKind, Timeline
from tests.replay.record import SCENARIOS
from tests.unit.report.sample import SHOP, at, many, recorded, story

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
    go.Figure(_plain(weights_figure(timeline, NOW)))
    for name in timeline.services:
        go.Figure(_plain(service_figure(timeline, name, NOW)))


def test_plotly_takes_the_figures_of_a_long_release() -> None:
    timeline = story(SHOP, bad="payments")
    go.Figure(_plain(weights_figure(timeline, NOW)))
    go.Figure(_plain(service_figure(timeline, "payments", NOW)))


def test_the_odds_are_the_trails() -> None:
    timeline = story(SHOP, bad="payments")
    trails = [trail_of(one) for one in timeline.services["payments"].judgings]
    logs = [value for trail in trails if trail and trail.odds for value in trail.odds]
    drawn = _trace(service_figure(timeline, "payments", NOW), "odds over all")
    assert [math.log10(value) for value in drawn["y"] if value] == pytest.approx(logs, abs=1e-3)
    assert max(value for value in drawn["y"] if value) >= 20
    times = [
        (trail.began_at + timedelta(seconds=second) - timeline.started_at).total_seconds()
        for trail in trails
        if trail
        for second in trail.at
    ]
    assert [one for one in drawn["x"] if one is not None] == pytest.approx(times, abs=0.01)


def test_the_line_that_fails_is_at_one_over_alpha() -> None:
    drawn = _trace(service_figure(story(SHOP), "ledger", NOW), "odds that fail")
    assert set(drawn["y"]) == {20.0}


def test_rates_end_where_the_verdict_says() -> None:
    timeline = story(SHOP, bad="payments")
    verdict = timeline.services["payments"].judgings[-1].verdict
    assert verdict is not None
    figure = service_figure(timeline, "payments", NOW)
    errors = verdict.metrics[0]
    for name, counts in (("canary", errors.canary), ("stable", errors.stable)):
        assert counts.rate is not None
        assert _trace(figure, name)["y"][-1] == pytest.approx(100 * counts.rate, rel=1e-3)


def test_a_dot_is_the_rate_of_one_interval() -> None:
    story_ = story({"ledger": ()}).services["ledger"]
    series = service_series(story_)
    trail = trail_of(story_.judgings[0])
    assert trail is not None
    stream = trail.metrics["errors"].streams[0]
    expected = [
        None if n == 0 else pytest.approx(bad / n, rel=1e-4)
        for bad, n in zip(stream.bad_canary, stream.canary, strict=True)
    ]
    assert series.metrics["errors"].canary_now[: len(expected)] == expected


def test_every_column_is_as_long_as_its_times() -> None:
    for bad in (None, "ledger"):
        series = service_series(story({"ledger": ()}, bad=bad).services["ledger"])
        for metric in series.metrics.values():
            assert {len(values) for values in metric.all()} == {len(series.at)}
        assert len(series.odds) == len(series.at)


def test_verdicts_alerts_and_people_are_drawn_where_they_happened() -> None:
    timeline = story(SHOP, bad="payments")
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


def test_a_trail_of_another_version_leaves_the_rest() -> None:
    timeline = story({"ledger": ()})
    one = timeline.services["ledger"]
    judgings = tuple(j.model_copy(update={"trail": {"of": "tomorrow"}}) for j in one.judgings)
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
    plan = story(needs).plan
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
