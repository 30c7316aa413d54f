"""Histories of finished releases run through today's code: a worker may be upgraded meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from activities.traffic import APPLY
from aviary.queues import WORKFLOWS
from aviary.sandbox import sandbox
from schemas.ids import SIGNAL_ALERT
from tests.replay.record import FOLDER, SCENARIOS
from workflows.guard import GuardInterceptor

HISTORIES = sorted(FOLDER.glob("*.json"))


def replayer(*, strict: bool = False) -> Replayer:
    """As a worker has it, or with the code of workflows loaded anew for each run."""
    return Replayer(
        workflows=WORKFLOWS,
        interceptors=[GuardInterceptor()],
        workflow_runner=sandbox(strict=strict),
        data_converter=pydantic_data_converter,
    )


def test_every_scenario_is_kept() -> None:
    assert {path.name.split(".")[0] for path in HISTORIES} == {one.__name__ for one in SCENARIOS}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_finished_history_replays_in_the_strict_sandbox(path: Path) -> None:
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    result = await replayer(strict=True).replay_workflow(history)
    assert result.replay_failure is None


async def test_a_finished_history_replays_as_a_worker_has_it() -> None:
    for path in HISTORIES:
        history = WorkflowHistory.from_json(path.stem, path.read_text())
        result = await replayer().replay_workflow(history)
        assert result.replay_failure is None, path.stem


async def test_a_history_of_other_decisions_does_not_replay() -> None:
    text = (FOLDER / "healthy.canary.ledger.json").read_text()
    document = json.loads(text)
    for event in document["events"]:
        scheduled = event.get("activityTaskScheduledEventAttributes")
        if scheduled:
            scheduled["activityType"]["name"] = "another.activity"
    history = WorkflowHistory.from_json("changed", json.dumps(document))
    with pytest.raises(Exception, match="TMPRL1100|[Nn]ondeterminism"):
        await replayer().replay_workflow(history)


def test_the_task_that_hears_an_alert_decides_the_route_write() -> None:
    """Nothing stands between an alert and its rollback, not even a workflow task."""
    text = (FOLDER / "alert_during_a_bake.canary.payments.json").read_text()
    events = json.loads(text)["events"]
    heard = next(
        at
        for at, event in enumerate(events)
        if event.get("workflowExecutionSignaledEventAttributes", {}).get("signalName")
        == SIGNAL_ALERT
    )
    task = next(
        event["eventId"]
        for event in events[heard:]
        if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED"
    )
    decided = {
        scheduled["activityType"]["name"]
        for event in events[heard:]
        if (scheduled := event.get("activityTaskScheduledEventAttributes"))
        and scheduled["workflowTaskCompletedEventId"] == task
    }
    assert APPLY in decided
