"""The floor's process: what Aviary does, without Aviary. `python -m bench.bare` with a JSON order.

One consumer signals the workflow that a record names; one worker, without a sandbox, runs workflows
that do one activity each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE: Final = "bare"
TASK_TIMEOUT: Final = timedelta(seconds=2)
_ATTEMPT: Final = timedelta(seconds=5)


@activity.defn(name="bare.rename")
async def rename(order: list[str]) -> None:
    """Rename a file to another; an empty order does nothing."""
    if order:
        source, target = order
        Path(source).rename(target)  # noqa: ASYNC240 - a thread would be no floor


@workflow.defn(name="bare.once")
class Once:
    """Waits for a signal, then does one activity."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def go(self) -> None:
        """Do it."""
        self._told = True

    @workflow.run
    async def run(self, order: list[str]) -> None:
        """Rename once told so."""
        await workflow.wait_condition(lambda: self._told)
        await workflow.execute_activity(rename, order, start_to_close_timeout=_ATTEMPT)


@workflow.defn(name="bare.hop")
class Hop:
    """Waits for a signal, does one activity, and tells its parent."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def go(self) -> None:
        """Do it."""
        self._told = True

    @workflow.run
    async def run(self) -> None:
        """Do nothing, once told so, and say that it is done."""
        await workflow.wait_condition(lambda: self._told)
        await workflow.execute_activity(rename, [], start_to_close_timeout=_ATTEMPT)
        parent = workflow.info().parent
        if parent is not None:
            await workflow.get_external_workflow_handle(parent.workflow_id).signal("done")


@workflow.defn(name="bare.hops")
class Hops:
    """Has children do their hops: those of one level at once, level after level."""

    def __init__(self) -> None:
        self._told = False
        self._done = 0
        self._ready = False

    @workflow.signal
    def go(self) -> None:
        """Begin."""
        self._told = True

    @workflow.signal
    def done(self) -> None:
        """One child has done its hop."""
        self._done += 1

    @workflow.query
    def ready(self) -> bool:
        """Whether all children wait."""
        return self._ready

    @workflow.run
    async def run(self, levels: list[int]) -> None:
        """Start all children, wait for `go`, and have them do it."""
        children = [
            [await workflow.start_child_workflow(Hop.run) for _ in range(width)] for width in levels
        ]
        self._ready = True
        await workflow.wait_condition(lambda: self._told)
        wanted = 0
        for level in children:
            wanted += len(level)
            await asyncio.gather(*(child.signal(Hop.go) for child in level))
            await workflow.wait_condition(lambda wanted=wanted: self._done >= wanted)  # type: ignore[misc]


@workflow.defn(name="bare.steps")
class Steps:
    """Does two activities for each step: what a step of a canary can't do without."""

    @workflow.run
    async def run(self, steps: int) -> None:
        """Do them one after the other."""
        for _ in range(2 * steps):
            await workflow.execute_activity(rename, [], start_to_close_timeout=_ATTEMPT)


def worker(client: Client) -> Worker:
    """The floor's worker."""
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Once, Hop, Hops, Steps],
        activities=[rename],
        workflow_runner=UnsandboxedWorkflowRunner(),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )


async def consume(client: Client, bootstrap: str, topic: str) -> None:
    """Signal the workflow that each record names, for ever."""
    consumer: Any = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="latest", fetch_max_wait_ms=100
    )
    await consumer.start()
    print("ready", flush=True)
    try:
        async for record in consumer:
            await client.get_workflow_handle(record.value.decode()).signal("go")
    finally:
        await consumer.stop()


async def _run(order: dict[str, str]) -> None:
    client = await Client.connect(order["temporal"], namespace=order["namespace"])
    async with worker(client):
        consuming = asyncio.create_task(consume(client, order["kafka"], order["topic"]))
        ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait({consuming, ending}, return_when=asyncio.FIRST_COMPLETED)
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming


if __name__ == "__main__":
    asyncio.run(_run(json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)
