"""Judge and metric specifications: defaults that work, and errors that help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from schemas.judging import HistogramMetric, JudgeSpec, RampSpec, read_metric, render


def test_an_empty_judge_works() -> None:
    spec = JudgeSpec.model_validate({})
    assert (spec.method, spec.alpha, spec.margin) == ("adaptive", 0.05, 1.0)


def test_a_metric_is_its_own_query_unless_it_says_otherwise() -> None:
    assert read_metric({"kind": "ratio", "name": "errors"}).query == "errors"
    assert read_metric({"kind": "ratio", "name": "a", "query": "errors"}).query == "errors"
    own = read_metric({"kind": "ratio", "name": "a", "bad": "x", "total": "y"})
    assert (own.query, own.templates) == (None, {"bad": "x", "total": "y"})
    assert read_metric(own.model_dump(mode="json")) == own


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"kind": "ratio", "name": "e", "bad": "x"}, "own PromQL also needs total"),
        ({"kind": "ratio", "name": "e", "query": "q", "bad": "x", "total": "y"}, "not both"),
        ({"kind": "gauge", "name": "e", "value": "x{{pod}}"}, "unknown variable"),
        ({"kind": "gauge", "name": "e", "margin": 1.1}, "greater than or equal to 1.2"),
        ({"kind": "histogram", "name": "e", "edges": [0.5, 0.1]}, "must be positive and grow"),
        ({"kind": "histogram", "name": "e", "slo": 0.1}, "exactly one edge"),
        ({"kind": "threshold", "name": "e"}, "limit"),
        ({"kind": "mean", "name": "e"}, "mean"),
        ({"kind": "ratio", "name": "E"}, "pattern"),
        ({"kind": "ratio", "name": "e", "wieght": 1}, "wieght"),
    ],
)
def test_a_wrong_metric_is_refused(metric: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read_metric(metric)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"alpha": 0}, "alpha"),
        ({"margin": 0.9}, "margin"),
        ({"method": "magic"}, "method"),
        ({"interval": "0s"}, "longer than 0s"),
        ({"threshold": {"window": "0s"}}, "longer than 0s"),
        ({"kayenta": {"pass_score": 10}}, "marginal_score must not be above"),
        ({"tolerence": 0.1}, "tolerence"),
    ],
)
def test_a_wrong_judge_is_refused(judge: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JudgeSpec.model_validate(judge)


def test_a_ramp_needs_a_budget() -> None:
    with pytest.raises(ValidationError, match="budget"):
        RampSpec.model_validate({})


def test_values_are_escaped_in_promql() -> None:
    assert render('a{b="{{ service }}"}', {"service": 'x"y\\'}) == 'a{b="x\\"y\\\\"}'


def test_a_histogram_keeps_its_edges() -> None:
    assert HistogramMetric(name="latency", edges=(0.1, 0.5)).edges == (0.1, 0.5)


def test_the_documented_settings_are_the_defaults_and_the_documented_metrics_are_read() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "judging.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    shown = yaml.safe_load(found.group(1))
    assert JudgeSpec.model_validate(shown["judge"]) == JudgeSpec()
    assert [read_metric(metric).kind for metric in shown["metrics"]] == [
        "ratio",
        "histogram",
        "ratio",
        "gauge",
        "threshold",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cap", 0),
        ("full_weight", 0),
        ("hold_after", "0s"),
        ("interval", "999ms"),
        ("interval", "301s"),
    ],
)
def test_a_ramp_that_could_never_end_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        RampSpec.model_validate({"budget": 500, field: value})
    fine = {"cap": 0.01, "full_weight": 0.01, "hold_after": "1s", "interval": "1s"}
    assert RampSpec.model_validate({"budget": 500, **fine}).cap == 0.01
