"""A route that was there and is not: waited for, and on the way back never given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import CauseKind, ReleasePhase
from tests.workflows.kit import World, eventually

GRAPH: dict[str, list[str]] = {"a": []}
HOLDS = {"steps": [10, 50], "bake": "1m", "soak": "1h"}


async def missed(world: World, times: int) -> None:
    """Wait until the router was asked in vain so often."""
    world.router.missed.clear()
    await eventually(lambda: len(world.router.missed) >= times)


async def route(world: World) -> tuple[str, str | None]:
    now = await world.router.read(world.service("a"))
    return now.stable, now.canary


async def test_a_step_waits_for_a_route_that_comes_back(world: World) -> None:
    service = world.service("a")
    world.judge.blocked = {(service, 10)}
    release = await world.release(GRAPH)
    await release.until(a="baking")
    world.router.gone.add(service)
    world.judge.blocked.clear()
    await missed(world, 3)
    world.router.gone.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(service) == [10, 50, 100, 0]


async def test_to_finalize_waits_for_a_route_that_comes_back(world: World) -> None:
    service = world.service("a")
    world.router.kept_back.add(service)
    release = await world.release(GRAPH)
    await release.until(a="finalizing")
    world.router.gone.add(service)
    world.router.kept_back.clear()
    await missed(world, 3)
    world.router.gone.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert await route(world) == ("2", None)


async def test_a_rollback_waits_for_a_route_that_comes_back(world: World) -> None:
    service = world.service("a")
    release = await world.release(GRAPH, strategy=HOLDS)
    await release.until(a="holding")
    world.router.gone.add(service)
    await release.handle.signal(SIGNAL_ROLLBACK)
    await missed(world, 3)
    world.router.gone.clear()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert await route(world) == ("0", None)


@pytest.fixture
async def hasty(server: WorkflowEnvironment) -> AsyncIterator[World]:
    """A world in which nothing is waited for."""
    here = World(server.client)
    here.heals_within = timedelta(0)
    async with here.working():
        yield here


async def test_a_route_that_stays_away_takes_the_release_back_when_it_is_there_again(
    hasty: World,
) -> None:
    service = hasty.service("a")
    hasty.judge.blocked = {(service, 10)}
    release = await hasty.release(GRAPH)
    await release.until(a="baking")
    hasty.router.gone.add(service)
    hasty.judge.blocked.clear()
    await release.until(a="rolling_back")
    await missed(hasty, 3)
    hasty.router.gone.clear()
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ERROR
    assert "the router has no such service" in done.cause.text
    assert await route(hasty) == ("0", None)
