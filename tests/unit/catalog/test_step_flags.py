"""Flags of a strategy's steps: what may be named, and what a canary does with them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aviary.cli.tables import steps_of
from schemas.catalog_file import CatalogError
from schemas.deploy import DeployRequested
from schemas.release import ReleasePlan
from schemas.stages import FlagsStage
from schemas.strategy import Step, Strategy
from tests.catalogs import parse
from workflows import describe
from workflows.planning import PlanError, plan_release

CATALOG = """
version: 1
defaults: {router: {kind: memory}, metrics: []}
strategies:
  dark:
    steps:
      - {weight: 5, bake: 1m, flags: {FLAG: off}}
      - {weight: 50, bake: 1m}
  slowly: {steps: [10], bake: 1m}
services:
  ledger: {strategy: slowly}
  checkout: {strategy: dark}
  cart: {depends_on: [checkout], strategy: slowly}
  new-checkout: {router: {kind: flagd, file: /f.json}, depends_on: [cart], strategy: slowly}
  other: {router: {kind: flagd, file: /f.json}, depends_on: [ledger], strategy: slowly}
"""


def text(flag: str = "new-checkout", **changes: str) -> str:
    found = CATALOG.replace("FLAG", flag)
    for old, new in changes.items():
        found = found.replace(f"  {old}: {{", f"  {old}: {{{new}, ")
    return found


def plan(catalog: str, *services: str, strategy: str | None = None) -> ReleasePlan:
    asked = {
        "release": "r",
        "services": [{"service": one, "version": "2"} for one in services],
        "strategy": strategy,
    }
    return plan_release(parse(catalog), DeployRequested.model_validate(asked))


def line(found: ReleasePlan, service: str = "checkout") -> list[str]:
    return [
        f"flags {'after' if one.judged else 'before'}" if isinstance(one, FlagsStage) else one.kind
        for one in found.services[service].stages
    ]


def test_they_are_looked_at_before_the_step_and_once_it_was_judged() -> None:
    found = plan(text(), "checkout")
    assert line(found) == [
        *("preflight", "first_deployment"),
        *("flags before", "gate", "shift", "bake", "flags after", "gate"),
        *("shift", "bake", "gate", "shift", "hold", "promote"),
    ]
    look = next(one for one in found.services["checkout"].stages if isinstance(one, FlagsStage))
    assert [(one.text, one.router.kind) for one in look.flags] == [("new-checkout off", "flagd")]


def test_without_a_person_to_ask_there_is_no_gate() -> None:
    catalog = text().replace("    steps:", "    on_inconclusive: roll_back\n    steps:", 1)
    assert line(plan(catalog, "checkout"))[2:6] == ["flags before", "shift", "bake", "flags after"]


def test_no_other_release_may_have_the_flag_meanwhile() -> None:
    assert plan(text(), "checkout").claims == ("checkout", "new-checkout")
    assert plan(text(), "checkout", "new-checkout").claims == ("checkout", "new-checkout")
    assert plan(text(), "ledger").claims == ("ledger",)


def test_people_are_shown_them_with_the_step() -> None:
    strategy = parse(text()).strategies["dark"]
    assert steps_of(strategy) == "5% with new-checkout off 1m → 50% 1m → 100%"
    assert describe.steps(strategy) == "5 % with new-checkout off → 50 % → 100 %"


@pytest.mark.parametrize(
    ("written", "variant"), [(False, "off"), (True, "on"), ("off", "off"), ("blue", "blue")]
)
def test_yaml_reads_a_bare_off_as_false(written: Any, variant: str) -> None:
    step = Step.model_validate({"weight": 5, "flags": {"new-checkout": written}})
    assert step.flags.root == {"new-checkout": variant}
    assert Step.model_validate(step.model_dump(mode="json")) == step
    assert "flags" not in Step(weight=5).model_dump(mode="json")


@pytest.mark.parametrize(
    "flags",
    [
        {"new-checkout": None},
        {"new-checkout": 1},
        {"new-checkout": ""},
        {"new-checkout": {"to": "on"}},
        {"New Checkout": "off"},
        {f"flag-{number}": "off" for number in range(21)},
        ["new-checkout"],
        "new-checkout",
    ],
)
def test_anything_else_is_refused(flags: Any) -> None:
    with pytest.raises(ValueError, match="flags"):
        Strategy.model_validate({"steps": [{"weight": 5, "flags": flags}]})


@pytest.mark.parametrize(
    ("catalog", "expected"),
    [
        (
            text("new-chekout"),
            "got 'new-chekout', expected a feature flag of this catalog; did you mean 'new-check",
        ),
        (text("cart"), "expected a feature flag: an entry whose router is a provider of flags"),
        (text("other"), "expected a flag that depends on checkout, which has this strategy"),
        (
            text(checkout="depends_on: [new-checkout]"),
            "expected a flag that checkout does not depend on: they would move in step",
        ),
        (
            text().replace("cart: {depends_on: [checkout], strategy: slowly}", "cart: {}").replace(
                "metrics: []}", "metrics: [], strategy: dark}"
            ),
            "expected a flag that depends on checkout, which has this strategy",
        ),
    ],
)  # fmt: skip
def test_a_flag_has_to_be_one_of_the_service(catalog: str, expected: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(expected)):
        parse(catalog)


def test_a_deploy_event_s_strategy_is_held_against_each_service() -> None:
    assert line(plan(text(), "checkout", strategy="dark")).count("flags before") == 1
    with pytest.raises(PlanError, match="expected .*a flag that depends on ledger, which has"):
        plan(text(), "ledger", strategy="dark")
    with pytest.raises(PlanError, match=r"services\.new-checkout: got strategy 'dark', expected "):
        plan(text(), "checkout", "new-checkout", strategy="dark")


def test_only_a_flag_becomes_stale() -> None:
    found = plan(
        text().replace("depends_on: [cart]", "stale_after: 30d, depends_on: [cart]"), "new-checkout"
    )
    assert [one.kind for one in found.services["new-checkout"].stages][-1] == "stale"
    with pytest.raises(CatalogError, match="stale_after: got '720h', expected none: ledger is no"):
        parse(text(ledger="stale_after: 30d"))


def test_what_an_event_calls_a_flag_has_to_be_one() -> None:
    flag = {"release": "r", "services": [{"flag": "new-checkout", "to": "off"}]}
    planned = plan_release(parse(text()), DeployRequested.model_validate(flag))
    assert planned.services["new-checkout"].version == "off"
    service = {"release": "r", "services": [{"flag": "ledger", "to": "2"}]}
    asked = DeployRequested.model_validate(service)
    with pytest.raises(PlanError, match=r"services\.ledger: got a flag, expected a service"):
        plan_release(parse(text()), asked)
    plain = {"release": "r", "services": [{"service": "ledger", "version": "2"}]}
    assert asked.digest() == DeployRequested.model_validate(plain).digest()
