"""Stable made smaller as a canary grows, and as large as before when requests come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from schemas.deployment import Trouble
from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import ReleasePhase
from schemas.route import Confirmation, Route
from schemas.verdict import VerdictKind
from tests.workflows.kit import Release, World, eventually, with_deployer
from tests.workflows.test_deploy import up
from tests.workflows.test_resets import FIRST, LAST, reset

ONE: dict[str, Sequence[str]] = {"cart": []}
SHRINKS = {"steps": [25, 50], "bake": "0s", "shrink_stable": True}
HOLD = SHRINKS | {"soak": "1h"}
FOUR = with_deployer(instances=4)


async def stable_of_four(world: World) -> list[tuple[float, int]]:
    """Version 2 serves with four; hands back stable's ready instances at each write from now on."""
    first = await world.release(ONE, strategy={"steps": [50], "bake": "0s"}, **FOUR)
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    sizes: list[tuple[float, int]] = []
    apply = world.router.apply

    async def noted(route: Route, over: Route | None = None) -> Confirmation:
        sizes.append((route.weight, up(world).get("2", 0)))
        return await apply(route, over)

    world.router.apply = noted  # type: ignore[method-assign]
    return sizes


async def holding(world: World) -> Release:
    """Version 3 with all requests, and stable with as few as can be."""
    release = await world.release(ONE, strategy=HOLD, version="3", **FOUR)
    await release.until(cart="holding")
    assert up(world) == {"2": 1, "3": 4}
    return release


async def test_it_has_instances_for_its_share(world: World) -> None:
    sizes = await stable_of_four(world)
    release = await world.release(ONE, strategy=SHRINKS, version="3", **FOUR)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert sizes == [(25, 4), (50, 3), (100, 2), (0, 1)]
    await eventually(lambda: up(world) == {"3": 4})
    assert world.router.into_nothing == []


async def test_it_keeps_its_size_where_a_strategy_does_not_say_so(world: World) -> None:
    sizes = await stable_of_four(world)
    strategy = SHRINKS | {"shrink_stable": False}
    release = await world.release(ONE, strategy=strategy, version="3", **FOUR)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert {size for _, size in sizes} == {4}


async def test_it_keeps_its_size_where_its_order_is_not_remembered(world: World) -> None:
    sizes = await stable_of_four(world)
    world.platform.orders.clear()
    release = await world.release(ONE, strategy=SHRINKS, version="3", **FOUR)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert {size for _, size in sizes} == {4}


async def test_going_back_has_all_of_it_ready_and_then_moves_requests(world: World) -> None:
    sizes = await stable_of_four(world)
    release = await holding(world)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert sizes[-1:] == [(0, 4)]
    assert up(world) == {"2": 4}
    assert world.router.into_nothing == []


async def test_a_verdict_in_the_midst_has_all_of_it_ready_as_well(world: World) -> None:
    sizes = await stable_of_four(world)
    world.judge.says[world.service("cart"), 50.0] = VerdictKind.FAIL
    strategy = SHRINKS | {"bake": "1m"}
    release = await world.release(ONE, strategy=strategy, version="3", **FOUR)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert sizes == [(25, 4), (50, 3), (0, 4)]
    assert up(world) == {"2": 4}


async def test_requests_come_back_all_the_same_when_it_is_not_ready_in_time(world: World) -> None:
    sizes, service = await stable_of_four(world), world.service("cart")
    strategy = HOLD | {"regrow_within": "1s"}
    release = await world.release(ONE, strategy=strategy, version="3", **FOUR)
    await release.until(cart="holding")
    world.platform.give_trouble(service, "2", Trouble.QUOTA, "no room", healthy=1)
    await release.handle.signal(SIGNAL_ROLLBACK)
    await eventually(lambda: sizes[-1] == (0, 1))
    world.platform.heal(service, "2")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert up(world) == {"2": 4}, "it is waited for after the route"


async def test_one_that_is_being_made_smaller_is_made_large_by_the_way_back(world: World) -> None:
    sizes, service = await stable_of_four(world), world.service("cart")
    stands, goes_on = asyncio.Event(), asyncio.Event()

    async def before(step: str) -> None:
        if step.startswith(f"drain {service}-2") and not goes_on.is_set():
            stands.set()
            await goes_on.wait()

    world.platform.before = before
    release = await world.release(ONE, strategy=HOLD, version="3", **FOUR)
    await stands.wait()
    await release.handle.signal(SIGNAL_ROLLBACK)
    await eventually(lambda: any(weight == 0 for weight, _ in sizes))
    goes_on.set()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    await eventually(lambda: up(world) == {"2": 4})


async def test_a_canary_that_was_terminated_leaves_it_as_large_as_before(world: World) -> None:
    sizes = await stable_of_four(world)
    release = await holding(world)
    await release.canary("cart").terminate("pressed by mistake")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert sizes[-1:] == [(0, 4)]
    assert up(world) == {"2": 4}


@pytest.mark.parametrize("point", [FIRST, LAST])
async def test_a_canary_that_was_reset_goes_back_to_all_of_it(world: World, point: int) -> None:
    sizes = await stable_of_four(world)
    release = await holding(world)
    await reset(world.client, release.canary("cart"), point)
    await release.handle.signal(SIGNAL_ROLLBACK)
    newest = world.client.get_workflow_handle(release.handle.id)
    async with asyncio.timeout(60):
        await newest.result()
    assert sizes[-1:] == [(0, 4)]
    assert up(world) == {"2": 4}
    assert world.router.into_nothing == []
