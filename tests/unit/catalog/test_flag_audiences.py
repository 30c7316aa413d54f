"""Audiences of a feature flag: what a catalog may say of them, and who hears that it can't."""

from __future__ import annotations

import re

import pytest

from adapters.routers.unleash import UnleashConnection
from aviary.kinds import registry
from aviary.routers import CatalogKinds
from schemas.audience import TARGETING_KEY, AudienceBy
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.deploy import DeployRequested
from schemas.release import ReleasePlan
from schemas.stages import ShiftStage
from workflows.planning import PlanError, plan_release

CATALOG = """
version: 1
defaults: {router: {kind: memory}, metrics: []}
audiences:
  staff: {users: [ann, ben]}
  said: SAID
services:
  checkout: {}
  new-checkout: {router: ROUTER, depends_on: [checkout], strategy: STRATEGY}
strategies:
  inside: {audience: said, steps: [50, 100], bake: 5m}
  team: {audience: staff, steps: [50, 100], bake: 5m}
  both: {steps: [{audience: staff, weight: 100}, 5], bake: 5m}
  plain: {steps: [50], bake: 5m}
"""
FLAGD = "{kind: flagd, file: /f.json}"
UNLEASH = "{kind: unleash, connection: flags}"


def parse(text: str) -> Catalog:
    """Where the connection is configured."""
    flags = UnleashConnection.model_validate({"url": "https://unleash", "token": "t"})
    return parse_catalog(text, "c", (), CatalogKinds(registry(), {"flags": flags}))


def catalog(router: str, strategy: str, said: str = "{users: ann}") -> str:
    found = CATALOG.replace("ROUTER", router).replace("STRATEGY", strategy)
    return found.replace("SAID", said)


def plan(text: str, variant: str, strategy: str | None = None) -> ReleasePlan:
    asked = {
        "release": "r",
        "services": [{"flag": "new-checkout", "to": variant}],
        "strategy": strategy,
    }
    return plan_release(parse(text), DeployRequested.model_validate(asked))


@pytest.mark.parametrize("router", [FLAGD, UNLEASH])
def test_users_of_a_flag_are_its_targeting_keys(router: str) -> None:
    stages = plan(catalog(router, "team"), "on").services["new-checkout"].stages
    first = next(one for one in stages if isinstance(one, ShiftStage))
    assert first.audience is not None
    said = [(one.by, one.name, one.value) for one in first.audience.conditions]
    assert said == [(AudienceBy.CONTEXT, TARGETING_KEY, who) for who in ("ann", "ben")]


@pytest.mark.parametrize(
    ("router", "said", "why"),
    [
        (FLAGD, "{header: {x-group: staff}}", "audience by header x-group: expected by context"),
        (FLAGD, '{context: {plan: {regex: "p.*"}}}', "a regular expression of context plan"),
        (UNLEASH, '{context: {plan: {regex: "p.*"}}}', "a regular expression of context plan"),
        (UNLEASH, "{path: /beta}", "audience by path: expected by context"),
        (
            UNLEASH,
            "{any_of: [{users: ann}, {context: {plan: pro}}]}",
            "expected values of the same fields",
        ),
        ("{kind: memory}", "{context: {user.plan: pro}}", "Letters, digits, _ and -|user.plan"),
    ],
)
def test_what_can_not_be_told_is_refused_where_it_stands(router: str, said: str, why: str) -> None:
    with pytest.raises(CatalogError, match=why):
        parse(catalog(router, "inside", said))


def test_unleash_has_one_audience_at_a_time() -> None:
    parse(catalog(FLAGD, "both"))
    with pytest.raises(CatalogError, match="can't have several weights at a time"):
        parse(catalog(UNLEASH, "both"))


def test_unleash_takes_nothing_from_an_audience_that_everybody_else_keeps() -> None:
    text = catalog(UNLEASH, "team")
    why = re.escape("the router unleash can give an audience anything but off")
    with pytest.raises(PlanError, match=why):
        plan(text, "off")
    assert plan(text, "off", "plain").services["new-checkout"].version == "off"
    assert plan(catalog(FLAGD, "team"), "off").services["new-checkout"].version == "off"
