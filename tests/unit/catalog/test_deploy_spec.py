"""Who puts versions up: what a catalog may say of it, and what a plan makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.connections import Connection
from adapters.deployers.memory import MEMORY
from adapters.kinds import DeployerKind
from adapters.routers.memory import MEMORY as MEMORY_ROUTER
from aviary import kinds
from aviary.catalogs import make_catalog
from aviary.descriptions import DescriptionError, check_kind
from aviary.registry import Registry
from aviary.routers import CatalogKinds
from schemas.base import Model
from schemas.catalog import Catalog
from schemas.catalog_check import MISSING, Finding
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.deploy import DeployRequested, Images
from schemas.deploy_spec import DeploySpec, DeployTerms, Prepare, Scale, needed
from schemas.deployment import WantedVersion
from schemas.release import ReleasePlan
from schemas.router_spec import KINDS
from schemas.stages import ShiftStage, stages_of
from schemas.strategy import Strategy
from tests.catalogs import parse
from workflows.planning import PlanError, PlanReason, plan_release


class Recipe(Model):
    """Of a kind of the tests' own."""

    image: str | None = None


def _needs_image(recipe: Recipe, wanted: WantedVersion) -> Iterator[Finding]:
    if recipe.image is None and wanted.image is None:
        yield Finding(("image",), MISSING, "an image, here or in the deploy event")


IMAGES = DeployerKind[Recipe, Connection](
    name="images",
    text="Puts up images, one instance of each.",
    make=MEMORY.make,
    options=Recipe,
    image=True,
    scales=False,
    check_version=_needs_image,
)
PLAIN = replace(MEMORY, name="plain", image=False)


def catalog(services: dict[str, Any], **defaults: Any) -> Catalog:
    known = Registry(kinds.ROUTERS, kinds.METRICS, kinds.NOTIFIERS, (MEMORY, IMAGES, PLAIN))
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": [], **defaults},
        "services": services,
    }
    return Catalog.model_validate(document, context={KINDS: CatalogKinds(known)})


def asked(*services: dict[str, Any]) -> DeployRequested:
    items = [{"version": "2", **service} for service in services]
    return DeployRequested.model_validate({"release": "r", "services": items})


