"""When is a part of the stack ready: one question for each kind of part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from aviary.local.http1 import fetch
from aviary.local.ports import LOOPBACK
from aviary.local.process import NotReady, Probe

_OK: Final = 200
_AGAIN_S: Final = 0.1


def http(port: int, path: str) -> Probe:
    """Answers 200 at a path."""

    async def probe() -> None:
        response = await fetch(port, path)
        if response.status != _OK:
            said = response.body[:200].decode(errors="replace")
            raise NotReady(f"GET {path} answers {response.status}: {said}")

    return probe


def listens(port: int) -> Probe:
    """Takes connections."""

    async def probe() -> None:
        await _listens(port)

    return probe


def both(one: Probe, other: Probe) -> Probe:
    """Two questions, the second once the first is answered well."""

    async def probe() -> None:
        await one()
        await other()

    return probe


async def until(probe: Probe) -> None:
    """Ask again and again until the answer is that it is ready."""
    while True:
        try:
            return await probe()
        except (NotReady, OSError):
            await asyncio.sleep(_AGAIN_S)


def kafka(port: int) -> Probe:
    """Tells a client about its cluster."""

    async def probe() -> None:
        await _listens(port)  # the client logs an error for each refused connection
        client = AIOKafkaClient(bootstrap_servers=f"{LOOPBACK}:{port}")
        try:
            await client.bootstrap()
        except KafkaError as error:
            raise NotReady(str(error)) from error
        finally:
            await client.close()

    return probe


def temporal(port: int, namespace: str) -> Probe:
    """Serves a namespace."""

    async def probe() -> None:
        await _listens(port)
        try:
            client = await Client.connect(f"{LOOPBACK}:{port}", namespace=namespace)
            await client.count_workflows()
        except (RPCError, RuntimeError) as error:
            raise NotReady(str(error)) from error

    return probe


def polled(port: int, namespace: str, queues: Sequence[str]) -> Probe:
    """Every task queue has a worker that asks Temporal for tasks."""

    async def probe() -> None:
        try:
            client = await Client.connect(f"{LOOPBACK}:{port}", namespace=namespace)
            for queue in queues:
                request = DescribeTaskQueueRequest(
                    namespace=namespace,
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=_queue_type(queue, queues),
                )
                if not (await client.workflow_service.describe_task_queue(request)).pollers:
                    raise NotReady(f"task queue {queue}: nobody asks for tasks")
        except (RPCError, RuntimeError) as error:
            raise NotReady(str(error)) from error

    return probe


def _queue_type(queue: str, queues: Sequence[str]) -> TaskQueueType.ValueType:
    """The first queue is that of workflows, the others are of activities."""
    if queue == queues[0]:
        return TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    return TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def unhealthy_pools(admin_port: int, pools: set[str]) -> set[str]:
    """Those of the pools that Envoy does not know, or has no healthy instance of.

    Raises:
        OSError: Envoy's admin port does not answer.
    """
    response = await fetch(admin_port, "/clusters?format=json")
    statuses = json.loads(response.body).get("cluster_statuses", [])
    healthy = {
        status["name"]
        for status in statuses
        if any(_is_healthy(host["health_status"]) for host in status.get("host_statuses", []))
    }
    return pools - healthy


def _is_healthy(status: dict[str, object]) -> bool:
    failing = ("failed_active_health_check", "failed_outlier_check", "pending_active_hc")
    return not any(status.get(flag) for flag in failing)


async def _listens(port: int) -> None:
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.close()
