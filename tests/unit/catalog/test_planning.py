from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deploy import DeployRequested
from schemas.release import ReleasePlan
from schemas.stages import InStepStage
from tests.unit.catalog.builders import (
    catalog,
    dags,
    deploy,
    graph_catalog,
    graphs,
    reachable,
)
from workflows.planning import PlanError, PlanReason, plan_release


@st.composite
def parts(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """A graph, and some of its services in any order."""
    graph = draw(dags())
    return graph, draw(st.lists(st.sampled_from(sorted(graph)), unique=True, min_size=1))


@given(parts())
def test_order_is_kept_through_services_outside_the_release(
    case: tuple[dict[str, list[str]], list[str]],
) -> None:
    graph, chosen = case
    plan = plan_release(graph_catalog(graph), deploy(*chosen))
    stage_of = {name: at for at, stage in enumerate(plan.stages) for name in stage}
    assert sorted(stage_of) == sorted(chosen)
    assert sum(map(len, plan.stages)) == len(chosen)
    needs = {name: set(plan.services[name].depends_on) for name in chosen}
    for name in chosen:
        wanted = reachable(graph, name) & set(chosen)
        assert needs[name] <= wanted
        # What is not named as a dependency is one of a dependency.
        assert set().union(needs[name], *(reachable(graph, n) for n in needs[name])) >= wanted
        assert stage_of[name] == max((stage_of[need] + 1 for need in wanted), default=0)


@given(parts(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_event(
    case: tuple[dict[str, list[str]], list[str]], random: st.DataObject
) -> None:
    graph, chosen = case
    shuffled = list(chosen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = graph_catalog(graph)
    first, second = plan_release(found, deploy(*chosen)), plan_release(found, deploy(*shuffled))
    assert first == second
    assert ReleasePlan.model_validate_json(first.model_dump_json()) == first


def test_a_dependency_outside_the_release_still_orders_it() -> None:
    found = graph_catalog({"ledger": [], "cart": ["ledger"], "shop": ["cart"]})
    plan = plan_release(found, deploy("shop", "ledger"))
    assert plan.stages == (("ledger",), ("shop",))
    assert plan.services["shop"].depends_on == ("ledger",)


def test_a_plan_is_a_snapshot_of_what_the_catalog_says() -> None:
    found = catalog(
        {"a": {}, "b": {"depends_on": ["a"], "strategy": "slow"}},
        strategies={"slow": {"steps": [1], "soak": "1h"}, "fast": {"steps": [50], "soak": "1s"}},
        environment="prod",
        max_parallel=3,
        alert_labels={"service": ["app", "service"]},
    )
    plan = plan_release(found, deploy("a", "b", labels={"team": "shop"}), source="/ci#1")
    assert plan.soak == timedelta(hours=1)
    assert (plan.environment, plan.max_parallel, plan.source) == ("prod", 3, "/ci#1")
    assert plan.labels == {"team": "shop"}
    assert plan.services["a"].strategy_name == "standard"
    assert plan.services["b"].strategy.steps[0].weight == 1
    assert plan.services["a"].service_labels == ("app", "service")
    every = plan_release(found, deploy("a", "b", strategy="fast"))
    assert {service.strategy_name for service in every.services.values()} == {"fast"}
    assert every.soak == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("request_", "reason", "text"),
    [
        (
            deploy("a", "payment"),
            PlanReason.UNKNOWN_SERVICE,
            "services: got 'payment', expected services of the catalog; did you mean 'payments'?",
        ),
        (
            deploy("a", strategy="fsat"),
            PlanReason.UNKNOWN_STRATEGY,
            "strategy: got 'fsat', expected one of fast, standard; did you mean 'fast'?",
        ),
        (
            DeployRequested.model_construct(
                release="r", services=(*deploy("a").services, *deploy("a").services), strategy=None
            ),
            PlanReason.DUPLICATE_SERVICE,
            "services: got 'a' more than once, expected each service once",
        ),
    ],
)
def test_what_cannot_be_planned_says_why(
    request_: DeployRequested, reason: PlanReason, text: str
) -> None:
    found = catalog({"a": {}, "payments": {}}, strategies={"fast": {"steps": [50]}})
    with pytest.raises(PlanError) as caught:
        plan_release(found, request_)
    assert caught.value.reason is reason
    assert caught.value.text == str(caught.value) == text


def test_ten_thousand_services_in_a_chain() -> None:
    names = [f"s{at}" for at in range(10_000)]
    found = graph_catalog({name: names[at - 1 : at] for at, name in enumerate(names)})
    assert len(plan_release(found, deploy(*names)).stages) == 10_000
    ends = plan_release(found, deploy(names[0], names[-1]))
    assert ends.stages == ((names[0],), (names[-1],))


def test_a_ramp_needs_failures_to_count() -> None:
    ramp = {"ramp": {"budget": 100}}
    slow = {"kind": "histogram", "name": "latency"}
    found = catalog({"a": {"strategy": "r", "metrics": [slow]}}, strategies={"r": ramp})
    with pytest.raises(PlanError, match="expected a metric of kind ratio") as caught:
        plan_release(found, deploy("a"))
    assert caught.value.reason is PlanReason.UNFIT_STRATEGY


def test_thousands_of_dependencies_through_others_are_small_and_refused_where_they_are_not() -> (
    None
):
    count = 3000
    graph: dict[str, list[str]] = {}
    for at in range(count):
        graph[f"c{at}"] = []
        graph[f"u{at}"] = [f"c{at}", *([f"u{at - 1}"] if at else [])]
    graph |= {f"z{at}": [f"u{count - 1}"] for at in range(100)}
    found = graph_catalog(graph)
    chosen = [name for name in graph if name[0] == "c"]
    plan = plan_release(found, deploy(*chosen, "z0"))
    assert plan.services["z0"].depends_on == tuple(sorted(chosen))
    with pytest.raises(PlanError, match="300,000 dependencies") as caught:
        plan_release(found, deploy(*chosen, *(f"z{at}" for at in range(100))))
    assert caught.value.reason is PlanReason.TOO_LARGE


@given(graphs(), st.data())
def test_services_that_need_each_other_are_a_group_which_waits_as_one(
    graph: dict[str, list[str]], data: st.DataObject
) -> None:
    graph = {name: [need for need in needs if need != name] for name, needs in graph.items()}
    chosen = data.draw(st.lists(st.sampled_from(sorted(graph)), unique=True, min_size=1))
    plan = plan_release(graph_catalog(graph), deploy(*chosen))
    reach = {name: reachable(graph, name) for name in chosen}
    stage_of = {name: at for at, stage in enumerate(plan.stages) for name in stage}
    assert sorted(stage_of) == sorted(chosen), "no service is left out"
    for name in chosen:
        one = plan.services[name]
        both = {x for x in chosen if x == name or (x in reach[name] and name in reach[x])}
        assert set(one.group) == (both if len(both) > 1 else set())
        assert not both & set(one.depends_on)
        assert set(one.depends_on) <= reach[name]
        for need in (reach[name] & set(chosen)) - both:
            assert stage_of[need] < stage_of[name]
        for other in one.group:
            assert plan.services[other].depends_on == one.depends_on
            assert plan.services[other].group == one.group
            assert stage_of[other] == stage_of[name]
    assert ReleasePlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_cycle_through_services_outside_the_release_counts() -> None:
    train = {"travel": ["basic"], "basic": ["seat"], "seat": ["travel", "order"], "order": []}
    found = graph_catalog({**train, "web": ["seat"]})
    plan = plan_release(found, deploy("travel", "seat", "order", "web"))
    assert plan.stages == (("order",), ("seat", "travel"), ("web",))
    assert plan.groups == (("seat", "travel"),)
    assert plan.services["travel"].depends_on == ("order",)
    assert plan.services["web"].depends_on == ("seat", "travel")
    assert not plan_release(found, deploy("travel", "order")).groups, "alone it moves alone"


def points(plan: ReleasePlan, service: str) -> list[str]:
    return [
        f"{one.kind} {one.point}" if isinstance(one, InStepStage) else one.kind
        for one in plan.services[service].stages
        if one.kind in {"shift", "in_step", "hold"}
    ]


def test_a_group_comes_together_before_each_step_that_both_have_and_before_it_holds() -> None:
    found = catalog(
        {
            "seat": {"depends_on": ["travel"], "strategy": "two"},
            "travel": {"depends_on": ["seat"], "strategy": "three"},
            "web": {"strategy": "two"},
        },
        strategies={"two": {"steps": [50]}, "three": {"steps": [10, 50]}},
    )
    plan = plan_release(found, deploy("seat", "travel", "web"))
    assert points(plan, "web") == ["shift", "shift", "hold"]
    assert points(plan, "seat") == ["shift", "in_step 1", "shift", "in_step 3", "hold"]
    assert points(plan, "travel") == [
        *("shift", "in_step 1", "shift", "in_step 2", "shift"),
        *("in_step 3", "hold"),
    ]


def test_a_ramp_comes_together_with_its_group_before_it_holds() -> None:
    ratio = {"kind": "ratio", "name": "errors", "bad": "b", "total": "t"}
    found = catalog(
        {
            "seat": {"depends_on": ["travel"], "strategy": "r"},
            "travel": {"depends_on": ["seat"]},
        },
        strategies={"r": {"ramp": {"budget": 100}}},
        defaults={
            "router": {"kind": "envoy", "directory": "/d", "admin": ["http://e:1"]},
            "metrics": [ratio],
        },
    )
    plan = plan_release(found, deploy("seat", "travel"))
    assert points(plan, "seat") == ["shift", "in_step 5", "hold"]
    assert points(plan, "travel")[-2:] == ["in_step 5", "hold"]


def test_a_group_of_ten_thousand_is_found_and_is_too_large_for_a_plan() -> None:
    names = [f"s{at}" for at in range(10_000)]
    found = graph_catalog({name: [names[at - 1]] for at, name in enumerate(names)})
    assert plan_release(found, deploy(names[0], names[5_000])).groups == (("s0", "s5000"),)
    with pytest.raises(PlanError, match="release fewer services") as caught:
        plan_release(found, deploy(*names))
    assert caught.value.reason is PlanReason.TOO_LARGE
