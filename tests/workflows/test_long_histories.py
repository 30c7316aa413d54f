"""A canary whose history becomes long goes on in another run, and forgets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from activities.judge import JudgeRequest
from adapters.hooks.run.caller import RunHook
from adapters.ports import RunCommand
from aviary.history.fetch import fetch_timeline
from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import MomentKind
from schemas.hooks import HookAnswer, HookEvent, HookMoment
from schemas.ids import (
    SIGNAL_ALERT,
    SIGNAL_APPROVE,
    SIGNAL_ORDER_ROLLBACK,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
    SIGNAL_ROLLBACK,
)
from schemas.release import CanaryPhase, CauseKind, Command, ReleasePhase
from tests.workflows.conftest import FAST_TIMERS, TEMPORAL
from tests.workflows.kit import Release, World, eventually
from tests.workflows.kit.world import with_deployer
from tests.workflows.test_hooks import CONNECTION

LONG = 40
"""Events at which this server says that a history is long; 4,096 by default."""
MANY = 300
_MARGIN = 12
_TASK_DONE: Final = "workflow_task_completed_event_attributes"
CHAIN = {"ledger": [], "payments": ["ledger"]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL),
        data_converter=pydantic_data_converter,
        dev_server_extra_args=[
            *FAST_TIMERS,
            *("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={LONG}"),
        ],
    ) as environment:
        here = World(environment.client)
        async with here.working():
            yield here


async def first_run(release: Release, service: str) -> str:
    return (await release.canary(service).describe()).run_id


async def until_another_run(release: Release, service: str, run: str) -> None:
    """Have a canary hear alerts that say nothing, until its history is long enough."""
    canary = release.canary(service)

    async def another() -> bool:
        now = await canary.describe()
        if now.run_id == run and now.history_length <= LONG + _MARGIN:
            await canary.signal(SIGNAL_ALERT)  # no more than needed: it must get to its end
        return now.run_id != run

    await eventually(another)


async def test_a_bake_goes_on_with_its_evidence_and_its_step(world: World) -> None:
    ledger = world.service("ledger")
    world.judge.blocked.add((ledger, 50))
    release = await world.release(CHAIN)
    await eventually(lambda: any(one.weight == 50 for one in world.judge.requests))
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)

    def bakes() -> list[JudgeRequest]:
        return [one for one in world.judge.requests if (one.service, one.weight) == (ledger, 50)]

    await eventually(lambda: len(bakes()) > 1)  # judged on by the next run
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    before, again = bakes()[0], bakes()[-1]
    assert again.started_at == before.started_at, "a bake's time does not begin anew"
    assert again.evidence is not None
    assert again.evidence["steps"] >= 1
    assert world.router.weights(ledger) == [10, 50, 100, 0], "no weight was set twice"


async def test_an_alert_after_many_messages_takes_a_holding_release_back(world: World) -> None:
    release = await world.release(CHAIN, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding", payments="holding")
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)
    await release.alert("ledger")
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.ALERT
    assert world.short(world.router.last_back()) == ["payments", "ledger"]


async def test_a_wait_for_a_group_goes_on_in_the_next_run_and_ends(world: World) -> None:
    seat, travel = world.service("seat"), world.service("travel")
    world.judge.blocked |= {(travel, 10), (travel, 50)}
    release = await world.release({"seat": ["travel"], "travel": ["seat"]})
    await release.until(seat="in_step", travel="baking")
    run = await first_run(release, "seat")
    await until_another_run(release, "seat", run)
    assert (await release.phases())["seat"] == "in_step"
    world.judge.blocked.discard((travel, 10))
    await eventually(lambda: world.router.weights(seat) == [10, 50])
    run = await first_run(release, "travel")
    await until_another_run(release, "travel", run)  # the other's bake goes on, at its point
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(seat) == world.router.weights(travel) == [10, 50, 100, 0]


async def test_a_pause_outlives_the_run_that_heard_it(world: World) -> None:
    ledger = world.service("ledger")
    world.judge.blocked.add((ledger, 10))
    release = await world.release({"ledger": []})
    await release.until(ledger="baking")
    await release.canary("ledger").signal(SIGNAL_PAUSE, Command(by="ann", reason="lunch"))
    world.judge.blocked.clear()
    await release.until(ledger="paused")
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)
    status = await release.canary_status("ledger")
    assert status.phase is CanaryPhase.PAUSED
    assert status.weight == 10
    assert "paused by ann: lunch" in status.waits_for
    await release.canary("ledger").signal(SIGNAL_RESUME)
    ended = await release.result()
    assert ended.phase is ReleasePhase.FINALIZED
    assert world.router.weights(ledger) == [10, 50, 100, 0]
    timeline = await fetch_timeline(world.client, ended.release)
    runs = [run.ended for run in timeline.services[ledger].runs]
    assert runs[:-1] == ["continued"] * (len(runs) - 1)
    assert runs[-1] == "completed"
    assert timeline.unseen == ()
    kinds = [one.kind for one in timeline.moments]
    assert kinds.index(MomentKind.PAUSED) < kinds.index(MomentKind.RESUMED)
    shifted = [one.weight for one in timeline.moments if one.kind is MomentKind.SHIFTED]
    assert shifted == [10, 50, 100, 100]


async def test_a_gate_still_waits_and_still_opens(world: World) -> None:
    steps = [{"weight": 10, "gate": {"text": "look"}}]
    release = await world.release({"ledger": []}, strategy={"steps": steps, "bake": "1m"})
    await release.until(ledger="gated")
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)
    await release.until(ledger="gated")
    await release.canary("ledger").signal(SIGNAL_APPROVE, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_no_message_is_lost_between_two_runs(world: World) -> None:
    release = await world.release({"ledger": []}, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding")
    run = await first_run(release, "ledger")
    alerts = [
        Alert(
            status=AlertStatus.RESOLVED,
            fingerprint=f"alert-{number}",
            labels={"alertname": "Errors"},
            starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for number in range(MANY)
    ]
    canary = release.canary("ledger")
    await asyncio.gather(*(canary.signal(SIGNAL_ALERT, one) for one in alerts))
    await eventually(lambda: _has_seen(release, MANY))
    await until_another_run(release, "ledger", run)
    await asyncio.gather(*(canary.signal(SIGNAL_ALERT, one) for one in alerts))
    assert (await release.canary_status("ledger")).alerts_seen == MANY, "repeats are known"
    await release.handle.signal("rollback")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


@pytest.mark.parametrize("word", [SIGNAL_ORDER_ROLLBACK, SIGNAL_ROLLBACK, SIGNAL_ALERT])
async def test_a_word_at_the_beginning_of_the_next_run_counts(world: World, word: str) -> None:
    """The server lets a new run wait a little, so that the word mostly comes before its first act.

    That it certainly does is in test_commands.
    """
    release = await world.release({"ledger": []}, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding")
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)
    if word == SIGNAL_ALERT:
        await release.alert("ledger")
    else:
        await release.canary("ledger").signal(word)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def _has_seen(release: Release, count: int) -> bool:
    return (await release.canary_status("ledger")).alerts_seen == count


async def _has_acted(release: Release) -> bool:
    history = await release.canary("ledger").fetch_history()
    return any(event.HasField(_TASK_DONE) for event in history.events)


async def test_each_run_replays(world: World) -> None:
    from temporalio.worker import Replayer  # noqa: PLC0415

    from aviary.queues import WORKFLOWS  # noqa: PLC0415
    from aviary.sandbox import sandbox  # noqa: PLC0415
    from workflows.guard import GuardInterceptor  # noqa: PLC0415

    release = await world.release({"ledger": []}, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding")
    run = await first_run(release, "ledger")
    await until_another_run(release, "ledger", run)
    client, name = world.client, release.canary("ledger").id
    replayer = Replayer(
        workflows=WORKFLOWS,
        interceptors=[GuardInterceptor()],
        workflow_runner=sandbox(),
        data_converter=pydantic_data_converter,
    )
    await eventually(lambda: _has_acted(release))  # there is nothing to replay before
    for one in (run, await first_run(release, "ledger")):
        history: WorkflowHistory = await client.get_workflow_handle(
            name, run_id=one
        ).fetch_history()
        assert len(history.events) < 4 * LONG
        await replayer.replay_workflow(history)
    await release.handle.signal("rollback")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_a_hook_that_is_asked_is_asked_the_same_by_the_next_run(world: World) -> None:
    world.connections = {"c": CONNECTION}
    world.hook.blocked.add(HookMoment.BEFORE_CANARY)
    hook = {"name": "h", "when": "before_canary", "call": {"kind": "http", "connection": "c"}}
    release = await world.release({"a": []}, hooks=[hook])
    await release.until(a="checking")
    await eventually(lambda: bool(world.hook.calls))
    run = await first_run(release, "a")
    await until_another_run(release, "a", run)
    await eventually(lambda: len(world.hook.calls) > 1)
    world.hook.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert len({(one.id, one.time, one.data.answer_by) for one in world.hook.calls}) == 1


class Held(RunHook):
    """A command whose end is heard only once the gate is open."""

    def __init__(self) -> None:
        super().__init__(("./migrate", "{version}"))
        self.calls: list[str] = []
        self.gate = asyncio.Event()

    async def call(self, event: HookEvent, run: RunCommand | None = None) -> HookAnswer:
        answer = await super().call(event, run)
        self.calls.append(event.id)
        await self.gate.wait()
        return answer

    async def called(self, times: int) -> None:
        await eventually(lambda: len(self.calls) == times)


async def test_a_command_runs_once_over_several_runs(world: World) -> None:
    held = Held()
    world.hook_for = lambda _: held
    hook = {"name": "h", "when": "before_canary", "call": {"kind": "run", "command": ["./migrate"]}}
    release = await world.release({"a": []}, hooks=[hook], **with_deployer())
    await release.until(a="checking")
    for calls in (1, 2):
        await held.called(calls)
        run = await first_run(release, "a")
        await until_another_run(release, "a", run)
    await held.called(3)
    held.gate.set()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    (call,) = set(held.calls)
    assert world.platform.began == {call: 1}
