"""What a router can do, and what a strategy may ask of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.base import format_duration
from schemas.capabilities import (
    Capabilities,
    Counting,
    Grid,
    RelativeGrid,
    StickyBy,
    TotalGrid,
    at_most,
    can_do,
    lacking,
    next_weight,
)
from schemas.capability_check import check_able, unseen
from schemas.judging import JudgeSpec
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from schemas.strategy import Strategy

GRIDS = st.builds(TotalGrid, total=st.integers(1, 20_000)) | st.builds(
    RelativeGrid, most=st.integers(1, 20_000)
)
WEIGHTS = st.integers(0, 10_000).map(lambda share: share / 100)
ALB = RelativeGrid(most=999)
EIGHTH_BIT = TotalGrid(total=256)


@given(GRIDS, WEIGHTS)
def test_the_nearest_weight_can_be_done(grid: TotalGrid | RelativeGrid, weight: float) -> None:
    assert can_do(grid, next_weight(grid, weight))
    parts = grid.nearest(weight)
    most = grid.total if isinstance(grid, TotalGrid) else grid.most
    assert min(parts) >= 0
    assert max(parts) <= most
    assert sum(parts) > 0
    if isinstance(grid, TotalGrid):
        assert sum(parts) == grid.total


@given(GRIDS, WEIGHTS)
def test_a_weight_that_can_be_done_is_its_own_nearest(grid: Grid, weight: float) -> None:
    assert can_do(grid, weight) == (next_weight(grid, weight) == weight)


@given(GRIDS, WEIGHTS)
def test_no_other_weight_is_nearer(grid: Grid, weight: float) -> None:
    found = abs(next_weight(grid, weight) - weight)
    for other in range(max(0, round(weight * 100) - 150), min(10_000, round(weight * 100) + 150)):
        if other and can_do(grid, other / 100):
            # Both are read to 0.01, so that the nearest may be off by one of those.
            assert found <= abs(other / 100 - weight) + 0.0101


@given(GRIDS, WEIGHTS)
def test_a_weight_that_is_computed_is_never_rounded_up(grid: Grid, weight: float) -> None:
    found = at_most(grid, weight)
    assert 0 <= found <= weight
    assert can_do(grid, found)
    between = range(round(found * 100) + 1, round(weight * 100) + 1)
    assert not any(can_do(grid, one / 100) for one in between)


@pytest.mark.parametrize(
    ("grid", "weight", "nearest"),
    [
        (ALB, 0.05, 0.1),
        (ALB, 99.99, 99.9),
        (EIGHTH_BIT, 5, 5.08),
        (EIGHTH_BIT, 0.01, 0.39),
        (TotalGrid(total=100), 12.5, 12.0),
    ],
)
def test_what_a_coarse_router_can_t_do_has_a_nearest(
    grid: Grid, weight: float, nearest: float
) -> None:
    assert not can_do(grid, weight)
    assert next_weight(grid, weight) == nearest


def test_versions_with_weights_of_their_own_can_do_more_than_their_number() -> None:
    assert [w for w in (0.1, 0.15, 5, 33.33, 99.9) if not can_do(ALB, w)] == []


def test_a_step_that_the_router_can_t_do_is_named_with_the_nearest_that_it_can() -> None:
    strategy = Strategy.model_validate({"steps": [0.05, 5, 50]})
    (found,) = check_able(strategy, Capabilities(weights=ALB), "alb", ("strategies", "careful"))
    assert found.path == ("strategies", "careful", "steps", 0, "weight")
    assert found.value == 0.05
    assert found.expected == (
        "a weight that the router alb can do: weights from 0 to 999 a version, 0.1 % or more; "
        "the nearest is 0.1 %"
    )


@pytest.mark.parametrize(
    ("ramp", "can", "field"),
    [
        ({}, Capabilities(weights=ALB), "ramp"),
        ({"cap": 0.05, "full_weight": 0.01}, Capabilities(weights=ALB, counts="router"), "cap"),
        (
            {"cap": 25, "full_weight": 25},
            Capabilities(weights=TotalGrid(total=10), counts=Counting.ROUTER),
            "full_weight",
        ),
        ({}, Capabilities(weights=TotalGrid(total=100), counts=Counting.METRICS), "ramp"),
    ],
)
def test_a_ramp_that_the_router_can_t_do(
    ramp: dict[str, float], can: Capabilities, field: str
) -> None:
    strategy = Strategy.model_validate({"ramp": {"budget": 100, **ramp}})
    (found,) = check_able(strategy, can, "coarse")
    assert found.path[-1] == field
    assert "the router coarse" in found.expected


def test_a_ramp_within_what_the_router_can_do_is_fine() -> None:
    strategy = Strategy.model_validate({"ramp": {"budget": 100}})
    can = Capabilities(weights=EIGHTH_BIT, counts=Counting.ROUTER)
    assert list(check_able(strategy, can, "coarse")) == []


def test_what_can_t_be_seen_is_said() -> None:
    blind = Capabilities(weights=ALB, leases=True)
    texts = list(unseen(JudgeSpec(largest_user=10), blind, "alb"))
    assert ["counts no requests" in texts[0], "judge.largest_user" in texts[1]] == [True, True]
    late = Capabilities(weights=ALB, counts=Counting.METRICS, leases=True)
    (text,) = unseen(JudgeSpec(), late, "alb")
    assert "counted by the metrics source, and late" in text
    seeing = Capabilities(
        weights=ALB, counts=Counting.ROUTER, sticky=(StickyBy.COOKIE,), leases=True
    )
    assert list(unseen(JudgeSpec(largest_user=10), seeing, "alb")) == []
    (text,) = unseen(JudgeSpec(), seeing.model_copy(update={"leases": False}), "alb")
    assert "with the router alb a canary has no lease" in text


STEPS = {"steps": [50]}


@pytest.mark.parametrize("lease", ["30s", "60s", "24h"])
def test_a_lease_that_is_asked_for_needs_a_router_that_can_carry_it(lease: str) -> None:
    asked = Strategy.model_validate({**STEPS, "lease": lease})
    (found,) = check_able(asked, Capabilities(weights=ALB), "alb")
    assert (found.path, found.value) == (("lease",), format_duration(asked.lease))
    assert "off: with the router alb a canary can have no lease" in found.expected
    assert list(check_able(asked, Capabilities(weights=ALB, leases=True), "alb")) == []


@pytest.mark.parametrize("said", [{}, {"lease": "off"}, {"lease": False}])
def test_a_lease_that_is_not_asked_for_is_no_fault_of_the_router(said: dict[str, Any]) -> None:
    asked = Strategy.model_validate({**STEPS, **said})
    assert list(check_able(asked, Capabilities(weights=ALB), "alb")) == []
    again = Strategy.model_validate_json(asked.model_dump_json())
    assert again.lease == asked.lease == (timedelta(0) if said else timedelta(seconds=60))


@pytest.mark.parametrize("lease", ["4s", "0s", "25h", True, "on", None, 60, -1, "60", [], "1e9s"])
def test_a_lease_is_a_duration_within_bounds_or_off(lease: Any) -> None:
    with pytest.raises(ValidationError):
        Strategy.model_validate({**STEPS, "lease": lease})


def test_a_route_names_all_that_the_router_can_t_do() -> None:
    match = Match(by=AudienceBy.COOKIE, name="beta", value="yes")
    route = Route.split(
        "cart",
        "1",
        "2",
        0.05,
        audience=Audience(any_of=(match,)),
        mirror=Mirror(version="2", share=10),
    )
    by_header = Capabilities(weights=ALB, audiences=(AudienceBy.HEADER,))
    weight, audience, mirror = lacking(route, by_header)
    assert weight.startswith("weight 0.05 %: expected")
    assert audience == "audience by cookie beta: expected by header"
    assert mirror.startswith("mirror to 2: expected none")


# --- routes ---


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"arms": [{"version": "1", "weight": 50}]}, "add up to 100"),
        (
            {"arms": [{"version": "1", "weight": 50}, {"version": "1", "weight": 50}]},
            "two versions",
        ),
        (
            {
                "arms": [{"version": "1", "weight": 100}],
                "audience": {"any_of": [{"by": "header", "name": "x", "value": "y"}]},
            },
            "none without a canary",
        ),
        (
            {
                "arms": [{"version": "1", "weight": 100}],
                "mirror": {"version": "1", "share": 5},
            },
            "other than stable",
        ),
    ],
)
def test_a_route_that_makes_no_sense_is_refused(document: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Route.model_validate({"service": "cart", **document})


@pytest.mark.parametrize("name", ["a b", "a:b", "", "x\r\ny"])
def test_a_match_is_by_a_name_that_a_header_may_have(name: str) -> None:
    with pytest.raises(ValidationError):
        Match(by=AudienceBy.HEADER, name=name, value="1")


def test_a_split_is_both_arms() -> None:
    route = Route.split("cart", "1", "2", 33.33)
    assert [(arm.version, arm.weight) for arm in route.arms] == [("1", 66.67), ("2", 33.33)]
    assert (route.stable, route.canary, route.weight) == ("1", "2", 33.33)
    alone = Route.split("cart", "1")
    assert (alone.stable, alone.canary, alone.weight) == ("1", None, 0)
    with pytest.raises(ValidationError, match="add up"):
        Route.split("cart", "1", weight=5)


def test_a_grid_is_read_by_its_kind() -> None:
    read = TypeAdapter(Grid).validate_python
    assert read({"kind": "relative", "most": 999}) == ALB
    with pytest.raises(ValidationError):
        read({"kind": "total", "most": 999})
