"""A worker that can't poll says so, and one that never will again ends, on the real server."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.admission import WAIT_FOR_END
from aviary.local.http1 import Response, fetch
from aviary.local.ports import FreePorts
from schemas.ids import judging_queue, waiting_queue
from tests.workflows.door import ACTIVITY_POLLS, ALL, door
from tests.workflows.kit import eventually

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "aviary" / "local" / "catalog.yaml"
ENDS = ("", "-judging", "-effects", "-waiting")
SOON_S = 40.0
"""The SDK needs 10 s to ask again, and a machine may be busy."""


@workflow.defn(sandboxed=False)
class Attending:
    """Has an activity run on a queue for as long as it likes."""

    @workflow.run
    async def run(self, queue: str) -> None:
        await workflow.execute_activity(
            WAIT_FOR_END,
            {"workflows": [workflow.info().workflow_id], "poll": "2s"},
            task_queue=queue,
            start_to_close_timeout=timedelta(days=1),
            heartbeat_timeout=timedelta(seconds=15),
        )


class Process:
    """One of Aviary's processes, with a queue of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
        self.process = process
        self._log = log
        self._port = port

    @classmethod
    @asynccontextmanager
    async def running(
        cls, folder: Path, queue: str, temporal: str, *argv: str
    ) -> AsyncIterator[Self]:
        log, ports = folder / "process.log", FreePorts()
        port = ports.take()
        told = {
            "TASK_QUEUE": queue,
            "TEMPORAL_ADDRESS": temporal,
            "KAFKA_BOOTSTRAP": "127.0.0.1:9",
            "METRICS_PORT": str(port),
            "WEBHOOK_PORT": str(ports.take()),
            "WEBHOOK_TOKEN": "token",
            "CATALOG": str(CATALOG),
            "LOG_FORMAT": "json",
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("AVIARY_")}
        own |= {f"AVIARY_{name}": value for name, value in told.items()}
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *argv, cwd=ROOT, env=own, stdout=file, stderr=file
            )
        try:
            yield cls(process, log, port)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def ask(self, path: str) -> Response | None:
        try:
            return await fetch(self._port, path)
        except OSError:
            return None

    async def says(self, path: str, status: int, *words: str) -> None:
        """Wait until it answers so."""

        async def so() -> bool:
            assert self.process.returncode is None, self.log[-3000:]
            answer = await self.ask(path)
            found = answer is not None and answer.status == status
            return found and all(word in str(answer.body) for word in words if answer)

        await eventually(so, within=SOON_S)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), SOON_S)


def target(server: WorkflowEnvironment) -> str:
    """The address of the server."""
    return server.client.service_client.config.target_host


@pytest.fixture
def queue() -> str:
    return f"poll-{uuid4().hex[:8]}"


@asynccontextmanager
async def attended(server: WorkflowEnvironment, queue: str, count: int = 3) -> AsyncIterator[None]:
    """Activities that run on the waiting queue."""
    own = f"own-{uuid4().hex}"
    runner = UnsandboxedWorkflowRunner()
    async with Worker(server.client, task_queue=own, workflows=[Attending], workflow_runner=runner):
        handles = [
            await server.client.start_workflow(
                Attending.run, waiting_queue(queue), id=f"{own}-{number}", task_queue=own
            )
            for number in range(count)
        ]

        async def begun() -> bool:
            seen = [(await handle.describe()).raw_description for handle in handles]
            return all(
                each.pending_activities and each.pending_activities[0].HasField("last_started_time")
                for each in seen
            )

        await eventually(begun)
        yield
        for handle in handles:
            await handle.terminate()


@pytest.mark.parametrize(
    ("command", "polled"),
    [
        ("worker", "{queue}/workflows"),
        ("worker", "{queue}/activities"),
        ("worker", "{judging}/activities"),
        ("worker", "{waiting}/activities"),
        ("serve", "{waiting}/activities"),
    ],
)
async def test_polls_that_fail_for_good_end_the_process(
    server: WorkflowEnvironment, tmp_path: Path, queue: str, command: str, polled: str
) -> None:
    names = {"judging": judging_queue(queue), "waiting": waiting_queue(queue)}
    polled, sign = polled.format(queue=queue, **names), tmp_path / "now"
    argv = ["tests.workflows.failing_worker", str(sign), polled, command]
    async with Process.running(tmp_path, queue, target(server), *argv) as process:
        await process.says("/healthz", 200)
        async with attended(server, queue):
            sign.touch()
            assert await process.ended() == 1, process.log[-3000:]
    said = process.log
    assert "PermissionDenied" in said.splitlines()[-1], "the last line says why"
    assert "Traceback" not in said.splitlines()[-1]
    assert said.count("left_running") <= 1
    assert "Fatal Python error" not in said


async def test_activity_polls_that_are_refused_make_a_worker_unready(
    server: WorkflowEnvironment, tmp_path: Path, queue: str
) -> None:
    named = [f"queue {queue}{end} (activities): polls are refused" for end in ENDS]
    async with door(tmp_path, target(server)) as before:
        await before.refuse(ACTIVITY_POLLS)
        async with Process.running(tmp_path, queue, before.address, "aviary", "worker") as process:
            await process.says("/readyz", 503, *named)
            await process.says("/healthz", 200)
            answer = await process.ask("/readyz")
            assert answer is not None
            assert "(workflows)" not in str(answer.body), "those are polled"
            await before.admit(ACTIVITY_POLLS)
            await process.says("/readyz", 200)


@pytest.mark.parametrize("what", [ACTIVITY_POLLS, ALL])
async def test_a_worker_that_is_refused_ends_when_told_to(
    server: WorkflowEnvironment, tmp_path: Path, queue: str, what: str
) -> None:
    async with (
        door(tmp_path, target(server)) as before,
        Process.running(tmp_path, queue, before.address, "aviary", "worker") as process,
    ):
        await process.says("/readyz", 200)
        async with attended(server, queue):
            await before.refuse(what)
            if what == ALL:
                await process.says("/readyz", 503, "PERMISSION_DENIED")
            process.process.terminate()
            assert await process.ended() in {0, 1}
    assert "Fatal Python error" not in process.log
