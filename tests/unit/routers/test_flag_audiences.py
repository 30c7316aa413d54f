"""Audiences of a flag: whom both evaluators give it to, and what the check of them finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import ForeignChange, Retryable, Terminal, Unsupported
from adapters.routers.flag_people import Context, People
from adapters.routers.flag_shares import USERS
from adapters.routers.flagd.definitions import Definition
from adapters.routers.flagd.evaluation import Evaluation as FlagdEvaluation
from adapters.routers.flagd.router import FlagdRouter
from adapters.routers.unleash.capabilities import CAPABILITIES as OF_UNLEASH
from adapters.routers.unleash.definitions import Feature, Flag, serving, strategy_for
from adapters.routers.unleash.evaluation import NAMES, Evaluation
from schemas.audience import TARGETING_KEY
from schemas.audience_spec import AudienceSpec, audience_of
from schemas.capabilities import untellable
from schemas.route import Audience, AudienceBy, AudienceShare, Condition, How, Match, Route

FLAG = "new-checkout"
DEFINITION: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
}
KEPT = ("default", FLAG)

VALUES = st.sampled_from(["a", "ab", "b"])
CONDITIONS = st.builds(
    Condition,
    by=st.just(AudienceBy.CONTEXT),
    name=st.sampled_from([TARGETING_KEY, "country", "plan"]),
    value=VALUES,
    how=st.sampled_from([How.EQUAL, How.PREFIX]),
    negated=st.booleans(),
)
MATCHES = st.builds(
    lambda first, also: Match(**first.model_dump(), also=tuple(also)),
    CONDITIONS,
    st.lists(CONDITIONS, max_size=2),
)
AUDIENCES = st.builds(
    lambda matches: Audience(any_of=tuple(dict.fromkeys(matches))),
    st.lists(MATCHES, min_size=1, max_size=3),
)
CONTEXTS = st.fixed_dictionaries(
    {TARGETING_KEY: VALUES}, optional={"country": VALUES, "plan": VALUES}
)


def audience(**said: Any) -> Audience:
    return audience_of(AudienceSpec.model_validate(said), None, of_flag=True).audience


def route(weight: float, whom: Audience | None, generation: int = 1, **more: Any) -> Route:
    return Route.split(
        FLAG, "off", "on", weight, generation=generation, owner="shop-1", audience=whom, **more
    )


def flagd(of: Route) -> FlagdEvaluation:
    return FlagdEvaluation(
        json.dumps({"flags": {FLAG: Definition("f", DEFINITION).with_route(of)}})
    )


def unleash(of: Route) -> Flag:
    ours = {"id": "1", **strategy_for(of, KEPT, {})}
    environment = {"name": "production", "enabled": True, "strategies": [ours]}
    feature = {"name": FLAG, "environments": [environment]}
    return Flag(Feature.model_validate(feature), "production")


def fits(whom: Audience, context: Context) -> bool:
    """By the book, and by nobody's code but this."""

    def one(condition: Condition) -> bool:
        value = context.get(condition.name)
        same = value is not None and (
            value.startswith(condition.value)
            if condition.how is How.PREFIX
            else value == condition.value
        )
        return same is not condition.negated

    return any(all(one(each) for each in match.conditions) for match in whom.any_of)


@given(AUDIENCES, CONTEXTS)
def test_flagd_gives_it_to_an_audience_and_to_nobody_else(whom: Audience, user: Context) -> None:
    found = flagd(route(100, whom)).variant(FLAG, value=True, user=user)
    assert found == ("on" if fits(whom, user) else "off")


@given(AUDIENCES, CONTEXTS)
def test_unleash_gives_it_to_an_audience_that_it_can_tell_and_to_nobody_else(
    whom: Audience, user: Context
) -> None:
    if untellable(whom, OF_UNLEASH):
        assert whom.terms is None
        return
    flag = unleash(route(100, whom))
    said = {NAMES.get(name, name): value for name, value in user.items()}
    found = Evaluation([flag.definition(flag.evaluated)]).variant(FLAG, said)
    assert found == ("on" if fits(whom, user) else "off")


@given(AUDIENCES, st.integers(0, 100), st.integers(0, 2**53))
def test_a_route_is_read_as_it_was_written(whom: Audience, weight: int, generation: int) -> None:
    shares = (AudienceShare(audience=None, weight=5),)
    written = route(weight, whom, generation, kept=shares)
    there = Definition("f", json.loads(json.dumps(Definition("f", DEFINITION).with_route(written))))
    assert there.route(FLAG) == written
    if not untellable(whom, OF_UNLEASH):
        flag = unleash(route(weight, whom, generation))
        assert flag.marked(FLAG) == route(weight, whom, generation)
        assert flag.served == serving(flag.marked(FLAG), KEPT)


def test_the_constraints_are_those_that_a_person_would_write() -> None:
    whom = audience(users=["ann", "ben"], context={"plan": {"prefix": "pro"}}, **{
        "not": {"context": {"country": ["NL", "BE"]}}
    })  # fmt: skip
    body = strategy_for(route(50, whom), KEPT, {})
    said = [(one["contextName"], one["operator"], one["values"]) for one in body["constraints"]]
    assert said == [
        ("country", "NOT_IN", ["BE", "NL"]),
        ("plan", "STR_STARTS_WITH", ["pro"]),
        ("userId", "IN", ["ann", "ben"]),
    ]
    assert body["parameters"]["rollout"] == "50"
    assert not strategy_for(route(0, whom), KEPT, {})["constraints"]


