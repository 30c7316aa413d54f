"""Writing a report from a workflow: asked for once, and never in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.report import REPORT_POLICY, ReportActivities, WriteReport
from aviary.history.fetch import fetch_timeline
from aviary.report.folder import ReportFolder
from aviary.report.running import with_running
from aviary.sandbox import sandbox
from schemas.ids import effects_queue
from schemas.release import Tuning
from tests.workflows.kit import QUICK, World
from tests.workflows.reporting import Reporting


async def _run(server: WorkflowEnvironment, write: Callable[[WriteReport], Awaitable[bool]]) -> str:
    queue = f"test-{uuid4()}"
    async with (
        Worker(server.client, task_queue=queue, workflows=[Reporting], workflow_runner=sandbox()),
        Worker(server.client, task_queue=effects_queue(queue), activities=[write]),
    ):
        ended: str = await server.client.execute_workflow(
            Reporting.run, "r1", id=queue, task_queue=queue, run_timeout=timedelta(minutes=1)
        )
    return ended


class Writer:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def write(self, release: str) -> None:
        self.asked.append(release)


async def test_the_report_is_asked_for_by_the_release_id(server: WorkflowEnvironment) -> None:
    writer = Writer()
    assert await _run(server, ReportActivities(writer).write) == "ended"
    assert writer.asked == ["r1"]


async def test_without_a_folder_the_release_just_ends(server: WorkflowEnvironment) -> None:
    assert await _run(server, ReportActivities(None).write) == "ended"


async def test_a_report_that_can_not_be_written_fails_nothing(server: WorkflowEnvironment) -> None:
    tried = 0

    @activity.defn(name="aviary.report.write")
    async def broken(_: WriteReport) -> bool:
        nonlocal tried
        tried += 1
        raise ApplicationError("the disk is full", non_retryable=tried > 1)

    assert await _run(server, broken) == "ended"
    assert tried == 2


def test_it_is_not_tried_for_ever() -> None:
    assert REPORT_POLICY.schedule_to_close is not None
    assert REPORT_POLICY.schedule_to_close <= timedelta(minutes=5)


async def test_a_release_has_a_report_while_it_runs_and_once_it_has_ended(
    server: WorkflowEnvironment, tmp_path: Path
) -> None:
    world = World(server.client)
    folder = ReportFolder(tmp_path, partial(fetch_timeline, server.client))
    async with world.working():
        release = await world.release({"ledger": []}, strategy={"steps": [50], "soak": "1h"})
        await release.until(ledger="holding")
        timeline = await fetch_timeline(server.client, (await release.status()).release)
        assert (
            await with_running(server.client, timeline) == timeline
        )  # the scripted judge keeps nothing
        await folder.write(timeline.release)
        (page,) = tmp_path.iterdir()
        assert "The release goes on" in page.read_text()
        await release.alert("ledger")
        await release.result()
        await folder.write(timeline.release)
    assert "Why it went back: an alert on" in page.read_text()


@pytest.mark.parametrize("release", ["../up", "", "a/b", ".hidden"])
def test_a_release_id_names_no_other_file(release: str) -> None:
    with pytest.raises(ValueError, match="release"):
        WriteReport(release=release)


async def test_every_release_is_reported_whoever_started_it(world: World) -> None:
    """No starter knows whether workers have a folder: a worker is asked, and may have none."""
    assert Tuning().report
    release = await world.release({"a": []}, tuning=QUICK.model_copy(update={"report": True}))
    ended = await release.result()
    assert world.reports.written == [ended.release]
