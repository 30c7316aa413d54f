"""What is written into a real Unleash, what is left alone, and what applications are sent then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.errors import AdapterError, ForeignChange, Retryable, Terminal, UnknownRoute
from adapters.routers.flag_people import People
from adapters.routers.flag_shares import USERS, check_share
from adapters.routers.unleash.definitions import MARK, nothing_yet
from adapters.routers.unleash.evaluation import Evaluation
from adapters.routers.unleash.router import UnleashRouter
from schemas.route import Route
from tests.contract.routers.live_unleash import LiveUnleash
from tests.contract.routers.names import new_name

STAFF = {
    "name": "flexibleRollout",
    "title": "staff",
    "parameters": {"rollout": "100", "stickiness": "default", "groupId": "staff"},
    "constraints": [{"contextName": "userId", "operator": "IN", "values": ["ann"]}],
}
STRANGERS = People(Route.split("any", "off"), sticky="userId")
EVERYBODY = {**STAFF, "title": "everybody", "constraints": []}


@pytest.fixture
async def router(live_unleash: LiveUnleash) -> AsyncIterator[UnleashRouter]:
    """One that reads back what applications are sent."""
    api = live_unleash.api(reads_served=True)
    found = UnleashRouter(api, users=200, served_within=60.0)
    yield found
    await found.aclose()


@pytest.fixture
def flag() -> str:
    return new_name()


def on(flag: str, weight: float, generation: int = 1) -> Route:
    return Route.split(flag, "off", "on", weight, generation=generation, owner="shop-1")


def off(flag: str, generation: int = 9) -> Route:
    return Route.split(flag, "off", generation=generation, owner="shop-1")


def ours(live: LiveUnleash, flag: str) -> dict[str, Any]:
    (found,) = [one for one in live.strategies(flag) if MARK in one["parameters"]]
    return found


def sent(live: LiveUnleash, flag: str) -> Evaluation:
    """What an application gets that asks now."""
    headers = {"authorization": live.client_token}
    answer = live.client.get("/api/client/features", headers=headers).json()
    return Evaluation([one for one in answer["features"] if one["name"] == flag])


async def test_a_flag_that_was_never_on_grows_for_ten_thousand_users(
    live_unleash: LiveUnleash, flag: str
) -> None:
    live_unleash.make_flag(flag, on=False)
    router = UnleashRouter(live_unleash.api(reads_served=True), users=USERS, served_within=60.0)
    before = await router.read(flag)
    assert before == Route.split(flag, "off")
    had: set[int] = set()
    for generation, weight in enumerate((5, 25), start=1):
        await router.apply(on(flag, weight, generation), over=before)
        before = on(flag, weight, generation)
        now = sent(live_unleash, flag).with_variant(flag, "on", range(USERS), STRANGERS)
        check_share(flag, "on", weight, len(now), USERS)
        assert had <= now
        had = now
    assert live_unleash.is_on(flag)
    await router.apply(off(flag))
    assert not sent(live_unleash, flag).with_variant(flag, "on", range(100), STRANGERS)
    await router.aclose()


async def test_strategies_of_others_and_other_environments_are_left_alone(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, STAFF)
    (staff,) = live_unleash.strategies(flag)
    await router.apply(on(flag, 25), over=await router.read(flag))
    await router.apply(off(flag, 2))
    assert staff in live_unleash.strategies(flag)
    assert sent(live_unleash, flag).variant(flag, "ann") == "on"
    feature = live_unleash.ask("GET", f"/api/admin/projects/default/features/{flag}").json()
    elsewhere = [one for one in feature["environments"] if one["name"] == "production"]
    assert [(one["enabled"], one["strategies"]) for one in elsewhere] == [(False, [])]


async def test_a_flag_that_others_turn_on_for_everybody_is_not_written(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, EVERYBODY, on=False)
    with pytest.raises(Terminal, match=r"everybody \(200 of 200 made-up users\); Aviary leaves"):
        await router.apply(on(flag, 5), over=await router.read(flag))
    assert len(live_unleash.strategies(flag)) == 1
    assert not live_unleash.is_on(flag)


async def test_a_strategy_that_was_added_meanwhile_is_somebody_elses_change(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, on=False)
    await router.apply(on(flag, 5), over=await router.read(flag))
    live_unleash.ask("POST", live_unleash.path(flag, "strategies"), EVERYBODY)
    with pytest.raises(ForeignChange, match="admin changed its route: found strategies that turn"):
        await router.apply(on(flag, 25, 2), over=on(flag, 5))
    with pytest.raises(Retryable, match="0 of 200 users get off, expected 200"):
        await router.apply(off(flag))
    assert ours(live_unleash, flag)["parameters"]["rollout"] == "0", "its own part is written"


async def test_a_flag_that_was_switched_off_by_hand_stays_off_when_it_goes_back(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, on=False)
    await router.apply(on(flag, 25), over=await router.read(flag))
    live_unleash.switch(flag, on=False)
    assert "switched off in development" in await router.changed(on(flag, 25))
    with pytest.raises(ForeignChange, match="switched off"):
        await router.apply(on(flag, 50, 2), over=on(flag, 25))
    await router.apply(off(flag))
    assert not live_unleash.is_on(flag)
    await router.apply(on(flag, 10, 10), over=off(flag))
    assert live_unleash.is_on(flag)
    assert ours(live_unleash, flag)["parameters"]["rollout"] == "10"


async def test_what_somebody_puts_on_aviarys_strategy_is_found(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, on=False)
    await router.apply(on(flag, 25), over=await router.read(flag))
    there = ours(live_unleash, flag)
    path = live_unleash.path(flag, f"strategies/{there['id']}")
    live_unleash.ask("PUT", path, {**there, "constraints": STAFF["constraints"]})
    with pytest.raises(ForeignChange, match=r"found rollout 25 %.*, userId IN ann, expected"):
        await router.apply(on(flag, 50, 2), over=on(flag, 25))
    await router.apply(off(flag))
    assert ours(live_unleash, flag)["constraints"] == []


async def test_a_strategy_titled_aviary_is_taken_over_with_its_variants(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, live_unleash.strategy(flag, "100", "red", "blue"))
    before = await router.read(flag)
    assert before == Route.split(flag, "red")
    await router.apply(Route.split(flag, "red", "blue", 25, generation=1), over=before)
    variants = {one["name"]: one for one in ours(live_unleash, flag)["variants"]}
    assert {name: one["weight"] for name, one in variants.items()} == {"blue": 250, "red": 750}
    assert variants["blue"]["payload"]["value"] == "value of blue"
    with pytest.raises(UnknownRoute, match="no variant green; expected one of: off, blue, red"):
        await router.apply(Route.split(flag, "red", "green", 5, generation=2))


async def test_a_flag_that_differs_before_a_release_has_no_stable(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    live_unleash.make_flag(flag, live_unleash.strategy(flag, "50"))
    with pytest.raises(UnknownRoute, match="expected one for all of them, which is stable"):
        await router.read(flag)


async def test_a_strategy_that_was_made_twice_is_one_after_the_next_write(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    body = nothing_yet(("default", flag), None)
    live_unleash.make_flag(flag, body, body)
    await router.apply(on(flag, 25))
    assert len(live_unleash.strategies(flag)) == 1


@pytest.mark.parametrize("rollout", ["101", "-1", "12.5"])
async def test_why_only_whole_percent_are_written(
    live_unleash: LiveUnleash, rollout: str, flag: str
) -> None:
    live_unleash.make_flag(flag, live_unleash.strategy(flag, rollout))
    api = live_unleash.api()
    found = await api.flag(flag)
    await api.aclose()
    assert found is not None
    users = Evaluation([found.definition(found.evaluated)]).with_variant(
        flag, "on", range(100), STRANGERS
    )
    assert not users, "Unleash took it, and its SDKs give it to nobody"


async def test_of_writers_at_the_same_moment_none_is_told_what_is_not_so(
    live_unleash: LiveUnleash, router: UnleashRouter, flag: str
) -> None:
    """There is no fence: who wins is chance. One that is confirmed was there when it was read."""
    live_unleash.make_flag(flag, live_unleash.strategy(flag, "0"))
    rivals = [on(flag, weight) for weight in (10, 20, 30)]
    results = await asyncio.gather(*map(router.apply, rivals), return_exceptions=True)
    lost = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, AdapterError) for error in lost)
    there = await router.read(flag)
    assert there in rivals
    assert ours(live_unleash, flag)["parameters"]["rollout"] == f"{there.weight:g}"


async def test_a_token_that_is_refused_is_waited_for_and_not_shown(
    live_unleash: LiveUnleash, flag: str
) -> None:
    router = UnleashRouter(live_unleash.api(token="*:*.not-that-one"))
    with pytest.raises(Retryable, match="answered 401") as caught:
        await router.read(flag)
    assert "not-that-one" not in str(caught.value)
    await router.aclose()
