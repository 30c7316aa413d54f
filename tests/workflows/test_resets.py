"""Reset in the Temporal UI: a canary goes on, a release goes back or ends; no traffic is left."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import CauseKind, ReleasePhase, ReleaseStatus
from tests.replay.test_replay import replayer
from tests.workflows.kit import Release, World, eventually
from tests.workflows.test_admission import block, queued

FIRST, SECOND, LAST = 0, 1, -1
STEPS = {"steps": [10, 50], "bake": "1m"}
HOLDS = STEPS | {"soak": "1h"}
GRAPH = {"a": [], "b": ["a"]}


async def reset(client: Client, handle: WorkflowHandle[Any, Any], point: int) -> None:
    """What the UI does: back to the end of the first or last workflow task."""
    history = await client.get_workflow_handle(handle.id).fetch_history()
    ends = [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    run = (await client.get_workflow_handle(handle.id).describe()).run_id
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=run),
            reason="pressed",
            workflow_task_finish_event_id=ends[point],
            request_id=str(uuid4()),
        )
    )


async def ended(release: Release) -> ReleaseStatus:
    """The status of the newest run, once it has closed, and all newest runs replay."""
    newest = release.world.client.get_workflow_handle(release.handle.id, result_type=ReleaseStatus)
    status: ReleaseStatus = await newest.result()
    for handle in (newest, *(release.canary(name) for name in ("a", "b"))):
        try:
            history = await release.world.client.get_workflow_handle(handle.id).fetch_history()
        except RPCError:
            continue  # it has no such service
        await replayer().replay_workflow(history)
    return status


async def on_versions(world: World, **versions: str) -> None:
    """No canary is left, and each service is wholly on the version."""
    for name, version in versions.items():
        route = await world.router.read(world.service(name))
        assert (route.stable, route.canary) == (version, None)


async def stuck_on_its_way_back(world: World) -> Release:
    """A release that goes back, while the router of `b` does not answer."""
    release = await world.release(GRAPH, strategy=HOLDS)
    await release.until(a="holding", b="holding")
    world.router.broken.add(world.service("b"))
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.until(b="rolling_back")
    return release


@pytest.mark.parametrize("point", [FIRST, LAST])
async def test_a_canary_goes_on(world: World, point: int) -> None:
    world.judge.blocked = {(world.service("b"), 50)}
    release = await world.release(GRAPH, strategy=STEPS)
    await release.until(a="holding", b="baking")
    await eventually(lambda: world.router.weights(world.service("b")) == [10, 50])
    await reset(world.client, release.canary("b"), point)
    world.judge.blocked.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


@pytest.mark.parametrize("point", [FIRST, LAST])
async def test_a_canary_that_was_reset_goes_back_with_its_release(world: World, point: int) -> None:
    release = await world.release(GRAPH, strategy=HOLDS)
    await release.until(a="holding", b="holding")
    await reset(world.client, release.canary("b"), point)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await ended(release)).phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="0", b="0")


async def test_a_canary_hears_again_what_was_said_before_it_was_reset(world: World) -> None:
    """What it was told comes in the very task in which it learns of the reset."""
    release = await stuck_on_its_way_back(world)
    await reset(world.client, release.canary("b"), SECOND)
    world.router.broken.clear()
    assert (await ended(release)).phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="0", b="0")


async def test_a_canary_that_was_reset_is_heard_though_it_has_said_less(world: World) -> None:
    release = await world.release(GRAPH, strategy=HOLDS)
    await release.until(a="holding", b="holding")
    world.judge.blocked = {(world.service("b"), 10)}
    await reset(world.client, release.canary("b"), FIRST)
    await release.until(b="baking")
    await release.alert("b")
    done = await ended(release)
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ALERT
    await on_versions(world, a="0", b="0")


@pytest.mark.parametrize("point", [FIRST, SECOND, LAST])
@pytest.mark.parametrize("phase", ["baking", "holding"])
async def test_a_release_goes_back_as_a_whole(world: World, phase: str, point: int) -> None:
    if phase == "baking":
        world.judge.blocked = {(world.service("b"), 50)}
    release = await world.release(GRAPH, strategy=HOLDS)
    await release.until(a="holding", b=phase)
    await reset(world.client, release.handle, point)
    done = await ended(release)
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.COMMAND
    assert "was reset" in done.cause.text
    await on_versions(world, a="0", b="0")
    assert world.short(world.router.last_back()) == ["b", "a"], "in reverse order"


async def test_a_release_that_goes_back_does_so_after_a_reset(world: World) -> None:
    release = await stuck_on_its_way_back(world)
    await reset(world.client, release.handle, LAST)
    world.router.broken.clear()
    done = await ended(release)
    assert done.phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="0", b="0")


async def test_a_release_that_finalizes_does_so_after_a_reset(world: World) -> None:
    world.judge.blocked = {(world.service("b"), 50)}
    release = await world.release(GRAPH, strategy=STEPS)
    await release.until(a="holding", b="baking")
    world.router.broken.add(world.service("a"))
    world.judge.blocked.clear()
    await release.until(a="finalizing")
    await reset(world.client, release.handle, LAST)
    world.router.broken.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


async def test_the_canary_of_another_release_is_let_be(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    second = await world.release({"a": []}, version="3")
    await queued(second)
    await reset(world.client, second.handle, FIRST)

    async def waits() -> bool:
        newest = world.client.get_workflow_handle(second.handle.id)
        status = await newest.query("status", result_type=ReleaseStatus)
        return bool(status.phase is ReleasePhase.ROLLING_BACK)

    await eventually(waits)
    assert (await first.canary_status("a")).cause is None
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    assert (await ended(second)).phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="2")
