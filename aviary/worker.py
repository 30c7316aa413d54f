"""The worker: runs the workflows and activities until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from adapters.errors import Retryable, Terminal
from aviary.background import again_and_again
from aviary.builds.identity import named_build, version_of
from aviary.builds.keeper import keeper_of
from aviary.builds.server import Deployment
from aviary.connect import check_temporal, connect_temporal, retry_until_available, unless
from aviary.http import add_health, listen, make_app, serve
from aviary.polling import Polling, polled_queues, sample
from aviary.queues import WorkerOptions, build_workers
from aviary.schedules import keep_drift_schedule
from aviary.settings import BUILD_AUTO, BUILD_OFF, Settings
from aviary.team import STOPS_WITHIN_S, Team
from aviary.telemetry.census import Census
from aviary.telemetry.readiness import told
from aviary.telemetry.registry import new_registry
from aviary.telemetry.temporal_metrics import measured_runtime
from aviary.telemetry.workflow import TraceInterceptor
from aviary.wiring import wire

_log = structlog.get_logger("aviary.worker")


class Standing:
    """Where a worker stands, for the health of its process."""

    def __init__(self, settings: Settings) -> None:
        """Not connected yet."""
        self._settings = settings
        self._client: Client | None = None
        self._polling: Polling | None = None
        self._over = ""

    def works(self, client: Client, polling: Polling) -> None:
        """It has begun."""
        self._client, self._polling = client, polling

    def failed(self, why: str) -> None:
        """It has ended for good, and its process has to."""
        self._over = why

    async def ready(self) -> None:
        """Raise `Retryable` with the reason while it does not work."""
        await self.alive()
        if self._client is None or self._polling is None:
            raise Retryable(f"Temporal at {self._settings.temporal_address}: not connected yet")
        await check_temporal(self._client)
        self._polling.check()

    async def alive(self) -> None:
        """Raise `Retryable` with the reason when only another process can work."""
        if self._over:
            raise Retryable(self._over)


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set; health and metrics are on `metrics_host`:`metrics_port`.

    Temporal may come later than the worker: it waits, and says so.

    Raises:
        OSError: the address for health and metrics is taken.
        Retryable: a queue could not be polled any more.
    """
    standing = Standing(settings)
    registry = new_registry("worker")
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    app = make_app("Aviary worker", docs=settings.http_docs)
    build = named_build(settings)
    health = add_health(app, standing.ready, registry, build=build, alive=standing.alive)
    taken = listen(settings.metrics_host, settings.metrics_port)
    over = asyncio.Event()
    serving = asyncio.create_task(serve(health, taken, over, name="worker"))
    try:
        await run_bare_worker(settings, stop, registry, standing)
    finally:
        over.set()
        await serving


async def run_bare_worker(
    settings: Settings,
    stop: asyncio.Event,
    registry: CollectorRegistry | None = None,
    standing: Standing | None = None,
) -> None:
    """Work until `stop` is set, in a process whose health another part answers for.

    Metrics are in `registry`, which that part shows; it asks `standing` how the worker is.

    Raises:
        Retryable: a queue could not be polled any more.
    """
    registry = registry or CollectorRegistry()
    standing = standing or Standing(settings)
    async with (
        measured_runtime(registry) as (runtime, metrics),
        told(standing.ready, registry, "worker"),
    ):
        client = await unless(
            stop, retry_until_available("temporal", lambda: _connect(settings, runtime))
        )
        if client is None:
            return
        watched = polled_queues(settings.main_queue)
        polling = Polling(watched, lambda polled: sample(metrics, polled), registry=registry)
        standing.works(client, polling)
        await work(client, settings, stop, registry, Watch(polling, standing))


async def build_of(client: Client, settings: Settings) -> WorkerDeploymentVersion | None:
    """The build of this process; None where it takes no part in worker versioning.

    Raises:
        Retryable: Temporal could not be asked.
        Terminal: a build is set, and Temporal has no worker versioning.
    """
    version = version_of(settings)
    if version is None:
        return None
    try:
        lacking = await Deployment(client, version.deployment_name).supported()
    except RPCError as error:
        raise Retryable(f"Temporal: {error.status.name}: {error.message}") from error
    if not lacking:
        return version
    if settings.build_id != BUILD_AUTO:
        raise Terminal(f"AVIARY_BUILD_ID: {settings.build_id}: no worker versioning: {lacking}")
    _log.warning("no_worker_versioning", reason=lacking)
    return None


async def _connect(settings: Settings, runtime: Runtime) -> Client:
    return await connect_temporal(settings, [TraceInterceptor()], runtime)


@dataclass(frozen=True)
class Watch:
    """What sees to it that the queues are polled, and who is told when they are not."""

    polling: Polling
    standing: Standing


async def work(
    client: Client,
    settings: Settings,
    stop: asyncio.Event,
    registry: CollectorRegistry,
    watch: Watch | None = None,
) -> None:
    """Work until `stop` is set, then finish what runs and hand back the rest.

    Raises:
        Retryable: Kafka could not be reached; or a queue could not be polled any more, so that
            only another process can.
    """
    asked = retry_until_available("temporal", lambda: build_of(client, settings))
    version = await unless(stop, asked)
    async with wire(settings, client, registry) as activities:
        team = Team()
        options = WorkerOptions(on_fatal=team.failed, version=version)
        team.start(build_workers(client, settings, activities, options))
        stopping = asyncio.create_task(stop.wait())
        ending = {asyncio.create_task(team.failure())}
        if watch is not None:
            watching = watch.polling.run(lambda: check_temporal(client))
            ending.add(asyncio.create_task(watching))
        beside = _beside(client, settings, version, registry)
        build = version.build_id if version else BUILD_OFF
        address = settings.temporal_address
        _log.info("working", task_queue=settings.main_queue, temporal=address, build=build)
        failure = ""
        try:
            failure = await _until_over(stopping, ending)
            if failure and watch is not None:
                watch.standing.failed(failure)
        finally:
            for task in (stopping, *ending, *beside):
                task.cancel()
            ended = await team.stop()
            await asyncio.wait(ending | beside)
        if not ended:
            _log.warning("left_running", after_s=STOPS_WITHIN_S)
        if failure:
            raise Retryable(f"Temporal: {failure}")
        _log.info("stopped")


def _beside(
    client: Client,
    settings: Settings,
    version: WorkerDeploymentVersion | None,
    registry: CollectorRegistry,
) -> set[asyncio.Task[None]]:
    """Begin what a worker does beside its queues."""
    works: dict[str, Callable[[], Awaitable[None]]] = {
        "drift schedule": lambda: keep_drift_schedule(client, settings),
        "census": Census(client, registry, cell=settings.in_cell).run,
    }
    if version is not None:
        works["builds"] = keeper_of(client, settings, version, registry).run
    return {
        asyncio.create_task(again_and_again(name, work), name=name) for name, work in works.items()
    }


async def _until_over(stopping: asyncio.Task[Any], ending: set[asyncio.Task[str]]) -> str:
    """Wait until it is told to stop, or can't go on; return why not."""
    await asyncio.wait({stopping, *ending}, return_when=asyncio.FIRST_COMPLETED)
    failure = next((task.result() for task in ending if task.done()), "")
    if failure:
        _log.error("worker_failed", error=failure)
    return failure
