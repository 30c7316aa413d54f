"""A deploy event that asks for the version that is stable now means "roll back"."""

from __future__ import annotations

import pytest

from schemas.release import CauseKind, ReleasePhase
from tests.workflows.kit import World, eventually

SOAKING = {"steps": [50], "bake": "1m", "soak": "1h"}
BAKING = {"steps": [50], "bake": "1m"}
PAIR = {"ledger": [], "checkout": ["ledger"]}


@pytest.mark.parametrize("phase", ["baking", "holding"])
async def test_the_stable_version_in_mid_canary_takes_the_release_back(
    world: World, phase: str
) -> None:
    name = world.service("a")
    if phase == "baking":
        world.judge.blocked.add((name, 50))
    bad = await world.release({"a": []}, strategy=SOAKING)
    await bad.until(a=phase)
    back = await world.release({"a": []}, version="0", strategy=SOAKING | {"soak": "0s"})
    done = await bad.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.SUPERSEDED
    asked = (await back.status()).release
    wanted = f"release {asked} asks for {name} 0, which is stable: it reverts this release"
    assert done.cause.text == wanted
    assert (await back.result()).phase is ReleasePhase.FINALIZED
    route = await world.router.read(name)
    assert (route.stable, route.canary) == ("0", None)


async def test_one_service_is_enough_and_the_rest_is_released_after(world: World) -> None:
    ledger = world.service("ledger")
    bad = await world.release(PAIR, strategy=SOAKING)
    await bad.until(ledger="holding", checkout="holding")
    versions = {"ledger": "0", "search": "3"}
    mixed = await world.release({"ledger": [], "search": []}, versions=versions, strategy=BAKING)
    assert (await bad.result()).phase is ReleasePhase.ROLLED_BACK
    assert await bad.phases() == {"ledger": "rolled_back", "checkout": "rolled_back"}
    assert (await mixed.result()).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(ledger)).stable == "0"
    assert (await world.router.read(world.service("search"))).stable == "3"


async def test_what_asks_for_another_version_waits_its_turn(world: World) -> None:
    name = world.service("a")
    world.judge.blocked.add((name, 50))
    first = await world.release({"a": []}, strategy=BAKING)
    await first.until(a="baking")
    for version in ("2", "3"):
        later = await world.release({"a": []}, version=version, strategy=BAKING)

        async def queued() -> bool:
            return "to end" in (await later.status()).waits_for  # noqa: B023

        await eventually(queued)
    assert (await first.status()).phase is ReleasePhase.RUNNING
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    assert (await later.result()).phase is ReleasePhase.FINALIZED


async def test_a_revert_that_is_asked_before_the_canary_has_read_its_route_counts(
    world: World,
) -> None:
    name = world.service("ledger")
    world.judge.blocked.add((name, 50))
    bad = await world.release(PAIR, strategy=SOAKING)
    await bad.until(ledger="baking", checkout="waiting")
    back = await world.release({"checkout": []}, version="0", strategy=BAKING)

    async def queued() -> bool:
        return "to end" in (await back.status()).waits_for

    await eventually(queued)
    assert (await bad.status()).phase is ReleasePhase.RUNNING, "its canary has not begun"
    world.judge.blocked.clear()
    done = await bad.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.service == world.service("checkout")
    assert (await back.result()).phase is ReleasePhase.FINALIZED


async def test_a_release_that_is_refused_as_busy_reverts_all_the_same(world: World) -> None:
    bad = await world.release({"a": []}, strategy=SOAKING)
    await bad.until(a="holding")
    back = await world.release({"a": []}, version="0", admission={"busy": "reject"})
    refused = await back.result()
    assert refused.cause is not None
    assert refused.cause.kind is CauseKind.BUSY
    done = await bad.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert "it reverts this release" in done.cause.text
