"""A canary for some first: whom each weight is for, who keeps it, and how it is judged."""

from __future__ import annotations

from schemas.judging import JudgeSpec, Method
from schemas.release import ReleasePhase
from schemas.route import Route
from tests.workflows.kit import World, eventually

LEDGER: dict[str, list[str]] = {"ledger": []}
STAFF_FIRST = {
    "steps": [{"audience": "staff", "weight": 100}, {"audience": "eu", "weight": 20}, 5],
    "bake": "1m",
}
AUDIENCES = {"staff": {"header": {"x-group": "staff"}}, "eu": {"cookie": {"eu": "1"}}}


def _whom(route: Route) -> list[tuple[str, float]]:
    """What each tier has, by the first thing that it goes by."""
    return [
        (tier.audience.any_of[0].name if tier.audience else "everybody", tier.weight)
        for tier in route.tiers
    ]


async def test_each_step_adds_some_and_takes_nobody_back(world: World) -> None:
    name = world.service("ledger")
    release = await world.release(LEDGER, strategy=STAFF_FIRST, audiences=AUDIENCES)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert [_whom(route) for route in world.router.applied] == [
        [("x-group", 100), ("everybody", 0)],
        [("x-group", 100), ("eu", 20), ("everybody", 0)],
        [("x-group", 100), ("eu", 20), ("everybody", 5)],
        [("everybody", 100)],
        [("everybody", 0)],
    ]
    assert (await world.router.read(name)).stable == "2"


async def test_where_nobody_of_an_audience_is_on_stable_limits_decide(world: World) -> None:
    release = await world.release(LEDGER, strategy=STAFF_FIRST, audiences=AUDIENCES)
    await release.result()
    asked = [one for one in world.judge.requests if one.bake is not None]
    usual = JudgeSpec().method
    assert [one.spec.method for one in asked] == [Method.THRESHOLD, usual, usual]
    # What was seen without stable is no evidence against it.
    assert [one.evidence is None for one in asked] == [True, True, False]
    assert not any(one.mixed for one in asked)


async def test_what_keeps_users_is_in_every_write_of_the_canary_and_gone_after_it(
    world: World,
) -> None:
    strategy = {"steps": [10, 50], "bake": "1m", "sticky": {"user": {"header": "x-account"}}}
    release = await world.release(LEDGER, strategy=strategy)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    by = [route.sticky.by if route.sticky else None for route in world.router.applied]
    assert by == ["header", "header", "header", None]


async def test_a_canary_of_an_audience_goes_back_like_any_other(world: World) -> None:
    name = world.service("ledger")
    release = await world.release(
        LEDGER, strategy={**STAFF_FIRST, "soak": "1h"}, audiences=AUDIENCES
    )
    await release.until(ledger="holding")
    status = await release.canary_status("ledger")
    assert (status.weight, status.whom) == (100, "")
    await release.alert("ledger", severity="critical")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    route = await world.router.read(name)
    assert (route.canary, route.audience, route.kept) == (None, None, ())


async def test_who_asks_is_told_of_whom_a_weight_is_a_share(world: World) -> None:
    world.judge.blocked.add((world.service("ledger"), 20))
    release = await world.release(LEDGER, strategy=STAFF_FIRST, audiences=AUDIENCES)
    await release.until(ledger="baking")

    async def at_eu() -> bool:
        return (await release.status()).services[0].gets == "20 % of eu"

    await eventually(at_eu)
    assert (await release.canary_status("ledger")).whom == "eu"
