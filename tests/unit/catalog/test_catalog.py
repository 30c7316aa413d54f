import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aviary.catalogs import make_catalog
from schemas.alert_policy import SEVERITIES, AlertAction, AlertPolicy
from schemas.strategy import Bake, Gate, OnInconclusive, Strategy
from tests.unit.catalog.builders import MEMORY, catalog, dags, graph_catalog

ENVOY = {"kind": "envoy", "directory": "/etc/envoy", "admin": ["http://127.0.0.1:9901"]}


def strategy(*steps: Any, **fields: Any) -> Strategy:
    return Strategy.model_validate({"steps": list(steps), **fields})


def test_a_service_may_be_one_line_or_nothing() -> None:
    found = catalog({"ledger": None, "cart": {}, "shop": {"depends_on": ["cart"]}})
    assert found.resolve("ledger").depends_on == ()
    assert found.resolve("shop").depends_on == ("cart",)
    assert found.resolve("cart").strategy_name == "standard"


@given(dags())
def test_a_catalog_survives_the_way_through_json(graph: dict[str, list[str]]) -> None:
    found = graph_catalog(graph)
    read = make_catalog(json.loads(found.model_dump_json()))
    assert read.model_dump() == found.model_dump()


def test_a_strategy_survives_the_way_through_json() -> None:
    found = strategy(
        1,
        "2.5%",
        {"weight": 5, "bake": "1m", "gate": True},
        {"weight": 9, "gate": "Sure?"},
        bake={"min": "10s", "max": "90s"},
        soak="5m",
        on_inconclusive="roll_back",
    )
    assert Strategy.model_validate_json(found.model_dump_json()) == found
    assert found.on_inconclusive is OnInconclusive.ROLL_BACK


def test_short_forms_mean_what_they_look_like() -> None:
    found = strategy(5, {"weight": 10, "bake": "2m", "gate": True}, {"weight": 20, "gate": False})
    first, second, third = found.steps
    assert (first.weight, first.bake, first.gate) == (5.0, None, None)
    assert second.bake == Bake(min=timedelta(minutes=2), max=timedelta(minutes=2))
    assert second.gate == Gate(text="")
    assert third.gate is None
    assert strategy({"weight": 1, "gate": "Ask Ann"}).steps[0].gate == Gate(text="Ask Ann")


def test_full_steps_fill_in_the_bake_and_end_at_all_requests() -> None:
    found = strategy(5, {"weight": 50, "bake": "3m"}, bake="1m")
    assert [(s.weight, s.bake.max) for s in found.full_steps] == [
        (5.0, timedelta(minutes=1)),
        (50.0, timedelta(minutes=3)),
        (100.0, timedelta(0)),
    ]
    assert [s.weight for s in found.steps] == [5.0, 50.0]


def test_a_last_step_of_100_keeps_its_own_bake() -> None:
    found = strategy(5, {"weight": 100, "bake": "3m"})
    assert [(s.weight, s.bake.max) for s in found.full_steps][-1] == (100.0, timedelta(minutes=3))
    assert len(found.full_steps) == 2


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=8))
def test_weights_must_grow(hundredths: list[int]) -> None:
    weights = [number / 100 for number in hundredths]
    grows = all(a < b for a, b in itertools.pairwise(weights))
    if grows:
        assert [s.weight for s in strategy(*weights).steps] == weights
    else:
        with pytest.raises(ValidationError, match="grows from step to step"):
            strategy(*weights)


@pytest.mark.parametrize(
    "step", [0, -1, 100.01, True, "x", {"weight": 5, "bake": {"min": "2m", "max": "1m"}}]
)
def test_impossible_steps_are_refused(step: Any) -> None:
    with pytest.raises(ValidationError):
        strategy(step)


def test_a_strategy_needs_a_step() -> None:
    with pytest.raises(ValidationError):
        strategy()


def test_alert_severities_keep_the_defaults_that_are_not_named() -> None:
    policy = AlertPolicy.model_validate({"severities": {"warning": "rollback", "odd": "record"}})
    expected = {**SEVERITIES, "warning": AlertAction.ROLLBACK, "odd": AlertAction.RECORD}
    assert policy.severities == expected
    assert policy.otherwise is AlertAction.ROLLBACK


def test_defaults_fill_in_and_services_override() -> None:
    found = catalog(
        {
            "plain": {},
            "own": {
                "router": ENVOY,
                "strategy": "slow",
                "metrics": [],
                "judge": {"alpha": 0.01},
                "alerts": {"otherwise": "record"},
            },
        },
        defaults={**MEMORY, "strategy": "fast", "judge": {"margin": 2}},
        strategies={"fast": {"steps": [50]}, "slow": {"steps": [1], "soak": "1h"}},
    )
    plain, own = found.resolve("plain"), found.resolve("own")
    assert (plain.strategy_name, plain.judge.margin, plain.router.kind) == ("fast", 2, "memory")
    assert (own.strategy_name, own.judge.alpha, own.router.kind) == ("slow", 0.01, "envoy")
    assert own.metrics == ()
    assert own.alerts.otherwise is AlertAction.RECORD
    assert found.resolve("own", strategy="fast").strategy_name == "fast"


def test_metrics_follow_the_router_where_none_are_named() -> None:
    found = catalog({"a": {"router": ENVOY}, "b": {}}, defaults={"router": {"kind": "memory"}})
    assert [metric.name for metric in found.resolve("a").metrics or ()] == ["errors", "latency"]
    assert found.resolve("b").metrics is None


def test_the_standard_strategy_can_be_replaced() -> None:
    own = catalog({"a": {}}, strategies={"standard": {"steps": [42]}})
    assert own.resolve("a").strategy.steps[0].weight == 42
    assert [s.weight for s in catalog({"a": {}}).resolve("a").strategy.full_steps] == [
        1,
        5,
        25,
        50,
        100,
    ]


@pytest.mark.parametrize(("service", "strategy_name"), [("nope", None), ("a", "nope")])
def test_resolving_an_unknown_name_is_a_key_error(service: str, strategy_name: str | None) -> None:
    with pytest.raises(KeyError, match="nope"):
        catalog({"a": {}}).resolve(service, strategy_name)


def test_a_catalog_made_in_code_is_checked_as_well() -> None:
    with pytest.raises(ValidationError, match="a -> b -> a"):
        graph_catalog({"a": ["b"], "b": ["a"]}, cycles="refuse")
