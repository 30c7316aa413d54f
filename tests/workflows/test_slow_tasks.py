"""A workflow task that takes too long is given up, and is never broken into."""

from __future__ import annotations

import asyncio
import logging
import threading
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from aviary.queues import ActivitySet, build_workers
from aviary.sandbox import Uninterrupted
from aviary.settings import load_settings
from tests.workflows.kit import eventually

_may_end = threading.Event()
_begun: list[str] = []
_broken_into: list[BaseException] = []


@workflow.defn(name="test.slow")
class SlowWorkflow:
    """Blocks its thread in its first task, as a machine without CPU would."""

    @workflow.run
    async def run(self) -> str:
        others = [asyncio.create_task(self._wait()) for _ in range(2)]
        _block()
        self._done = True
        await asyncio.gather(*others)
        return "whole"

    @workflow.init
    def __init__(self) -> None:
        self._done = False

    async def _wait(self) -> None:
        await workflow.wait_condition(lambda: self._done)


def _block() -> None:
    _begun.append("task")
    try:
        _may_end.wait()
        for _ in range(1000):  # where an exception from outside would be raised
            pass
    except BaseException as error:
        _broken_into.append(error)
        raise


async def test_a_slow_task_is_done_again_and_not_interrupted(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    _may_end.clear()
    _begun.clear()
    _broken_into.clear()
    queue = f"slow-{uuid4()}"

    async def given_up() -> bool:
        return any("TMPRL1101" in str(line.exc_info) for line in caplog.records)

    async def out_of_patience() -> bool:
        return any("Timed out running eviction" in line.getMessage() for line in caplog.records)

    with caplog.at_level(logging.WARNING, logger="temporalio"):
        async with Worker(
            server.client,
            task_queue=queue,
            workflows=[SlowWorkflow],
            # Without the sandbox, which would give the workflow another copy of this module.
            workflow_runner=Uninterrupted(UnsandboxedWorkflowRunner()),
        ):
            handle = await server.client.start_workflow(
                SlowWorkflow.run, id=queue, task_queue=queue
            )
            try:
                await eventually(given_up)
                await eventually(out_of_patience)
            finally:
                _may_end.set()
            async with asyncio.timeout(30):
                assert await handle.result() == "whole"
    assert _broken_into == []
    assert len(_begun) > 1, "it was given up, and done again"


async def test_the_workflows_of_a_worker_are_run_so(server: WorkflowEnvironment) -> None:
    activities = ActivitySet(*[[_nothing]] * 5)
    settings = load_settings().model_copy(update={"task_queue": f"test-{uuid4()}"})
    workers = build_workers(server.client, settings, activities)
    of_workflows = [config for config in (one.config() for one in workers) if config["workflows"]]
    assert [type(config["workflow_runner"]) for config in of_workflows] == [Uninterrupted]


@activity.defn(name="nothing")
async def _nothing() -> None:
    """Do nothing."""
