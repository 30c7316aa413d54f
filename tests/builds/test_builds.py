"""Two builds side by side on a real server: whatever happens to either, no release stands still."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.decided import Decided, went_final
from aviary.attributes import ensure_attributes
from schemas import ids
from schemas.release import ReleaseStatus
from tests.builds.kit import GATED, Builds, approve
from tests.workflows.kit import QUICK, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_release_ends_on_the_build_that_it_began_on(builds: Builds) -> None:
    assert await ensure_attributes(builds.client)
    old = builds.start("a")
    await builds.until_current("a")
    listed = QUICK.model_copy(update={"search_attributes": True})
    first = await builds.world.release({"x": [], "y": ["x"]}, strategy=GATED, tuning=listed)
    await first.until(x="gated")

    builds.start("b", other_order=True)
    await builds.until_current("b")
    second = await builds.world.release({"z": []}, strategy=GATED)
    await approve(first, "x", "y")  # the canary of y begins only now
    await approve(second, "z")

    assert (await first.result()).phase == "finalized"
    assert (await second.result()).phase == "finalized"
    assert await builds.builds_of(first, "x", "y") == {"a"}
    assert await builds.builds_of(second, "z") == {"b"}
    assert await builds.failed_tasks(first, "x", "y") == 0
    assert await builds.failed_tasks(second, "z") == 0
    assert builds.route("y") == ("2", None, 0)
    own = f'aviary_build_info{{build="a",deployment="{builds.name}",state="drained"}}'
    await eventually(lambda: old.metric(own) == 1)
    assert '"state": "drained"' in old.log()
    assert old.stop() == 0
    decided = Decided(workflow_id=first.handle.id)
    assert await went_final(builds.client, decided)  # though nobody answers for it any more


async def test_a_roll_back_takes_new_releases_only(builds: Builds) -> None:
    builds.start("a")
    await builds.until_current("a")
    bad = builds.start("b", other_order=True)
    await builds.until_current("b")
    first = await builds.world.release({"x": []}, strategy=GATED)
    await first.until(x="gated")

    builds.temporal(
        *("worker", "deployment", "set-current-version", "--yes"),
        *("--deployment-name", builds.name, "--build-id", "a"),
    )
    bad.stop()
    builds.start("b", other_order=True)  # a crash, a late replica: it takes nothing back
    second = await builds.world.release({"y": []}, strategy=GATED)
    await approve(first, "x")
    await approve(second, "y")

    assert (await first.result()).phase == "finalized"
    assert (await second.result()).phase == "finalized"
    assert await builds.builds_of(first, "x") == {"b"}
    assert await builds.builds_of(second, "y") == {"a"}
    await builds.until_current("a")


async def test_a_build_gets_a_share_of_the_new_releases(builds: Builds) -> None:
    builds.start("a")
    await builds.until_current("a")
    builds.start("b", other_order=True, promotes=False)
    await builds.until(lambda routing: routing.of("b") is not None)
    builds.temporal(
        *("worker", "deployment", "set-ramping-version", "--yes"),
        *("--deployment-name", builds.name, "--build-id", "b", "--percentage", "100"),
        "--ignore-missing-task-queues",
    )
    release = await builds.world.release({"x": []}, strategy=GATED)
    await approve(release, "x")

    assert (await release.result()).phase == "finalized"
    assert await builds.builds_of(release, "x") == {"b"}
    await builds.until_current("a")


async def test_an_alert_reaches_a_release_whose_build_has_gone(builds: Builds) -> None:
    lost = builds.start("a")
    await builds.until_current("a")
    release = await builds.world.release({"x": []}, strategy=GATED)
    await release.until(x="gated")
    assert builds.route("x") == ("0", "2", 10)

    lost.kill()
    await release.alert("x")  # nobody hears it
    new = builds.start("b")

    assert (await release.result()).phase == "rolled_back"
    assert builds.route("x") == ("0", None, 0)
    assert await builds.builds_of(release, "x") == {"b"}
    assert "moved_to_this_build" in new.log()


async def test_a_release_goes_back_that_no_build_can_go_on_with(builds: Builds) -> None:
    assert await ensure_attributes(builds.client)
    lost = builds.start("a")
    await builds.until_current("a")
    listed = QUICK.model_copy(update={"search_attributes": True})
    release = await builds.world.release({"x": [], "y": ["x"]}, strategy=GATED, tuning=listed)
    await approve(release, "x")
    await release.until(y="gated")

    lost.kill()
    new = builds.start("b", other_order=True, gives_up_s=8.0)
    abandoned = 'aviary_abandoned_workflows{build="a"}'
    await eventually(lambda: (new.metric(abandoned) or 0) == 3)  # told, while it waits
    await eventually(lambda: f'"workflow_id": "{release.handle.id}"' in new.sent_back())

    anew = builds.client.get_workflow_handle(release.handle.id, result_type=ReleaseStatus)
    assert (await anew.result()).phase == "rolled_back"
    assert builds.route("x") == ("0", None, 0)
    assert builds.route("y") == ("0", None, 0)
    assert "what a release had decided is not known" not in new.log()
    await eventually(lambda: new.metric(abandoned) is None)


async def test_the_admission_goes_on_though_it_does_not_replay(
    builds: Builds, server: WorkflowEnvironment
) -> None:
    builds.start("a")
    await builds.until_current("a")
    holder = await builds.world.release({"x": []}, strategy=GATED)
    await holder.until(x="gated")
    builds.start("b", other_order=True)
    await builds.until_current("b")

    waiting = await builds.world.release({"x": []}, strategy=GATED, version="3")
    admission = server.client.get_workflow_handle(ids.admission_workflow_id(builds.name))
    await approve(holder, "x")
    assert (await holder.result()).phase == "finalized"
    await approve(waiting, "x")
    assert (await waiting.result()).phase == "finalized"
    assert await builds.build_of(admission) == "b"


async def test_a_person_moves_releases_or_sends_them_back(builds: Builds) -> None:
    builds.start("a")
    await builds.until_current("a")
    moved = await builds.world.release({"x": []}, strategy=GATED)
    await moved.until(x="gated")
    builds.start("b")
    await builds.until_current("b")
    builds.temporal(
        *("workflow", "update-options", "--yes", "--query"),
        f'TemporalWorkerDeploymentVersion="{builds.name}:a" AND ExecutionStatus="Running" '
        'AND TemporalWorkflowVersioningBehavior="Pinned"',
        *("--versioning-override-behavior", "pinned"),
        *("--versioning-override-deployment-name", builds.name),
        *("--versioning-override-build-id", "b"),
    )

    async def on_b() -> bool:
        return await builds.deployment.pinned_to("b") == 2

    await eventually(on_b)
    await approve(moved, "x")
    assert (await moved.result()).phase == "finalized"
    assert await builds.builds_of(moved, "x") == {"b"}

    stuck = await builds.world.release({"y": []}, strategy=GATED)
    await stuck.until(y="gated")
    builds.start("c", other_order=True)
    await builds.until_current("c")
    canary = stuck.canary("y").id
    builds.temporal("workflow", "terminate", "--workflow-id", canary, "--reason", "gone")
    builds.temporal(
        *("workflow", "reset", "--workflow-id", stuck.handle.id, "--type", "FirstWorkflowTask"),
        *("--reason", "gone", "with-workflow-update-options"),
        *("--versioning-override-behavior", "pinned"),
        *("--versioning-override-deployment-name", builds.name),
        *("--versioning-override-build-id", "c"),
    )
    anew = builds.client.get_workflow_handle(stuck.handle.id, result_type=ReleaseStatus)
    assert (await anew.result()).phase == "rolled_back"
    assert builds.route("y") == ("0", None, 0)
    assert await builds.build_of(anew) == "c"
