"""Several builds of one deployment, each with its workers in processes of their own."""

from __future__ import annotations

import asyncio
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from aviary.builds.server import Deployment, Routing
from schemas import ids
from tests.builds.process import METRICS, Order
from tests.workflows.conftest import TEMPORAL
from tests.workflows.kit import PATIENCE_S, Release, World

ROOT = Path(__file__).parents[2]
_BUSY = {
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNAVAILABLE,
}
"""What a server answers that has no time."""
_BEGINS_WITHIN_S = 5 * PATIENCE_S
"""For a new process to have its modules: on a busy machine that alone takes minutes."""
_LINES = 20
"""Of a worker's log, told of a test that failed."""
GATED = {"steps": [{"weight": 10, "gate": "is the dashboard green?"}], "bake": "100ms"}


class Process:
    """A worker that runs."""

    def __init__(self, order: Order) -> None:
        self.folder = order.folder
        self.folder.mkdir()
        log = (self.folder / "worker.log").open("wb")
        command = [sys.executable, "-m", "tests.builds.process", order.model_dump_json()]
        with log:
            self.popen = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        """As a machine that is lost."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """As it is told to."""
        self.popen.terminate()
        return self.popen.wait(timeout=30)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    @property
    def begun(self) -> bool:
        """Whether its worker works, or it has ended."""
        return (self.folder / METRICS).exists() or self.popen.poll() is not None

    def told(self) -> str:
        """How it is and what it logged last, for a test that failed."""
        code = self.popen.poll()
        state = "runs" if code is None else f"ended with {code}"
        return "\n".join([f"{self.folder.name} {state}:", *self.log().splitlines()[-_LINES:]])

    def sent_back(self) -> str:
        """The lines about workflows that it sent back."""
        return "\n".join(line for line in self.log().splitlines() if "sent_back" in line)

    def metric(self, sample: str) -> float | None:
        """A sample, as `name{labels}` begins; None when it is not told."""
        path = self.folder / METRICS
        text = path.read_text() if path.exists() else ""
        found = re.search(rf"^{re.escape(sample)}.* (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else None


class Builds:
    """A deployment of this test alone."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.world = World(client)
        self.name = self.world.queue
        self.deployment = Deployment(client, self.name)
        self._folder = folder
        self._processes: list[Process] = []

    def start(self, build: str, **order: Any) -> Process:
        """A worker of a build, in a process of its own."""
        process = Process(
            Order(
                address=self.client.service_client.config.target_host,
                queue=self.name,
                build=build,
                folder=self._folder / f"{build}-{len(self._processes)}",
                routes=self._folder / "routes",
                **order,
            )
        )
        self._processes.append(process)
        return process

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()

    async def until_current(self, build: str) -> None:
        """Wait until new releases begin on a build."""
        await self.until(lambda routing: routing.current == build)

    async def until(self, so: Callable[[Routing], bool]) -> None:
        """Wait until the deployment is so, with all workers that were started.

        Raises:
            AssertionError: it is not so in time; says what was seen of it, and the workers' logs.
        """
        seen: list[str] = []
        ends = time.monotonic() + _BEGINS_WITHIN_S
        while not all(one.begun for one in self._processes):
            await self._rest(ends, "a worker has not begun yet")
        ends = time.monotonic() + PATIENCE_S
        while not await self._is(so, seen):
            await self._rest(ends, "not so in time; what was seen, in order:", *seen)

    async def _rest(self, ends: float, *told: str) -> None:
        """Wait a little; Temporal answers only a few questions a second."""
        if time.monotonic() > ends:
            raise AssertionError("\n".join([*told, *(one.told() for one in self._processes)]))
        await asyncio.sleep(0.5)

    async def _is(self, so: Callable[[Routing], bool], seen: list[str]) -> bool:
        """Whether it is so by now; adds what was seen, where that is news."""
        try:
            routing = await self.deployment.routing()
        except RPCError as error:
            if error.status not in _BUSY:
                raise
            text, met = f"{error.status.name}: {error.message}", False
        else:
            text, met = str(routing), so(routing)
        if not seen or not seen[-1].endswith(text):
            seen.append(f"{datetime.now(UTC):%H:%M:%S} {text}")
        return met

    def temporal(self, *words: str) -> str:
        """What a person types, as the documentation has it."""
        address = ("--address", self.client.service_client.config.target_host)
        argv = [str(TEMPORAL), *words, *address]
        ends = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                return done.stdout
            # As a person would: the server has no time for this workflow just now.
            assert "Workflow is busy" in done.stderr, done.stderr
            assert time.monotonic() < ends, done.stderr

    def route(self, service: str) -> tuple[str, str | None, float]:
        """Stable, canary and weight of a service, as the router has it."""
        state = pickle.loads((self._folder / "routes").read_bytes())
        route = state["_routes"][self.world.service(service)]
        return route.stable, route.canary, route.weight

    async def build_of(self, handle: WorkflowHandle[Any, Any]) -> str:
        """The build whose worker did the last task of a workflow."""
        described = await handle.describe()
        info = described.raw_description.workflow_execution_info.versioning_info
        return info.deployment_version.build_id

    async def builds_of(self, release: Release, *services: str) -> set[str]:
        """The builds of a release and of canaries of it."""
        handles = [release.handle, *(release.canary(one) for one in services)]
        return {await self.build_of(one) for one in handles}

    async def failed_tasks(self, release: Release, *services: str) -> int:
        """How many workflow tasks failed: where a history does not replay, each does."""
        handles = [release.handle, *(release.canary(one) for one in services)]
        histories = [await one.fetch_history() for one in handles]
        events = [event for history in histories for event in history.events]
        return sum(event.HasField("workflow_task_failed_event_attributes") for event in events)


async def approve(release: Release, *services: str) -> None:
    """Open the gates of services."""
    for service in services:
        await release.until(**{service: "gated"})
        await release.canary(service).signal(ids.SIGNAL_APPROVE)