async def test_of_ten_thousand_users_each_audience_has_its_share_and_keeps_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flags": {FLAG: DEFINITION}}))
    router = FlagdRouter(file, users=USERS)
    staff, benelux = audience(users=["ann", "ben"]), audience(context={"country": ["NL", "BE"]})
    had: set[int] = set()
    everybody = AudienceShare(audience=None, weight=5)
    steps = (
        route(100, staff),
        route(20, benelux, 2, kept=(AudienceShare(audience=staff, weight=100),)),
        route(60, benelux, 3, kept=(AudienceShare(audience=staff, weight=100), everybody)),
    )
    people = People(steps[-1], steps[0])
    before = await router.read(FLAG)
    for step in steps:
        await router.apply(step, over=before)
        before = await router.read(FLAG)
        assert before == step
        evaluation = FlagdEvaluation(file.read_text())
        now = evaluation.with_variant(FLAG, DEFINITION["variants"], "on", range(2_000), people)
        assert had <= now
        had = now
        assert evaluation.variant(FLAG, value=True, user={TARGETING_KEY: "ann"}) == "on"
    await router.apply(Route.split(FLAG, "off", generation=9))
    assert not json.loads(file.read_text())["flags"][FLAG]["targeting"]


async def test_who_changes_an_audience_by_hand_is_found(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flags": {FLAG: DEFINITION}}))
    router = FlagdRouter(file, users=100)
    whom = audience(users=["ann"])
    await router.apply(route(100, whom))
    file.write_text(file.read_text().replace('"in"', '"in "').replace('"ann"\n', '"eve"\n'))
    with pytest.raises(ForeignChange, match="eve"):
        await router.apply(route(100, whom, 2), over=route(100, whom))


def test_an_audience_that_gets_nothing_or_strangers_who_do_are_found() -> None:
    whom = audience(context={"country": "NL"})
    people = People(route(50, whom))
    inside = {number for number in range(3_000) if people[number].get("country") == "NL"}
    assert 900 < len(inside) < 2_100, "some are of it, and some are not"
    half = {number for number in inside if number % 4 < 2}
    people.check(half, 3_000)
    for wrong, said in (
        (set[int](), r"0 of \d+ users get on"),
        (set(range(3_000)), "expected 0 ± 1"),
    ):
        with pytest.raises(Retryable, match=said):
            people.check(wrong, 3_000)


def test_who_may_not_lose_it_is_everybody_whose_weight_has_not_shrunk() -> None:
    staff, benelux = audience(users=["ann"]), audience(context={"country": "NL"})
    earlier, now = (
        route(50, benelux),
        route(100, staff, kept=(AudienceShare(audience=benelux, weight=20),)),
    )
    people = People(now, earlier)
    assert all("country" not in people[number] for number in people.kept(set(), 100))
    people = People(earlier, now)
    assert {people[one].get("country") for one in people.kept(set(), 100)} == {"NL"}


def test_a_list_of_users_is_as_many_as_it_names() -> None:
    people = People(route(100, audience(users=["ann", "ben"])))
    named = {people[number][TARGETING_KEY] for number in range(100)} & {"ann", "ben"}
    assert named == {"ann", "ben"}
    people.check({number for number in range(100) if people[number][TARGETING_KEY] in named}, 100)
    half = People(route(50, audience(users=["ann", "ben"])))
    half.check(set(), 1_000)  # of two users, nobody is no surprise: they are not counted again


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"context": {"plan": {"regex": "p.*"}}}, "a regular expression of context plan"),
        ({"header": {"x-group": "staff"}}, "audience by header x-group: expected by context"),
        ({"network": "10.0.0.0/8"}, "audience by network: expected by context"),
        (
            {"any_of": [{"users": ["ann"]}, {"context": {"plan": "pro"}}]},
            "expected values of the same fields",
        ),
    ],
)
def test_what_unleash_can_not_tell_is_refused_with_the_reason(
    said: dict[str, Any], why: str
) -> None:
    assert why in "; ".join(untellable(audience(**said), OF_UNLEASH))


@pytest.mark.parametrize("name", ["user.plan", "", "0", "$flagd", "a b", "x" * 101])
def test_a_field_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name|context"):
        audience(context={name: "x"})


@pytest.mark.parametrize("mark", [7, "", "{}", "[" * 10_000, '{"any_of": []}', None])
def test_a_mark_of_an_audience_that_is_none_is_an_error(mark: Any) -> None:
    flag = Definition("f", DEFINITION).with_route(route(5, audience(users=["ann"])))
    for name in ("aviary.audience", "aviary.kept"):
        spoilt = flag | {"metadata": flag["metadata"] | {name: mark}}
        with pytest.raises(Terminal, match="no route of Aviary's"):
            Definition("f", spoilt).route(FLAG)


async def test_a_header_is_refused_by_name(tmp_path: Path) -> None:
    whom = audience(header={"x-group": "staff"})
    with pytest.raises(Unsupported, match="audience by header x-group: expected by context"):
        await FlagdRouter(tmp_path / "flags.json").apply(route(5, whom))
