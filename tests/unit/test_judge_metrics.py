"""The gauges of judges: there while a service is judged, and gone right after."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from aviary.telemetry.judging import METRICS_MOST, JudgeMetrics
from schemas.live import Live, LiveMetric
from schemas.verdict import Counts, VerdictKind
from tests.hostile import AT

NOTHING = Counts(bad=0, total=0, rate=None)


def live(**more: object) -> Live:
    metrics = [
        LiveMetric(
            name="errors", canary=NOTHING, stable=NOTHING, e_value=4.0, upper_bound=0.02,
            tolerance=0.01,
        ),
        LiveMetric(name="memory", kind="gauge", canary=NOTHING, stable=NOTHING, e_value=2.0),
    ]  # fmt: skip
    fields = {
        "at": AT,
        "kind": VerdictKind.INCONCLUSIVE,
        "sentence": "so far so good",
        "weight": 5.0,
        "started_at": AT,
        "e_value": 4.0,
        "threshold": 40.0,
        "to_fail": 0.4,
        "to_go_on": 0.6,
        "metrics": metrics,
    }
    return Live.model_validate(fields | more)


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """All samples, by name, and the metric where there is one."""
    return {
        " ".join([one.name.removeprefix("aviary_judge_"), *one.labels.values()]): one.value
        for family in registry.collect()
        for one in family.samples
    }


def test_what_a_judge_sees_is_shown_while_it_judges() -> None:
    registry = CollectorRegistry()
    metrics = JudgeMetrics(registry)
    with metrics.judging("checkout") as show, metrics.judging("ledger") as other:
        assert shown(registry) == {}
        show(live())
        other(live(to_go_on=None, metrics=[]))
        assert shown(registry) == {
            "odds checkout errors": 4.0,
            "odds checkout memory": 2.0,
            "odds_limit checkout": 40.0,
            "odds_limit ledger": 40.0,
            "bound checkout errors": 0.02,
            "tolerance checkout errors": 0.01,
            "to_fail checkout": 0.4,
            "to_fail ledger": 0.4,
            "to_go_on checkout": 0.6,
        }
    assert shown(registry) == {}


def test_an_attempt_that_another_has_followed_takes_nothing_away() -> None:
    registry = CollectorRegistry()
    metrics = JudgeMetrics(registry)
    old = metrics.judging("checkout")
    show_old = old.__enter__()
    with metrics.judging("checkout") as show:
        show(live())
        show_old(live(to_fail=0.9))
        old.__exit__(None, None, None)
        assert shown(registry)["to_fail checkout"] == 0.4
    assert shown(registry) == {}


def test_it_goes_when_judging_fails() -> None:
    registry = CollectorRegistry()
    metrics = JudgeMetrics(registry)

    def fail() -> None:
        with metrics.judging("checkout") as show:
            show(live())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert shown(registry) == {}


def test_no_more_metrics_are_shown_than_there_is_room_for() -> None:
    registry = CollectorRegistry()
    many = [
        LiveMetric(name=f"m{n}", canary=NOTHING, stable=NOTHING) for n in range(METRICS_MOST + 5)
    ]
    with JudgeMetrics(registry).judging("checkout") as show:
        show(live(metrics=many))
        assert sum(name.startswith("odds ") for name in shown(registry)) == METRICS_MOST
