"""What a catalog takes from the kinds of its routers, and what it has to say itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.catalogs import make_catalog
from aviary.cli.routers import markdown_table
from aviary.kinds import registry
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.catalog_fit import by_time_alone
from schemas.deploy import DeployRequested
from tests.catalogs import parse
from workflows.planning import PlanError, PlanReason, plan_release

REFERENCE = Path(__file__).parents[3] / "docs/reference/catalog.md"
ENVOY = "{kind: envoy, directory: /d, admin: ['http://a:1']}"


def problems(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        parse(f"version: 1\n{text}", "c")
    return [str(problem).removeprefix("c:") for problem in caught.value.problems]


def test_a_service_that_nothing_is_measured_of_is_named() -> None:
    text = (
        "defaults: {router: {kind: memory}}\n"
        "services:\n"
        "  a:\n  b: {metrics: []}\n  c:\n"
        f"  d: {{router: {ENVOY}}}\n"
        "  e: {router: {kind: memory}}\n"
        "  f: {strategy: at_once}\n"
        "strategies: {at_once: {steps: [50]}}\n"
    )
    lacks = (
        "missing, expected metrics, since a router of kind memory has none of its own; "
        "[] lets them pass by time alone"
    )
    assert problems(text) == [
        f"2: defaults.metrics: {lacks} (for a, c)",
        f"8: services.e.metrics: {lacks}",
    ]


def test_by_time_alone_is_what_says_so_itself() -> None:
    found = parse(
        "version: 1\n"
        "defaults: {router: {kind: memory}, metrics: []}\n"
        "services:\n  a:\n  b: {strategy: at_once}\n"
        "  c: {metrics: [{kind: gauge, name: m, value: m}]}\n"
        "strategies: {at_once: {steps: [50]}}\n"
    )
    assert by_time_alone(found) == ("a",)


def test_a_plan_is_refused_as_well_where_its_event_names_a_strategy_that_bakes() -> None:
    services = [{"service": "a", "version": "2"}]
    asked = {"release": "r", "services": services, "strategy": "standard"}
    found = make_catalog(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "strategy": "at_once"},
            "strategies": {"at_once": {"steps": [50]}},
            "services": {"a": None},
        }
    )
    with pytest.raises(PlanError, match="services.a: got strategy 'standard', expected metrics"):
        plan_release(found, DeployRequested.model_validate(asked))


def test_what_a_router_can_not_do_is_told_where_the_strategy_stands() -> None:
    text = (
        "defaults: {router: {kind: memory}, metrics: [{kind: ratio, name: e, bad: b, total: t}]}\n"
        "services: {a: , b: {strategy: mine}}\n"
        "strategies: {mine: {ramp: {budget: 100}}}\n"
    )
    (problem,) = problems(text)
    assert problem == (
        "4: strategies.mine.ramp: got 'a ramp', "
        "expected steps: the router memory counts no requests"
    )
    found = parse_catalog(f"version: 1\n{text}")
    services = [{"service": "b", "version": "2"}]
    with pytest.raises(ValueError, match="expected a catalog that was read with kinds of routers"):
        plan_release(found, DeployRequested.model_validate({"release": "r", "services": services}))
    kinds = make_catalog(found.model_dump(mode="json"))
    with pytest.raises(PlanError, match="the router memory counts no requests") as caught:
        plan_release(kinds, DeployRequested.model_validate({"release": "r", "services": services}))
    assert caught.value.reason is PlanReason.UNFIT_STRATEGY


def test_many_services_share_one_judge() -> None:
    services = {f"s{number}": None for number in range(100)}
    router = {"kind": "envoy", "directory": "/d", "admin": ["http://a:1"]}
    document = {"version": 1, "defaults": {"router": router}, "services": services}
    found: Catalog = make_catalog(document)
    judges = {id(found.resolve(name).judge) for name in services}
    assert len(judges) == 1
    assert found.resolve("s1").judge.pack == "envoy"


def test_the_reference_has_the_table_of_the_registry() -> None:
    rows = "\n".join(markdown_table(registry()))
    assert rows in REFERENCE.read_text(), "run: python -m aviary routers --markdown"
