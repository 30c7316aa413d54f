"""Writing a report from a workflow: asked for once, and never in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.report import REPORT_POLICY, ReportActivities, WriteReport
from aviary.queues import sandbox
from schemas.ids import effects_queue

with workflow.unsafe.imports_passed_through():
    from workflows.report_call import write_report


@workflow.defn(name="test.reporting")
class Reporting:
    """Ends whatever becomes of the report."""

    @workflow.run
    async def run(self, release: str) -> str:
        await write_report(release)
        return "ended"


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


@pytest.mark.parametrize("release", ["../up", "", "a/b", ".hidden"])
def test_a_release_id_names_no_other_file(release: str) -> None:
    with pytest.raises(ValueError, match="release"):
        WriteReport(release=release)
