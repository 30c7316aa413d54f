"""Strategies in which no user sees the version at first: what they are made into, and refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aviary.cli.tables import steps_of
from schemas.capabilities import Capabilities, TotalGrid
from schemas.capability_check import check_able
from schemas.catalog_file import CatalogError
from schemas.deploy import DeployRequested
from schemas.mirroring import MirrorTerms
from schemas.stages import BakeStage, MirrorStage, PreviewStage, ShiftStage, first_share, stages_of
from schemas.strategy import Strategy
from tests.catalogs import make, parse
from workflows import describe
from workflows.planning import PlanError, plan_release

HEAD = "version: 1\ndefaults: {router: {kind: memory}, metrics: [], strategy: s}\n"
ASKED = DeployRequested.model_validate(
    {"release": "r", "services": [{"service": "a", "version": "2"}]}
)


def strategy(**fields: Any) -> Strategy:
    return Strategy.model_validate(fields)


def given_in(found: Strategy) -> list[tuple[str, float]]:
    """What the version gets, stage after stage."""
    kinds = (PreviewStage, MirrorStage, ShiftStage)
    return [
        (one.kind, one.share if isinstance(one, MirrorStage) else getattr(one, "weight", 0))
        for one in stages_of(found)
        if isinstance(one, kinds)
    ]


def test_a_mirror_is_a_step_of_its_own_before_the_weights() -> None:
    found = strategy(steps=[{"mirror": "25%", "bake": "10m"}, 5], bake="1m")
    assert given_in(found) == [("mirror", 25), ("shift", 5), ("shift", 100)]
    bakes = [one for one in stages_of(found) if isinstance(one, BakeStage)]
    assert [(one.step, one.next_weight) for one in bakes] == [(0, 5), (1, 100)], "what is risked"
    assert first_share(stages_of(found)) == 25, "the instances that copies need"
    assert describe.steps(found) == "copies of 25 % → 5 % → 100 %"
    assert steps_of(found) == "copies of 25% 10m → 5% 1m → 100%"


def test_what_the_service_can_take_goes_into_its_plan() -> None:
    catalog = make(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "s"},
            "strategies": {"s": {"steps": [{"mirror": 10}]}},
            "services": {"a": {"mirror": {"writes": True}}},
        }
    )
    (found,) = [
        one
        for one in plan_release(catalog, ASKED).services["a"].stages
        if isinstance(one, MirrorStage)
    ]
    assert found.terms == MirrorTerms(writes=True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [("preview", 0), ("shift", 100)]),
        ({"steps": [100]}, [("preview", 0), ("shift", 100)]),
        ({"steps": [{"preview": True, "gate": True}]}, [("preview", 0), ("shift", 100)]),
        (
            {"steps": [{"mirror": 5}, {"mirror": 50}, {"preview": True}, {"weight": 100}]},
            [("mirror", 5), ("mirror", 50), ("preview", 0), ("shift", 100)],
        ),
    ],
)
def test_a_switch_gives_users_nothing_and_then_all(
    fields: dict[str, Any], expected: list[tuple[str, float]]
) -> None:
    assert given_in(strategy(shape="blue_green", **fields)) == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": [{"weight": 5, "mirror": 5}]}, "expected one of weight, mirror and preview"),
        ({"steps": [{"bake": "1m"}]}, "expected one of weight, mirror and preview"),
        ({"steps": [{"preview": False}]}, "Input should be True"),
        ({"steps": [{"mirror": 0}]}, "greater than 0"),
        ({"steps": [5, {"mirror": 25}]}, "mirror and preview before the first weight"),
        ({"steps": [5, {"preview": True}, 100]}, "mirror and preview before the first weight"),
        ({"shape": "blue_green", "steps": [50]}, "100, mirror or preview: shape blue_green"),
        (
            {"shape": "blue_green", "steps": [{"weight": 100, "audience": "staff"}]},
            "none with shape blue_green",
        ),
        ({"shape": "blue_green", "ramp": {"budget": 5}}, "none with shape blue_green"),
        ({"shape": "blue_green", "shrink_stable": True}, "false with shape blue_green"),
        ({"shape": "canary"}, "expected either steps or ramp"),
        ({"shape": "rainbow", "steps": [5]}, "blue_green"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        strategy(**fields)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("steps: [5, 50]", "steps of 5 %, 50 %"),
        ("steps: [{mirror: 5}, 50]", "a step of 50 %"),
        ("ramp: {budget: 5}", "a ramp"),
        ("steps: [{weight: 100, audience: staff}, 100]", "a step of 100 % of staff"),
        ("audience: staff, steps: [100]", "a step of 100 % of staff"),
    ],
)
def test_users_on_two_versions_are_refused_where_they_can_t_be(given: str, what: str) -> None:
    head = f"{HEAD}audiences: {{staff: {{header: {{x-group: staff}}}}}}\n"
    text = f"{head}strategies: {{s: {{{given}}}}}\nservices:\n  a: {{side_by_side: false}}\n  b:\n"
    with pytest.raises(CatalogError, match=rf"services\.a\.strategy: .*blue_green: with {what}"):
        parse(text)


def test_a_deploy_event_can_t_put_users_on_two_versions_either() -> None:
    text = (
        f"{HEAD}strategies: {{s: {{shape: blue_green}}}}\nservices:\n  a: {{side_by_side: false}}\n"
    )
    catalog = parse(text)
    assert plan_release(catalog, ASKED).services["a"].strategy.switches
    with pytest.raises(PlanError, match="services.a: got strategy 'standard'.*side_by_side"):
        plan_release(catalog, ASKED.model_copy(update={"strategy": "standard"}))


@pytest.mark.parametrize(
    ("can", "terms", "says"),
    [
        ({}, {}, ["no mirror: the router edge can't copy requests"]),
        ({"mirroring": True}, {}, ["mirror.writes of the service", "mirror.unmarked of the"]),
        ({"mirroring": True}, {"writes": True}, ["mirror.unmarked of the service"]),
        ({"mirroring": True}, {"writes": True, "unmarked": True}, []),
        ({"mirroring": True, "mirror_reads": True, "mirror_mark": True}, {}, []),
    ],
)
def test_copies_that_a_router_can_t_make_are_refused_unless_the_service_takes_them(
    can: dict[str, bool], terms: dict[str, bool], says: list[str]
) -> None:
    found = check_able(
        strategy(steps=[{"mirror": 5}]),
        Capabilities.model_validate({"weights": TotalGrid(total=100), **can}),
        "edge",
        terms=MirrorTerms(**terms),
    )
    expected = [one.expected for one in found]
    assert len(expected) == len(says)
    assert all(one.startswith(start) for one, start in zip(expected, says, strict=True))


def test_a_preview_needs_a_router_that_can_be_asked_for_a_version() -> None:
    found = check_able(
        strategy(steps=[{"preview": True}]), Capabilities(weights=TotalGrid(total=100)), "edge"
    )
    assert [one.path for one in found] == [("steps", 0, "preview")]


_UNSEEN = st.lists(
    st.one_of(
        st.builds(lambda share: {"mirror": share}, st.integers(1, 100)),
        st.just({"preview": True}),
    ),
    max_size=4,
)
_WEIGHTS = st.lists(st.integers(1, 100), unique=True, max_size=4).map(sorted)


@given(_UNSEEN, _WEIGHTS, st.booleans())
def test_whatever_comes_first_no_user_sees_the_version_before_its_weight(
    unseen: list[dict[str, Any]], weights: list[int], switches: bool
) -> None:
    steps = [*unseen, *([] if switches else weights)]
    shape = "blue_green" if switches else "canary"
    if not steps and not switches:
        return
    found = strategy(shape=shape, steps=steps, bake="1m")
    got = given_in(found)
    kinds = [kind for kind, _ in got]
    shifts = [share for kind, share in got if kind == "shift"]
    assert kinds == sorted(kinds, key=lambda kind: kind == "shift")
    assert shifts == sorted(set(shifts))
    assert shifts[-1] == 100
    assert got[: len(unseen)] == [
        ("mirror", one["mirror"]) if "mirror" in one else ("preview", 0) for one in unseen
    ]
    if switches:
        assert shifts == [100]
        assert kinds[0] != "shift", "it is there to be looked at before"
    every = [one.step for one in stages_of(found) if one.kind in kinds]
    assert every == list(range(len(found.full_steps)))
    assert Strategy.model_validate_json(found.model_dump_json()) == found
