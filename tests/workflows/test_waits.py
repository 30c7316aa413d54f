"""No wait without an end, or without its reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from activities.judge import JudgeRequest, JudgeResult
from adapters.errors import Retryable
from aviary.history.fetch import fetch_timeline
from schemas.event_kinds import NoticeKind
from schemas.ids import SIGNAL_APPROVE, SIGNAL_ROLLBACK
from schemas.release import CauseKind, ReleasePhase
from schemas.route import Confirmation, Route
from schemas.verdict import Reason, VerdictKind
from tests.workflows.kit import RecordingRouter, Release, ScriptedJudge, World, eventually

SHORT = {"steps": [10], "bake": {"min": "0s", "max": "1s"}}


class HungJudge(ScriptedJudge):
    """Is alive, and never says anything, as long as it should judge a bake."""

    async def _judge(self, request: JudgeRequest, place: tuple[str, float]) -> JudgeResult:
        while request.bake is not None:
            activity.heartbeat({"steps": 7, "evidence_series": []})
            await asyncio.sleep(0.02)
        return await super()._judge(request, place)


class FailingJudge(ScriptedJudge):
    """Fails each attempt at a bake."""

    async def _judge(self, request: JudgeRequest, place: tuple[str, float]) -> JudgeResult:
        if request.bake is not None:
            raise LookupError("there is no pack of the name nginx")
        return await super()._judge(request, place)


@asynccontextmanager
async def judged_by(
    server: WorkflowEnvironment, judge: type[ScriptedJudge]
) -> AsyncIterator[World]:
    world = World(server.client)
    world.judge = judge(server.client)
    async with world.working():
        yield world


@pytest.mark.parametrize(
    ("judge", "why"),
    [(HungJudge, "no answer in time"), (FailingJudge, "no pack of the name nginx")],
)
async def test_a_bake_whose_judge_says_nothing_ends_inconclusive(
    server: WorkflowEnvironment, judge: type[ScriptedJudge], why: str
) -> None:
    async with judged_by(server, judge) as world:
        release = await world.release({"ledger": []}, strategy=SHORT)
        now = (await release.until(ledger="gated")).services[0]
        assert now.verdict is not None
        assert (now.verdict.kind, now.verdict.reason) == (
            VerdictKind.INCONCLUSIVE,
            Reason.NOT_JUDGED,
        )
        assert "could not be judged" in now.waits_for
        assert why in now.waits_for
        await eventually(lambda: any(why in one.text for one in world.notifier.notices))
        await release.handle.signal(SIGNAL_APPROVE)
        assert (await release.result()).phase is ReleasePhase.FINALIZED
        if judge is HungJudge:  # what it had seen is not lost
            assert world.judge.requests[-1].evidence == {"steps": 8}


async def test_a_bake_that_is_not_judged_goes_back_where_the_strategy_says_so(
    server: WorkflowEnvironment,
) -> None:
    async with judged_by(server, HungJudge) as world:
        strategy = SHORT | {"on_inconclusive": "roll_back"}
        release = await world.release({"ledger": []}, strategy=strategy)
        done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.VERDICT
    assert "could not be judged" in done.cause.text


async def test_an_inconclusive_bake_before_a_gate_asks_once_for_both(world: World) -> None:
    world.judge.says[world.service("ledger"), 10] = VerdictKind.INCONCLUSIVE
    strategy = {"steps": [{"weight": 10, "gate": {"text": "ask finance"}}, 50], "bake": "1m"}
    release = await world.release({"ledger": []}, strategy=strategy)
    waits_for = (await release.until(ledger="gated")).services[0].waits_for
    assert "ask finance" in waits_for
    assert "all the same: " in waits_for
    assert "INCONCLUSIVE" in waits_for
    await release.handle.signal(SIGNAL_APPROVE)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    gates = [one for one in world.notifier.notices if one.kind is NoticeKind.WAITING]
    assert len(gates) == 1


class ReadOnlyRouter(RecordingRouter):
    """Its disk can't be written."""

    full = False

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        if self.full:
            raise Retryable("/etc/envoy/rds.yaml: [Errno 30] Read-only file system")
        return await super().apply(route, over)


async def _runs(release: Release) -> bool:
    return await release.world.runs(release.canary("ledger").id)


async def shown(release: Release, text: str) -> None:
    """Wait until status, page and the canary's own page show a text."""

    async def there() -> bool:
        client = release.world.client
        pages = [
            await client.get_workflow_handle(one).query("__temporal_workflow_metadata")
            for one in (release.handle.id, release.canary("ledger").id)
        ]
        status = await release.status()
        return text in status.services[0].waits_for and all(text in str(page) for page in pages)

    await eventually(there)


async def _told_stuck(world: World, text: str) -> bool:
    stuck = [one.text for one in world.notifier.notices if one.kind is NoticeKind.STUCK]
    return any(text in one for one in stuck)


async def test_a_stuck_rollback_says_why_everywhere(server: WorkflowEnvironment) -> None:
    world = World(server.client)
    world.router = router = ReadOnlyRouter()
    async with world.working():
        release = await world.release({"ledger": []}, strategy={"steps": [50], "soak": "1h"})
        await release.until(ledger="holding")
        router.full = True
        await release.handle.signal(SIGNAL_ROLLBACK)
        await release.until(ledger="stuck")
        await shown(release, "Read-only file system")
        await eventually(lambda: _told_stuck(world, "Read-only file system"))
        timeline = await fetch_timeline(world.client, release.handle.id.removeprefix("release/"))
        assert "Read-only file system" in " ".join(one.text for one in timeline.moments)
        router.full = False
        done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert "last failure" not in done.services[0].waits_for


async def test_a_judge_that_fails_in_mid_bake_says_why_before_its_end(
    server: WorkflowEnvironment,
) -> None:
    world = World(server.client)
    world.judge.trouble = "/var/lib/aviary: No space left on device"
    bake = {"min": "1s", "max": "1h"}
    async with world.working():
        release = await world.release({"ledger": []}, strategy={"steps": [50], "bake": bake})
        await release.until(ledger="baking")
        await shown(release, "No space left on device")
        world.judge.trouble = ""
        done = await release.result()
    assert done.phase is ReleasePhase.FINALIZED
    assert "No space left" not in done.services[0].waits_for
    at_50 = [one for one in world.judge.requests if one.weight == 50]
    assert at_50[0].evidence is None
    assert at_50[-1].evidence == {"seen": "something"}, "what was seen is not lost"


async def test_a_step_and_a_preflight_that_fail_say_why(server: WorkflowEnvironment) -> None:
    world = World(server.client)
    world.router = router = ReadOnlyRouter()
    world.alerts.failure = Retryable("Alertmanager: 503 Service Unavailable")
    router.full = True
    async with world.working():
        release = await world.release({"ledger": []})
        await release.until(ledger="preflight")
        await eventually(lambda: _runs(release))
        await shown(release, "503 Service Unavailable")
        world.alerts.failure = None
        await shown(release, "Read-only file system")
        router.full = False
        assert (await release.result()).phase is ReleasePhase.FINALIZED