def problems(text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        parse(f"version: 1\n{text}", "c")
    return [str(problem).removeprefix("c:") for problem in caught.value.problems]


def refusal(found: Catalog, *services: dict[str, Any], images: Images = Images.ORDERED) -> str:
    with pytest.raises(PlanError) as caught:
        plan_release(found, asked(*services), images=images)
    assert caught.value.reason is PlanReason.UNFIT_DEPLOYER
    return caught.value.text


BASE = "defaults: {router: {kind: memory}, metrics: [], deploy: {kind: memory, instances: 3}}\n"


def test_a_service_has_its_own_or_the_catalog_s_or_none() -> None:
    found = parse(
        f"version: 1\n{BASE}"
        "services:\n  a:\n  b: {deploy: none}\n  c: {deploy: {kind: memory, keep_old: 1h}}\n"
    )
    deploys = {name: found.resolve(name).deploy for name in found.services}
    assert deploys["a"] is not None
    assert deploys["a"].instances == 3
    assert deploys["b"] is None
    assert deploys["c"] is not None
    assert (deploys["c"].instances, deploys["c"].keep_old.total_seconds()) == (1, 3600)
    again = make_catalog(found.model_dump(mode="json"))
    assert again.services == found.services


@pytest.mark.parametrize(
    ("deploy", "told"),
    [
        ("{kind: memry}", "deploy.kind: got 'memry', expected one of"),
        ("{}", "deploy: got {}, expected a mapping with the field kind"),
        ("nowhere", "deploy: "),
        ("{kind: none}", "deploy.kind: got 'none', expected one of"),
        ("{kind: memory, instances: 0}", "deploy.instances: got 0"),
        ("{kind: memory, instances: 1001}", "deploy.instances: got 1001"),
        ("{kind: memory, scale: most}", "deploy.scale: got 'most'"),
        ("{kind: memory, image: a}", "deploy.image: got 'image', expected"),
        ("{kind: memory, keep_old: -1s}", "deploy.keep_old"),
        ("{kind: process}", "deploy.command: missing"),
        ("{kind: process, command: [x], instances: 999, connection: x}", "deploy.connection"),
        ("{kind: process, command: ['http://u:p@h/']}", "without user or password"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(deploy: str, told: str) -> None:
    (problem,) = problems(
        "defaults: {router: {kind: memory}, metrics: []}\n"
        f"services:\n  a:\n    deploy: {deploy}\n"
    )
    assert problem.startswith("5: services.a.")
    assert told in problem


def test_a_router_that_can_not_be_told_endpoints_is_refused() -> None:
    can = MEMORY_ROUTER.capabilities.model_copy(update={"endpoints": False})
    without = replace(MEMORY_ROUTER, name="deaf", capabilities=can)
    known = Registry((*kinds.ROUTERS, without), kinds.METRICS, kinds.NOTIFIERS, kinds.DEPLOYERS)
    text = (
        "version: 1\n"
        "defaults: {router: {kind: deaf}, metrics: [], deploy: {kind: memory}}\n"
        "services: {a: , b: {deploy: none}, c: {router: {kind: memory}}}\n"
    )
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, "c", kinds=CatalogKinds(known))
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith("c:2: defaults.deploy: got 'memory', expected none")
    assert "one of kind deaf can't be told where the instances of a version are" in problem


def test_the_plan_has_what_the_event_says_of_each_version() -> None:
    found = catalog({"a": {"deploy": {"kind": "images"}}, "b": None})
    image = "registry.example/a@sha256:" + "0" * 64
    plan = plan_release(
        found, asked({"service": "a", "image": image, "config": {"X": "1"}}, {"service": "b"})
    )
    assert ReleasePlan.model_validate_json(plan.model_dump_json()) == plan
    wanted = plan.services["a"].wanted("r", 7, 1)
    assert (wanted.image, wanted.config, wanted.generation) == (image, {"X": "1"}, 7)
    assert wanted.recipe == {"image": None}
    with pytest.raises(ValueError, match="expected a plan with a deployer"):
        plan.services["b"].wanted("r", 7, 1)


def test_a_large_plan_has_its_deployers() -> None:
    names = [f"s{number}" for number in range(30)]
    found = catalog(dict.fromkeys(names), deploy={"kind": "memory", "instances": 2})
    plan = plan_release(found, asked(*({"service": name} for name in names)))
    again = ReleasePlan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.services["s7"].deploy is not None
    assert again.services["s7"].deploy.instances == 2


def test_what_can_be_known_is_refused_before_anything_runs() -> None:
    found = catalog(
        {"a": {"deploy": {"kind": "images"}}, "b": None, "c": {"deploy": {"kind": "plain"}}}
    )
    assert refusal(found, {"service": "a"}) == (
        "services.a: deploy.image: missing, expected an image, here or in the deploy event"
    )
    assert "image: got 'x:1', expected none: the catalog says deploy: none" in refusal(
        found, {"service": "b", "image": "x:1"}
    )
    assert "config: got 'A, B', expected none" in refusal(
        found, {"service": "b", "config": {"B": "", "A": ""}}
    )
    assert "image: got 'x:1', expected none: a deployer of kind plain has none" in refusal(
        found, {"service": "c", "image": "x:1"}
    )


def test_an_image_that_is_only_mentioned_is_used_or_ignored() -> None:
    found = catalog({"a": {"deploy": {"kind": "images"}}, "b": None})
    services = ({"service": "a", "image": "x:1"}, {"service": "b", "image": "y:1"})
    plan = plan_release(found, asked(*services), images=Images.MENTIONED)
    assert plan.services["a"].image == "x:1"
    assert plan.services["b"].image is None


def test_going_back_needs_no_image() -> None:
    found = catalog({"a": {"deploy": {"kind": "images"}}})
    plan = plan_release(found, asked({"service": "a"}), images=Images.UNKNOWN)
    assert plan.services["a"].deploy is not None


def test_a_kind_with_one_instance_refuses_more() -> None:
    with pytest.raises(ValueError, match="has one instance of a version"):
        catalog({"a": {"deploy": {"kind": "images", "instances": 2}}})


@pytest.mark.parametrize(
    ("event", "other"),
    [
        ({"image": "x:1"}, {"image": "x:2"}),
        ({"image": "x:1"}, {}),
        ({"config": {"A": "1"}}, {"config": {"A": "2"}}),
    ],
)
def test_another_image_or_configuration_is_another_request(
    event: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = (asked({"service": "a", **one}) for one in (event, other))
    assert first.digest() != second.digest()
    assert first.digest() == asked({"service": "a", **event}).digest()


@pytest.mark.parametrize("image", ["", " x", "x y", "-x", "x" * 501, "x\n"])
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="image"):
        asked({"service": "a", "image": image})


@given(st.integers(1, 1000), st.floats(0, 100).map(lambda one: round(one, 2)))
def test_a_canary_that_matches_has_what_its_weight_needs(instances: int, weight: float) -> None:
    terms = DeployTerms(instances=instances)
    size = terms.size(weight)
    assert 1 <= size <= instances
    assert size * 100 >= round(instances * weight, 2) - 0.01
    assert size == 1 or (size - 1) * 100 < instances * weight + 0.01


@given(st.integers(1, 1000), st.lists(st.floats(0, 100), min_size=1, max_size=9).map(sorted))
def test_stable_that_shrinks_can_take_its_share_of_all_weights(
    instances: int, weights: list[float]
) -> None:
    sizes = [needed(instances, 100 - weight) for weight in weights]
    assert all(1 <= size <= instances for size in sizes)
    assert sizes == sorted(sizes, reverse=True), "a canary that grows takes nothing back"
    for size, weight in zip(sizes, weights, strict=True):
        assert size * 100 >= instances * (100 - weight) - 0.01


def test_only_shifts_of_versions_that_are_put_up_here_shrink_stable() -> None:
    saves = Strategy.model_validate({"steps": [25], "shrink_stable": True, "regrow_within": "9s"})
    plain = Strategy.model_validate({"steps": [25]})

    def waits(strategy: Strategy, *, deploys: bool) -> set[timedelta | None]:
        stages = stages_of(strategy, deploys=deploys)
        return {one.regrow_within for one in stages if isinstance(one, ShiftStage)}

    assert waits(saves, deploys=True) == {timedelta(seconds=9)}
    assert waits(saves, deploys=False) == {None}
    assert waits(plain, deploys=True) == {None}


def test_a_ramp_that_may_give_weight_back_does_not_shrink_stable() -> None:
    with pytest.raises(ValueError, match="shrink_stable: expected steps"):
        Strategy.model_validate({"ramp": {"budget": 100}, "shrink_stable": True})


def test_the_other_scales_look_at_no_weight() -> None:
    fixed = DeployTerms(instances=4, scale=Scale.FIXED)
    full = DeployTerms(instances=4, scale=Scale.FULL)
    assert [fixed.size(weight) for weight in (0, 50, 100)] == [4, 4, 4]
    assert [full.size(1, stable) for stable in (None, 2, 9)] == [4, 4, 9]
    assert DeployTerms(instances=100).size(7) == 7


def test_the_defaults_are_those_of_the_reference() -> None:
    spec = DeploySpec.model_validate({"kind": "memory"})
    assert (spec.scale, spec.prepare) == (Scale.MATCH, Prepare.IN_TURN)
    minutes = [spec.progress_deadline, spec.keep_old, spec.keep_failed]
    assert [one.total_seconds() / 60 for one in minutes] == [10, 10, 0]
    with pytest.raises(ValueError, match="at most 50,000 bytes"):
        DeploySpec.model_validate({"kind": "memory", "text": "x" * 50_000})


class Named(Model):
    """Has a field that stands beside every recipe."""

    instances: int = 1


class Secretive(Model):
    """Has a field that must not stand in a catalog."""

    api_token: str = ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "none"}, "which is the word for no deployer"),
        ({"options": Named}, "options.instances: expected another name"),
        ({"options": Secretive}, "options.api_token: expected no secret"),
    ],
)
def test_a_description_that_would_mislead_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(DescriptionError, match=told):
        check_kind(replace(MEMORY, **change))
