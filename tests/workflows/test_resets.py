"""Reset in the Temporal UI: a canary goes on, a release goes back or ends; no traffic is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from activities.drift import DriftInput, DriftReport
from schemas.ids import SIGNAL_ROLLBACK, canary_workflow_id
from schemas.release import CanaryPhase, CauseKind, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind
from tests.long import one_in
from tests.replay.test_replay import replayer
from tests.workflows.kit import Release, World, eventually, with_deployer
from tests.workflows.kit.audit import audits_of
from tests.workflows.test_admission import block, queued
from workflows.drift import DRIFT_WORKFLOW

FIRST, SECOND, HALF, LAST = 0, 1, 0.5, -1
_APPLIED = {
    True: ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE,
    False: ResetReapplyType.RESET_REAPPLY_TYPE_NONE,
}
STEPS = {"steps": [10, 50], "bake": "1m"}
HOLDS = STEPS | {"soak": "1h"}
GRAPH = {"a": [], "b": ["a"]}


async def reset(
    client: Client, handle: WorkflowHandle[Any, Any], point: float, *, heard: bool = True
) -> None:
    """What the UI does: back to the end of a workflow task.

    Args:
        client: of Temporal.
        handle: whose newest run.
        point: its number, from the end if negative; a fraction of all of them.
        heard: whether the messages since are heard again.
    """
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
            workflow_task_finish_event_id=ends[_number(point, len(ends))],
            request_id=str(uuid4()),
            reset_reapply_type=_APPLIED[heard],
        )
    )


def _number(point: float, of: int) -> int:
    return int(point * of) if 0 < point < 1 else min(int(point), of - 1)


async def ended(release: Release) -> ReleaseStatus:
    """The status of the newest run, once it has closed, and all newest runs replay."""
    newest = release.world.client.get_workflow_handle(release.handle.id, result_type=ReleaseStatus)
    try:
        async with asyncio.timeout(60):
            status: ReleaseStatus = await newest.result()
    except TimeoutError:
        raise AssertionError(await still(release)) from None
    for handle in (newest, *(release.canary(name) for name in ("a", "b"))):
        try:
            history = await release.world.client.get_workflow_handle(handle.id).fetch_history()
        except RPCError:
            continue  # it has no such service
        await replayer().replay_workflow(history)
    audits = audits_of(release.world.log.events, running=True)
    assert all(one.whole for one in audits), audits
    return status


async def still(release: Release) -> str:
    """Where a release is that does not end."""
    client, lines = (
        release.world.client,
        [str(await release.world.client.get_workflow_handle(release.handle.id).query("status"))],
    )
    for workflow in (release.handle.id, *(release.canary(name).id for name in ("a", "b"))):
        with suppress(RPCError):
            described = await client.get_workflow_handle(workflow).describe()
            history = await client.get_workflow_handle(workflow).fetch_history()
            events = [EventType.Name(each.event_type)[11:] for each in history.events]
            pending = [
                (each.activity_type.name, each.attempt)
                for each in described.raw_description.pending_activities
            ]
            lines.append(f"{workflow} {described.status}: {events}, pending {pending}")
    return "\n".join(lines)


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


@pytest.mark.parametrize(
    ("phase", "point"), one_in(5, product(["baking", "holding"], [FIRST, SECOND, LAST]))
)
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


def instances(world: World) -> set[str]:
    """The versions of which something is up, by service."""
    labels = (one.labels for one in world.platform.things.values())
    return {f"{world.short([one.service])[0]} {one.version}" for one in labels if one is not None}


@pytest.mark.parametrize("point", [FIRST, LAST])
async def test_a_canary_that_was_reset_leaves_no_instance(world: World, point: int) -> None:
    release = await world.release(GRAPH, strategy=HOLDS, **with_deployer())
    await release.until(a="holding", b="holding")
    await reset(world.client, release.canary("b"), point)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await ended(release)).phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="0", b="0")
    assert instances(world) == set()
    assert world.router.into_nothing == []


@pytest.mark.parametrize("point", [FIRST, LAST])
async def test_a_release_that_was_reset_takes_all_instances_back(world: World, point: int) -> None:
    release = await world.release(GRAPH, strategy=HOLDS, **with_deployer())
    await release.until(a="holding", b="holding")
    await reset(world.client, release.handle, point)
    assert (await ended(release)).phase is ReleasePhase.ROLLED_BACK
    await on_versions(world, a="0", b="0")
    await eventually(lambda: instances(world) == set())
    assert world.router.into_nothing == []


async def test_a_release_that_was_reset_as_it_finalized_keeps_its_instances(world: World) -> None:
    world.router.kept_back.add(world.service("a"))
    release = await world.release(GRAPH, strategy=STEPS, **with_deployer())
    await release.until(a="finalizing")
    await reset(world.client, release.handle, LAST)
    world.router.kept_back.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")
    assert instances(world) == {"a 2", "b 2"}
    assert world.router.into_nothing == []


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


async def finalizing(world: World, stuck: str) -> Release:
    """A release in the midst of finalizing: the router does not do it for one service."""
    world.router.kept_back.add(world.service(stuck))
    release = await world.release(GRAPH, strategy=STEPS)
    phases = {"a": "finalized", "b": "holding"} | {stuck: "finalizing"}
    await release.until(**phases)
    return release


POINTS = [FIRST, HALF, LAST]


@pytest.mark.parametrize(("who", "stuck", "point"), one_in(5, product("ab", "ab", POINTS)))
async def test_a_canary_that_is_reset_while_its_release_finalizes_finalizes(
    world: World, who: str, stuck: str, point: float
) -> None:
    release = await finalizing(world, stuck)
    # Were it to begin anew, it would be judged bad.
    world.judge.says = dict.fromkeys(
        ((world.service(who), weight) for weight in (10.0, 50.0)), VerdictKind.FAIL
    )
    await reset(world.client, release.canary(who), point)
    world.router.kept_back.clear()
    done = await ended(release)
    assert done.phase is ReleasePhase.FINALIZED
    assert {one.phase for one in done.services} == {CanaryPhase.FINALIZED}
    await on_versions(world, a="2", b="2")
    await nothing_runs(world)


@pytest.mark.parametrize("point", one_in(2, product(POINTS)))
async def test_a_canary_that_is_reset_without_its_messages_finalizes(
    world: World, point: float
) -> None:
    release = await finalizing(world, "b")
    await reset(world.client, release.canary("b"), point, heard=False)
    world.router.kept_back.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


async def test_a_canary_that_went_back_while_its_release_finalizes_is_brought_forward(
    world: World,
) -> None:
    release = await finalizing(world, "a")
    world.judge.says = {(world.service("b"), 50): VerdictKind.FAIL}
    await reset(world.client, release.canary("b"), HALF)
    await eventually(lambda: "b" in world.short(world.router.last_back()))
    world.router.kept_back.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


@pytest.mark.parametrize(("stuck", "point"), one_in(4, product("ab", POINTS)))
async def test_a_release_that_is_reset_while_it_finalizes_finalizes(
    world: World, stuck: str, point: float
) -> None:
    release = await finalizing(world, stuck)
    await reset(world.client, release.handle, point)
    world.router.kept_back.clear()
    done = await ended(release)
    assert done.phase is ReleasePhase.FINALIZED
    assert done.cause is None
    await on_versions(world, a="2", b="2")
    await nothing_runs(world)


@pytest.mark.parametrize("point", one_in(2, product([FIRST, LAST])))
async def test_a_release_that_is_reset_twice_while_it_finalizes_finalizes(
    world: World, point: float
) -> None:
    release = await finalizing(world, "b")
    await reset(world.client, release.handle, point)
    newest = world.client.get_workflow_handle(release.handle.id, result_type=ReleaseStatus)

    async def again() -> bool:
        status = await newest.query("status", result_type=ReleaseStatus)
        return status.phase is ReleasePhase.FINALIZING

    await eventually(again)
    await reset(world.client, newest, FIRST)
    world.router.kept_back.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


async def test_release_and_canary_are_reset_while_it_finalizes(world: World) -> None:
    release = await finalizing(world, "b")
    await reset(world.client, release.canary("b"), FIRST)
    await reset(world.client, release.handle, FIRST)
    world.router.kept_back.clear()
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    await on_versions(world, a="2", b="2")


@pytest.mark.parametrize("point", one_in(2, product(POINTS)))
async def test_a_finalized_release_that_is_reset_stays_finalized(
    world: World, point: float
) -> None:
    release = await world.release(GRAPH, strategy=STEPS)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    applied = list(world.router.applied)
    await reset(world.client, release.handle, point)
    assert (await ended(release)).phase is ReleasePhase.FINALIZED
    assert world.router.applied == applied, "there was nothing to do"
    await on_versions(world, a="2", b="2")


@pytest.mark.parametrize("stuck", ["a", "b"])
async def test_a_release_that_is_terminated_while_it_finalizes_is_finalized_by_its_canaries(
    world: World, stuck: str
) -> None:
    release = await finalizing(world, stuck)
    await release.handle.terminate("pressed")
    world.router.kept_back.clear()
    await eventually(partial(all_on, world, "2"))
    await nothing_runs(world)


@pytest.mark.parametrize("stuck", ["a", "b"])
async def test_what_is_terminated_while_it_finalizes_is_finalized_by_the_drift_check(
    world: World, stuck: str
) -> None:
    release = await finalizing(world, stuck)
    for handle in (release.canary("b"), release.handle, release.canary("a")):
        with suppress(RPCError):  # it has ended
            await handle.terminate("pressed")
    world.router.kept_back.clear()
    report = await world.client.execute_workflow(
        DRIFT_WORKFLOW,
        DriftInput(tuning=world.tuning),
        id=f"drift-{uuid4()}",
        task_queue=world.queue,
        result_type=DriftReport,
    )
    assert all(found.forward for found in report.found)
    await eventually(partial(all_on, world, "2"))


async def all_on(world: World, version: str) -> bool:
    routes = [await world.router.read(world.service(name)) for name in ("a", "b")]
    return [(route.stable, route.canary) for route in routes] == [(version, None)] * 2


async def nothing_runs(world: World) -> None:
    async def so() -> bool:
        return not any([await world.runs(canary_workflow_id(world.service(n))) for n in "ab"])

    await eventually(so)


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
