"""A/B tests in a catalog: what they stand for, and what does not go with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.routers.memory.router import CAPABILITIES
from aviary.cli.failing import CommandError
from aviary.cli.tables import ab_of, steps_of
from aviary.releases.picking import picked
from schemas.capability_check import check_able
from schemas.catalog_file import CatalogError
from schemas.deploy import DeployRequested
from schemas.release import CanaryInput, CanaryPhase, CanaryReport
from schemas.stages import BakeStage, GateStage, ShiftStage
from schemas.sticky import Sticky, StickyChoice
from schemas.strategy import Strategy
from tests.catalogs import parse
from workflows import pages
from workflows.planning import PlanError, plan_release

ROUTER = "router: {kind: memory}"
ORDERS = "{name: orders, kind: ratio, direction: lower_is_bad, bad: o, total: t}"
ERRORS = "{name: errors, kind: ratio, bad: e, total: t}"
AB = "{shape: ab, ab: {metric: orders, lasts: 14d}}"
CATALOG = """\
version: 1
defaults: {ROUTER, strategy: try, metrics: [METRICS]}
strategies: {try: STRATEGY}
services: {shop: {MORE}}
"""


def catalog(
    strategy: str = AB, metrics: str = f"{ORDERS}, {ERRORS}", router: str = ROUTER, more: str = ""
) -> Any:
    text = CATALOG.replace("ROUTER", router).replace("METRICS", metrics)
    return parse(text.replace("STRATEGY", strategy).replace("MORE", more))


ASKED = DeployRequested.model_validate(
    {"release": "r", "services": [{"service": "shop", "version": "2"}]}
)


def test_half_of_the_users_get_it_until_a_person_picks() -> None:
    plan = plan_release(catalog(), ASKED).services["shop"]
    shifts = [one for one in plan.stages if isinstance(one, ShiftStage)]
    assert [one.weight for one in shifts] == [50, 100]
    (bake,) = (one for one in plan.stages if isinstance(one, BakeStage))
    assert (bake.compare, bake.bake.min, bake.bake.max) == (
        "orders",
        timedelta(0),
        timedelta(days=14),
    )
    (gate,) = (one for one in plan.stages if isinstance(one, GateStage))
    assert gate.picks
    # What is compared takes nothing back; what else there is does.
    assert {one.name: one.dry_run for one in plan.metrics} == {"orders": True, "errors": False}
    assert steps_of(plan.strategy) == "50% 0s to 336h gate → 100%"
    (line,) = ab_of(plan)
    assert line == (
        "A/B test of shop by orders: half of the users get 2 for 336h, or until a difference is "
        "shown; then a person picks the winner."
    )


def test_of_an_audience_it_is_half_of_them() -> None:
    text = "{shape: ab, audience: staff, ab: {metric: orders, lasts: 1h, at_least: 10m}}"
    strategy = Strategy.model_validate(
        {"shape": "ab", "audience": "staff", "ab": {"metric": "orders", "lasts": "1h"}}
    )
    assert [one.text for one in strategy.full_steps] == ["50 % of staff", "100 %"]
    with pytest.raises(CatalogError, match="the name of an audience"):
        catalog(text)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"ab": None}, "metric and lasts, which shape ab goes by"),
        ({"steps": [5]}, "none with shape ab"),
        ({"ramp": {"budget": 5}}, "none with shape ab"),
        ({"on_inconclusive": "roll_back"}, "a person picks the winner"),
        ({"sticky": "nothing"}, "each user has one version"),
        ({"shape": "canary"}, "ab: expected with shape: ab|either steps or ramp"),
        ({"shape": "blue_green"}, "ab: expected with shape: ab"),
        ({"ab": {"metric": "orders", "lasts": "0s"}}, "lasts"),
        ({"ab": {"metric": "orders", "lasts": "29d"}}, "28 days"),
        ({"ab": {"metric": "orders", "lasts": "1h", "at_least": "2h"}}, "at_least"),
        ({"ab": {"metric": "Or;ders", "lasts": "1h"}}, "metric"),
        ({"ab": {"metric": "orders", "lasts": "1h", "winner": "2"}}, "winner"),
    ],
)
def test_what_does_not_go_with_a_test_is_refused(fields: dict[str, Any], match: str) -> None:
    given = {"shape": "ab", "ab": {"metric": "orders", "lasts": "1h"}, **fields}
    with pytest.raises(ValidationError, match=match):
        Strategy.model_validate({name: one for name, one in given.items() if one is not None})


@pytest.mark.parametrize(
    ("metrics", "more", "match"),
    [
        (ERRORS, "", r"one of the service's metrics \(errors\), got orders"),
        ("", "", "it names none"),
        ("{name: orders, kind: gauge, value: v}", "", "kind ratio, compared with stable"),
        (f"{ORDERS[:-1]}, slo: 0.1}}", "", "without slo"),
        (ORDERS, "judge: {method: kayenta}", "a sequential test .*got method kayenta"),
        (ORDERS, "side_by_side: false", "a step of 50 % some users are on the new version"),
    ],
)
def test_a_service_that_can_t_be_compared_is_refused(metrics: str, more: str, match: str) -> None:
    with pytest.raises(CatalogError, match=rf"services\.shop\.strategy: .*{match}"):
        catalog(metrics=metrics, more=more)


def test_a_deploy_event_s_strategy_is_held_against_the_service_as_well() -> None:
    known = catalog(metrics=ERRORS, more="strategy: standard")
    asked = ASKED.model_copy(update={"strategy": "try"})
    with pytest.raises(PlanError, match="one of the service's metrics"):
        plan_release(known, asked)


def test_a_router_that_keeps_no_user_is_refused() -> None:
    strategy = Strategy.model_validate({"shape": "ab", "ab": {"metric": "orders", "lasts": "1h"}})
    draws = CAPABILITIES.model_copy(update={"sticky": (), "sticky_choices": ()})
    (lacks,) = check_able(strategy, draws, "dice")
    assert (lacks.path, lacks.expected) == (
        ("ab",),
        "steps: the router dice keeps no user on a version",
    )
    chooses = CAPABILITIES.model_copy(update={"sticky": ()})
    (lacks,) = check_able(strategy, chooses, "chooses")
    assert "sticky (" in lacks.expected
    kept = strategy.model_copy(update={"sticky": Sticky(address=True)})
    address = (StickyChoice.ADDRESS,)
    able = chooses.model_copy(update={"sticky_choices": address})
    assert not list(check_able(kept, able, "chooses"))


class _Canary:
    def __init__(self, *picks: str) -> None:
        self.picks = picks


def test_the_winner_is_one_of_the_two_and_the_word_follows() -> None:
    canaries: Any = {"shop": _Canary("1", "2"), "cart": _Canary()}
    assert picked(canaries, "r", "2", None) == ("shop", "approve")
    assert picked(canaries, "r", "1", "shop") == ("shop", "rollback")
    with pytest.raises(CommandError, match=r"got 3, expected one of 1 \(old\) and 2 \(new\)"):
        picked(canaries, "r", "3", None)
    with pytest.raises(CommandError, match="no A/B test of cart has ended"):
        picked(canaries, "r", "2", "cart")
    canaries["cart"] = _Canary("7", "8")
    with pytest.raises(CommandError, match="^service: expected one of cart, shop, each a decision"):
        picked(canaries, "r", "2", None)


def test_the_how_to_s_example_is_a_catalog_whose_metric_is_declared() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/how-to/ab.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    asked = {"release": "r", "services": [{"service": "checkout", "version": "2"}]}
    plan = plan_release(parse(example), DeployRequested.model_validate(asked))
    (orders,) = (one for one in plan.services["checkout"].metrics if one.dry_run)
    assert orders.name == "orders"


def test_a_page_and_a_canary_say_what_is_to_be_picked() -> None:
    start = CanaryInput(release="r", plan=plan_release(catalog(), ASKED).services["shop"])
    report = CanaryReport(
        service="shop",
        sequence=1,
        phase=CanaryPhase.GATED,
        stable="1",
        picks=("1", "2"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    page = pages.canary(start, report)
    assert "**Pick the winner:** `approve` is 2, `rollback` is 1." in page
    assert "Pick" not in pages.canary(start, report.model_copy(update={"picks": ()}))
