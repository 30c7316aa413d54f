"""A worker of one build, in a process of its own: its keeper is the product's.

What a platform would remember, a file does, so that all builds see the same routes.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel
from temporalio import workflow
from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from aviary.builds.abandoned import Abandoned, replaying
from aviary.builds.keeper import Keeper, Own
from aviary.builds.server import Deployment
from aviary.converter import DATA_CONVERTER
from aviary.logs import configure_logs
from schemas.route import Confirmation, Route
from tests.chaos.supervisor import die_with_parent
from tests.workflows.kit import RecordingRouter, World
from workflows.guard import GuardInterceptor

HEARTBEAT_S = 1.0
METRICS = "metrics.txt"


class Order(BaseModel):
    """What such a process is told."""

    address: str
    queue: str
    build: str
    folder: Path
    """Of this process."""
    routes: Path
    other_order: bool = False
    """Whether its workflows do things in another order than the others'."""
    promotes: bool = True
    gives_up_s: float = 300.0


class OtherOrder(ClientInterceptor, Interceptor):
    """Makes another build of the same code: all that a workflow does comes after a pause.

    Given to a client, so that its workers have it.
    """

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        return _Pausing


class _Pausing(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        await workflow.sleep(timedelta(milliseconds=10))
        return await super().execute_workflow(input)


class SharedRouter(RecordingRouter):
    """A router whose routes are in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        with self._locked():
            return await super().apply(route, over)

    async def read(self, service: str) -> Route:
        if self._held:
            return await super().read(service)
        with self._locked():
            return await super().read(service)

    _held = False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._held = True
            file.seek(0)
            self.__dict__.update(pickle.loads(file.read() or pickle.dumps({})))
            try:
                yield
            finally:
                kept = {name: self.__dict__[name] for name in ("_routes", "_pools", "applied")}
                file.truncate(0)
                file.write(pickle.dumps(kept))
                file.flush()
                self._held = False


async def run(order: Order) -> None:
    """Work until SIGTERM."""
    runtime = Runtime(
        telemetry=TelemetryConfig(logging=None),
        worker_heartbeat_interval=timedelta(seconds=HEARTBEAT_S),
    )
    others = [OtherOrder()] if order.other_order else []
    client = await Client.connect(
        order.address, data_converter=DATA_CONVERTER, runtime=runtime, interceptors=others
    )
    world = World(client)
    world.queue = order.queue
    world.router = SharedRouter(order.routes)
    version = WorkerDeploymentVersion(order.queue, order.build)
    interceptors = [GuardInterceptor(), *others]
    deployment = Deployment(client, order.queue)
    registry = CollectorRegistry()
    keeper = Keeper(
        deployment,
        Own(version, client.identity, order.promotes),
        Abandoned(deployment, order.build, order.gives_up_s, replaying(client, interceptors)),
        registry,
        heartbeat_s=HEARTBEAT_S,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with world.working(version):
        keeping = asyncio.create_task(keeper.run())
        telling = asyncio.create_task(tell(registry, order.folder / METRICS))
        await stop.wait()
        for task in (keeping, telling):
            task.cancel()


async def tell(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics for ever."""
    while True:
        new = path.with_suffix(".new")
        new.write_bytes(generate_latest(registry))
        new.replace(path)
        await asyncio.sleep(0.1)


def main() -> None:
    """Be a worker."""
    die_with_parent()
    configure_logs(level="info", fmt="json")
    asyncio.run(run(Order.model_validate(json.loads(sys.argv[1]))))
    os._exit(0)  # the SDK's own threads may not end


if __name__ == "__main__":
    main()
