"""Releases that want the same services: who goes, who waits, and what survives."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from uuid import uuid4

import pytest

from schemas.admission import AdmissionState
from schemas.event_kinds import EventType
from schemas.ids import (
    ADMISSION_WORKFLOW,
    QUERY_STATUS,
    SIGNAL_ADMISSION,
    SIGNAL_ALERTS,
    SIGNAL_LEAVE,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
    SIGNAL_ROLLBACK,
    admission_workflow_id,
)
from schemas.release import CauseKind, ReleasePhase
from tests.workflows.kit import QUICK, Release, World, eventually

QUEUE = {"busy": "queue"}


def block(world: World, *services: str) -> None:
    """Let the first bake of these services last until `world.judge.blocked` is cleared."""
    world.judge.blocked |= {(world.service(one), 10) for one in services}


async def queued(release: Release) -> str:
    """Wait until a release is queued; returns what it waits for."""

    async def waits() -> bool:
        status = await release.status()
        return status.phase is ReleasePhase.QUEUED and bool(status.waits_for)

    await eventually(waits)
    return (await release.status()).waits_for


async def in_phase(release: Release, phase: ReleasePhase) -> None:
    async def there() -> bool:
        return (await release.status()).phase is phase

    await eventually(there)


async def kill_admission(world: World) -> None:
    handle = world.client.get_workflow_handle(admission_workflow_id(world.queue))
    await handle.terminate("lost")


async def line(world: World) -> AdmissionState:
    handle = world.client.get_workflow_handle(admission_workflow_id(world.queue))
    state: AdmissionState = await handle.query(QUERY_STATUS, result_type=AdmissionState)
    return state


async def test_a_second_release_waits_visibly_and_goes_when_the_first_has_ended(
    world: World,
) -> None:
    block(world, "b")
    first = await world.release({"b": []}, name=f"one-{uuid4().hex[:6]}")
    await first.until(b="baking")
    second = await world.release({"a": [], "b": ["a"]}, version="3")
    text = await queued(second)
    third = await world.release({"a": []}, version="4")
    name = (await first.status()).release
    assert text == f"release {name} to end (it has {world.service('b')})"
    assert (await second.status()).services[0].waits_for == "the release's turn"
    assert "to go first" in await queued(third)
    assert world.router.weights(world.service("a")) == []
    world.judge.blocked.clear()
    done = [await one.result() for one in (first, second, third)]
    assert {one.phase for one in done} == {ReleasePhase.FINALIZED}
    assert done[1].finished_at is not None
    ended, began = _moment(world, first, "finalized"), _moment(world, second, "started")
    assert ended <= began <= _moment(world, second, "finalized") <= _moment(world, third, "started")
    types = [one.type for one in world.log.events if one.partitionkey == done[1].release]
    assert types[:2] == [EventType.RELEASE_QUEUED, EventType.RELEASE_STARTED]


def _moment(world: World, release: Release, what: str) -> datetime:
    return next(
        one.time
        for one in world.log.events
        if one.partitionkey == release.handle.id.removeprefix("release/")
        and one.type == f"dev.aviary.release.{what}.v1"
    )


async def test_what_shares_no_service_passes(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    second = await world.release({"a": [], "b": []}, version="3")
    await queued(second)
    third = await world.release({"b": []}, version="4")
    await queued(third)
    other = await world.release({"c": []})
    assert (await other.result()).phase is ReleasePhase.FINALIZED
    world.judge.blocked.clear()
    for release in (first, second, third):
        assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_services_in_opposite_order_do_not_deadlock(world: World) -> None:
    one = await world.release({"a": [], "b": ["a"]}, version="2")
    other = await world.release({"b": [], "a": ["b"]}, version="3")
    assert (await one.result()).phase is ReleasePhase.FINALIZED
    assert (await other.result()).phase is ReleasePhase.FINALIZED


@pytest.mark.parametrize("seed", [1, 2])
async def test_many_releases_over_few_services_all_end(world: World, seed: int) -> None:
    choice = random.Random(seed)
    releases = []
    for number in range(10):
        chosen = choice.sample("abc", choice.randint(1, 3))
        graph = {one: chosen[:at] for at, one in enumerate(chosen)}
        policy = {"busy": choice.choice(["queue", "supersede"]), "coalesce": choice.random() < 0.3}
        strategy = {"steps": [50]}
        releases.append(
            world.release(graph, version=str(number + 2), strategy=strategy, admission=policy)
        )
    begun = await asyncio.gather(*releases)
    await eventually(lambda: _all_ended(begun), within=120)
    for release in begun:
        done = await release.result()
        assert done.cause is None or done.cause.kind is CauseKind.SUPERSEDED
    for service in "abc":
        assert (await world.router.read(world.service(service))).canary is None

    async def empty() -> bool:
        now = await line(world)
        return not now.holding and not now.waiting

    await eventually(empty)


async def _all_ended(releases: list[Release]) -> bool:
    return all([(await one.status()).phase.closed for one in releases])


async def test_reject_ends_the_second_and_names_the_first(world: World) -> None:
    block(world, "b")
    first = await world.release({"b": []})
    await first.until(b="baking")
    second = await world.release({"a": [], "b": ["a"]}, version="3", admission={"busy": "reject"})
    done = await second.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert (done.cause.kind, done.cause.service) == (CauseKind.BUSY, world.service("b"))
    name = (await first.status()).release
    assert done.cause.text == f"{world.service('b')} is busy: release {name} has it"
    assert world.router.weights(world.service("a")) == []
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED


async def test_supersede_takes_the_older_back_first(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    waiting = await world.release({"a": []}, version="3")
    await queued(waiting)
    newest = await world.release({"a": []}, version="4", admission={"busy": "supersede"})
    for older in (first, waiting):
        done = await older.result()
        assert done.phase is ReleasePhase.ROLLED_BACK
        assert done.cause is not None
        assert done.cause.kind is CauseKind.SUPERSEDED
        assert (await newest.status()).release in done.cause.text
    world.judge.blocked.clear()
    assert (await newest.result()).phase is ReleasePhase.FINALIZED
    back, on = _moment(world, first, "rolledback"), _moment(world, newest, "started")
    assert back <= on


async def test_coalesce_keeps_the_newest_of_the_queued(world: World) -> None:
    block(world, "a")
    newest = {"busy": "queue", "coalesce": True}
    first = await world.release({"a": []}, admission=newest)
    await first.until(a="baking")
    second = await world.release({"a": []}, version="3", admission=newest)
    await queued(second)
    third = await world.release({"a": []}, version="4", admission=newest)
    done = await second.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.SUPERSEDED
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED
    assert (await third.result()).phase is ReleasePhase.FINALIZED
    assert (await world.router.read(world.service("a"))).stable == "4"


async def test_a_terminated_admission_comes_back_and_knows_all(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": [], "b": []})
    await first.until(a="baking")
    second = await world.release({"b": []}, version="3")
    await queued(second)
    third = await world.release({"b": []}, version="4")
    await queued(third)
    await kill_admission(world)

    async def knows() -> bool:
        handle = world.client.get_workflow_handle(admission_workflow_id(world.queue))
        if (await handle.describe()).status is None or not (await line(world)).resynced:
            return False
        now = await line(world)
        return len(now.holding) == 1 and len(now.waiting) == 2

    await eventually(knows)
    order = [one.release for one in (await line(world)).waiting]
    assert sorted(order) == sorted([(await one.status()).release for one in (second, third)])
    world.judge.blocked.clear()
    for release in (first, second, third):
        assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert _moment(world, first, "finalized") <= _moment(world, second, "started")
    assert _moment(world, second, "finalized") <= _moment(world, third, "started")


async def test_an_admission_lost_while_nobody_waits_learns_who_has_what(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": [], "b": ["a"]})
    await first.until(a="baking")
    await kill_admission(world)
    second = await world.release({"b": []}, version="3")
    assert (await first.status()).release in await queued(second)
    world.judge.blocked.clear()
    for release in (first, second):
        assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_terminated_holder_is_not_waited_for(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    waiting = await world.release({"a": []}, version="3")
    await queued(waiting)
    second = await world.release({"a": []}, version="4")
    await queued(second)
    await waiting.handle.terminate("by mistake")
    await first.handle.terminate("by mistake")
    world.judge.blocked.clear()
    assert (await second.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("a"))[-1] == 0


async def test_a_canary_that_the_admission_does_not_know_of_is_waited_for(world: World) -> None:
    first = await world.release({"a": []}, strategy={"steps": [50], "soak": "1h"})
    await first.until(a="holding")
    await world.router.read(world.service("a"))
    world.router.broken.add(world.service("a"))
    await first.handle.terminate("by mistake")
    second = await world.release({"a": [], "b": []}, version="3")

    async def told() -> bool:
        return "another canary" in (await second.status()).services[0].waits_for

    await eventually(told)
    world.router.broken.clear()
    assert (await second.result()).phase is ReleasePhase.FINALIZED


async def test_a_release_that_waits_for_a_canary_can_go_back(world: World) -> None:
    first = await world.release({"a": []}, strategy={"steps": [50], "soak": "1h"})
    await first.until(a="holding")
    world.router.broken.add(world.service("a"))
    await first.handle.terminate("by mistake")
    second = await world.release({"a": []}, version="3")
    await second.until(a="preflight")
    await second.handle.signal(SIGNAL_ROLLBACK)
    assert (await second.result()).phase is ReleasePhase.ROLLED_BACK
    assert await second.phases() == {"a": "skipped"}
    world.router.broken.clear()
    await first.canary("a").result()


async def test_a_queued_release_survives_its_worker(world: World) -> None:
    another = World(world.client)
    block(another, "a")
    async with another.working():
        first = await another.release({"a": []})
        await first.until(a="baking")
        second = await another.release({"a": []}, version="3")
        await queued(second)
    another.judge.blocked.clear()
    async with another.working():
        assert (await first.result()).phase is ReleasePhase.FINALIZED
        assert (await second.result()).phase is ReleasePhase.FINALIZED


@pytest.mark.parametrize("how", ["cancel", SIGNAL_ROLLBACK])
async def test_a_queued_release_ends_at_once_untouched(world: World, how: str) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    second = await world.release({"a": []}, version="3")
    await queued(second)
    if how == "cancel":
        await second.handle.cancel()
    else:
        assert "goes back" in await second.handle.execute_update(SIGNAL_ROLLBACK)
    done = await second.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert await second.phases() == {"a": "skipped"}
    assert (await first.status()).phase is ReleasePhase.RUNNING
    assert [one.release for one in (await line(world)).waiting] == []
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED


async def test_a_release_paused_while_queued_starts_nothing_until_resumed(world: World) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    second = await world.release({"a": []}, version="3")
    await queued(second)
    await second.handle.execute_update(SIGNAL_PAUSE)
    world.judge.blocked.clear()
    await first.result()
    await in_phase(second, ReleasePhase.RUNNING)
    assert await second.phases() == {"a": "waiting"}
    await second.handle.execute_update(SIGNAL_RESUME)
    assert (await second.result()).phase is ReleasePhase.FINALIZED


async def test_the_admission_continues_as_new_and_forgets_nothing(world: World) -> None:
    handle = await world.client.start_workflow(
        ADMISSION_WORKFLOW,
        AdmissionState(poll=QUICK.admission_poll, most_events=25),
        id=admission_workflow_id(world.queue),
        task_queue=world.queue,
    )
    block(world, "a")
    releases = [await world.release({"a": []}, version="2")]
    await releases[0].until(a="baking")
    for number in range(4):
        releases.append(await world.release({"a": []}, version=str(number + 3)))
        await queued(releases[-1])
    world.judge.blocked.clear()
    for release in releases:
        assert (await release.result()).phase is ReleasePhase.FINALIZED
    now = await world.client.get_workflow_handle(handle.id).describe()
    assert now.run_id != handle.first_execution_run_id
    assert now.history_length < 100


@pytest.mark.parametrize("arguments", [[], [17], ["a", "b"], [{"no": "such"}]])
async def test_malformed_words_wedge_nothing(world: World, arguments: list[object]) -> None:
    block(world, "a")
    first = await world.release({"a": []})
    await first.until(a="baking")
    admission = world.client.get_workflow_handle(admission_workflow_id(world.queue))
    await admission.signal(SIGNAL_LEAVE, args=arguments)
    await first.handle.signal(SIGNAL_ADMISSION, args=arguments)
    await first.canary("a").signal(SIGNAL_ALERTS, args=arguments)
    assert len((await line(world)).holding) == 1
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED
