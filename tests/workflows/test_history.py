"""The timeline of real releases, as `release watch`, `list` and `explain` read it from Temporal."""

from __future__ import annotations

import asyncio

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from activities.judge import JudgeRequest, JudgeResult
from aviary.history.fetch import fetch_timeline
from aviary.releases.remote import Releases
from aviary.settings import load_settings
from schemas.event_kinds import MomentKind
from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import Command, ReleasePhase
from schemas.timeline import Timeline
from schemas.verdict import VerdictKind
from tests.unit.cli.looks import live
from tests.workflows.kit import Release, ScriptedJudge, World, eventually

K = MomentKind
HOLD = {"steps": [50], "soak": "1h"}


async def timeline_of(release: Release) -> Timeline:
    return await fetch_timeline(release.world.client, release.handle.id.removeprefix("release/"))


def kinds(found: Timeline, service: str) -> list[MomentKind]:
    return [one.kind for one in found.of(service)]


class SeeingJudge(ScriptedJudge):
    """Shows what it sees while it is blocked."""

    async def _judge(self, request: JudgeRequest, place: tuple[str, float]) -> JudgeResult:
        while place in self.blocked:
            activity.heartbeat({}, live().model_copy(update={"weight": request.weight}))
            await asyncio.sleep(0.02)
        return await super()._judge(request, place)


async def test_a_release_that_runs_tells_what_its_judge_has_seen(
    server: WorkflowEnvironment,
) -> None:
    world = World(server.client)
    world.judge = SeeingJudge(server.client)
    ledger = world.service("ledger")
    world.judge.blocked.add((ledger, 10))
    async with world.working():
        release = await world.release({"ledger": []})
        await release.until(ledger="baking")

        async def seen() -> bool:
            service = (await timeline_of(release)).services[ledger]
            return bool(service.judgings) and service.judgings[-1].live is not None

        await eventually(seen)
        found = await timeline_of(release)
        assert (found.phase, found.execution) == (ReleasePhase.RUNNING, "running")
        live = found.services[ledger].judgings[-1].live
        assert live is not None
        assert live.weight == 10
        releases = Releases(world.client, load_settings())
        sights = await releases.sights(await release.status())
        assert sights[ledger].live is not None
        world.judge.blocked.clear()
        await release.result()


async def test_a_lost_canary_and_the_run_that_mends_it_are_one_timeline(world: World) -> None:
    ledger = world.service("ledger")
    release = await world.release({"ledger": []}, strategy=HOLD)
    await release.until(ledger="holding")
    await release.canary("ledger").terminate(reason="by mistake")
    await release.result()
    found = await timeline_of(release)
    assert found.phase is ReleasePhase.ROLLED_BACK
    runs = found.services[ledger].runs
    assert [run.ended for run in runs] == ["terminated", "completed"]
    told = kinds(found, ledger)
    order = [K.HOLDING, K.TERMINATED, K.LOST, K.BEGUN, K.RESTORED, K.ROLLED_BACK]
    places = [len(told) - 1 - told[::-1].index(kind) for kind in order]
    assert places == sorted(places), told
    terminated = next(one for one in found.moments if one.kind is K.TERMINATED)
    assert terminated.reason == "by mistake"


async def test_two_releases_of_one_service_have_each_their_own_timeline(world: World) -> None:
    ledger = world.service("ledger")
    first = await world.release({"ledger": []}, metrics=False, strategy={"steps": [100]})
    await first.result()
    second = await world.release({"ledger": []}, version="3", strategy={"steps": [20]})
    await second.result()
    timelines = [await timeline_of(one) for one in (first, second)]
    weights = [
        [one.weight for one in found.of(ledger) if one.kind is K.SHIFTED] for found in timelines
    ]
    assert weights == [[100, 100], [20, 100, 100]]
    assert timelines[0].services[ledger].plan.version == "2"
    assert timelines[1].services[ledger].stable == "2"


async def test_a_router_that_was_away_is_told_with_its_attempts(world: World) -> None:
    ledger = world.service("ledger")
    world.judge.says[(ledger, 10)] = VerdictKind.FAIL
    world.judge.blocked.add((ledger, 10))
    release = await world.release({"ledger": []})
    await release.until(ledger="baking")
    world.router.broken.add(ledger)
    await release.handle.execute_update(SIGNAL_ROLLBACK, Command(by="ann", reason="slow"))
    await release.until(ledger="stuck")
    releases = Releases(world.client, load_settings())
    sights = await releases.sights(await release.status())
    assert "writing the route, attempt " in sights[ledger].trouble
    assert f"the router of {ledger} is away" in sights[ledger].trouble
    world.router.broken.clear()
    await release.result()
    found = await timeline_of(release)
    restored = next(one for one in found.moments if one.kind is K.RESTORED)
    assert f"(the router of {ledger} is away)" in restored.text
    assert K.STUCK in kinds(found, ledger)
    told = next(one for one in found.moments if one.kind is K.TOLD_BACK)
    assert (told.by, told.reason) == ("ann", "slow")
    back = next(one for one in found.moments if one.kind is K.ROLLBACK)
    assert back.text == "the release goes back: rolled back by ann: slow"


async def test_a_canary_whose_history_is_gone_is_named_as_unseen(world: World) -> None:
    ledger = world.service("ledger")
    release = await world.release({"ledger": []})
    await release.result()
    (run,) = (await timeline_of(release)).services[ledger].runs
    execution = WorkflowExecution(workflow_id=f"canary/{ledger}", run_id=run.run_id)
    await world.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=world.client.namespace, workflow_execution=execution
        )
    )
    handle = world.client.get_workflow_handle(execution.workflow_id, run_id=run.run_id)

    async def gone() -> bool:
        try:
            await handle.fetch_history()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await eventually(gone, within=120)  # the server takes its time to delete
    found = await timeline_of(release)
    assert len(found.unseen) == 1
    assert ledger in found.unseen[0]
    assert [one.weight for one in found.of(ledger) if one.kind is K.SHIFTED] == [10, 50, 100, 100]
