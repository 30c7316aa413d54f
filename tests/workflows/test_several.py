"""Two routers carry one service: one canary, one weight, and going back is held up by neither."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.errors import Retryable
from adapters.ports import Part
from adapters.routers.memory.router import CAPABILITIES, Fault
from adapters.routers.several.router import several
from schemas.event_kinds import NoticeKind
from schemas.ids import SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import CanaryPhase, Command, ReleasePhase
from schemas.route import Confirmation, Route
from tests.workflows.kit import Release, World, eventually
from tests.workflows.kit.router import RecordingRouter

LEDGER: dict[str, list[str]] = {"ledger": []}
HOLD = {"steps": [10, 50], "bake": "1m", "soak": "1h"}


@pytest.fixture
def edge() -> RecordingRouter:
    """The first of two; the world's own router is the second."""
    return RecordingRouter()


@pytest.fixture
async def world(server: WorkflowEnvironment, edge: RecordingRouter) -> AsyncIterator[World]:
    here = World(server.client)
    parts = [Part("edge", edge.routing), Part("mesh", here.router.routing)]
    routing = several(parts, CAPABILITIES, judged=1, owns=True)
    here.router_for = lambda _: routing
    async with here.working():
        yield here


async def test_each_weight_is_on_both_before_the_step_goes_on(
    world: World, edge: RecordingRouter
) -> None:
    name = world.service("ledger")
    # The worker dies between the two writes, twice: the same write is made again.
    world.router.inject(Fault(Retryable("killed"), effect=False), times=2)
    release = await world.release(LEDGER, strategy={"steps": [10, 50], "bake": "1m"})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert edge.weights(name) == world.router.weights(name) == [10, 50, 100, 0]
    assert await edge.read(name) == await world.router.read(name)


async def test_going_back_is_held_up_by_no_router_and_the_one_that_is_away_is_named(
    world: World, edge: RecordingRouter
) -> None:
    name = world.service("ledger")
    release = await world.release(LEDGER, strategy=HOLD)
    await release.until(ledger="holding")
    world.router.broken.add(name)
    await release.handle.signal(SIGNAL_ROLLBACK)

    async def edge_is_back() -> bool:
        return (await edge.read(name)).canary is None

    await eventually(edge_is_back)
    await release.until(ledger="stuck")
    await eventually(lambda: NoticeKind.STUCK in {one.kind for one in world.notifier.notices})
    status = await release.canary_status("ledger")
    assert status.phase is CanaryPhase.STUCK
    assert "mesh: " in status.waits_for
    assert "done by edge" in status.waits_for
    assert (await world.router.read(name)).canary == "2"

    world.router.broken.clear()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await world.router.read(name)).canary is None


async def test_a_change_on_one_of_them_pauses_and_says_which(
    world: World, edge: RecordingRouter
) -> None:
    name = world.service("ledger")
    world.judge.blocked.add((name, 10))
    release = await world.release(LEDGER, strategy={"steps": [10, 50], "bake": "1m"})
    await release.until(ledger="baking")
    held = await edge.read(name)
    edge.change(Route.split(name, held.stable, held.canary, 90, generation=1))
    world.judge.blocked.clear()
    await release.until(ledger="paused")
    status = await release.canary_status("ledger")
    assert (
        f"edge: {name}: somebody else changed its route: found 0 10 %, 2 90 %" in status.waits_for
    )
    assert world.router.weights(name) == [10]
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await edge.read(name)).canary is (await world.router.read(name)).canary is None


async def _half_written(world: World, edge: RecordingRouter) -> Release:
    """The edge has 50 % when somebody changes the mesh."""
    name = world.service("ledger")
    written = edge.apply
    changed: list[Route] = []

    async def then_changed(route: Route, over: Route | None = None) -> Confirmation:
        confirmation = await written(route, over)
        if route.weight == 50 and not changed:
            changed.append(route)
            world.router.change(Route.split(name, route.stable, route.canary, 90, generation=1))
        return confirmation

    edge.apply = then_changed  # type: ignore[method-assign]
    release = await world.release(LEDGER, strategy={"steps": [10, 50], "bake": "1m"})
    await release.until(ledger="paused")
    return release


async def test_a_change_between_two_writes_pauses_as_well_and_a_person_writes_over_it(
    world: World, edge: RecordingRouter
) -> None:
    name = world.service("ledger")
    release = await _half_written(world, edge)
    status = await release.canary_status("ledger")
    assert "mesh: " in status.waits_for
    assert "another router of the service has the new route already" in status.waits_for
    assert (await edge.read(name)).weight == 50
    await release.canary("ledger").execute_update(SIGNAL_RESUME, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert edge.weights(name) == [10, 50, 50, 100, 0]
    assert world.router.weights(name) == [10, 50, 100, 0]


async def test_going_back_from_there_takes_both(world: World, edge: RecordingRouter) -> None:
    name = world.service("ledger")
    release = await _half_written(world, edge)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert (await edge.read(name)).canary is (await world.router.read(name)).canary is None
