"""An attempt whose heartbeat lapsed is one quiet line; a failure keeps its stack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from aviary.log_lapses import Lapses, quiet_lapses
from tests.workflows.kit import eventually

LOGGER = logging.getLogger("temporalio.activity")


@activity.defn(name="lapsing")
async def lapsing() -> str:
    """Forget to say that it lives, the first time; find out later."""
    if activity.info().attempt > 1:
        return "another attempt"
    while True:
        await asyncio.sleep(2)
        activity.heartbeat()


@activity.defn(name="failing")
async def failing() -> str:
    """Fail, the first time."""
    if activity.info().attempt > 1:
        return "another attempt"
    raise RuntimeError("a failure of its own")


@workflow.defn(sandboxed=False)
class Doing:
    """Has one activity done."""

    @workflow.run
    async def run(self, name: str) -> str:
        answer: str = await workflow.execute_activity(
            name,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )
        return answer


@pytest.fixture
def quiet() -> Iterator[None]:
    before = list(LOGGER.filters)
    quiet_lapses()
    quiet_lapses()
    assert sum(isinstance(each, Lapses) for each in LOGGER.filters) == 1
    yield
    LOGGER.filters[:] = before


async def lines(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture, name: str
) -> list[logging.LogRecord]:
    """What the SDK logs of an activity until its attempts have ended."""
    queue = f"lapse-{uuid4()}"
    with caplog.at_level(logging.INFO, LOGGER.name):
        async with Worker(
            server.client,
            task_queue=queue,
            workflows=[Doing],
            activities=[lapsing, failing],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            done = await server.client.execute_workflow(Doing.run, name, id=queue, task_queue=queue)
            await eventually(lambda: bool(caplog.records))
    assert done == "another attempt"
    return [record for record in caplog.records if record.name == LOGGER.name]


@pytest.mark.usefixtures("quiet")
async def test_an_attempt_whose_heartbeat_lapsed_is_one_quiet_line(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = await lines(server, caplog, "lapsing")
    assert line.levelno == logging.INFO
    assert line.exc_info is None
    assert line.getMessage().startswith("an attempt was given up: ")


@pytest.mark.usefixtures("quiet")
async def test_a_failure_keeps_its_stack(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = await lines(server, caplog, "failing")
    assert line.levelno == logging.WARNING
    assert line.exc_info is not None
