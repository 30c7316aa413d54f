"""The worker: runs the workflows and activities until it is told to stop."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from temporalio.client import Client
from temporalio.runtime import Runtime

from adapters.errors import Retryable
from aviary.connect import check_temporal, connect_temporal, persist, unless
from aviary.http import add_health, listen, make_app, serve
from aviary.queues import build_workers
from aviary.schedules import keep_drift_schedule
from aviary.settings import Settings
from aviary.telemetry.census import Census
from aviary.telemetry.registry import new_registry
from aviary.telemetry.temporal_metrics import measured_runtime
from aviary.telemetry.workflow import TraceInterceptor
from aviary.wiring import wire

_log = structlog.get_logger("aviary.worker")


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set; health and metrics are on `metrics_host`:`metrics_port`.

    Temporal may come later than the worker: it waits, and says so.

    Raises:
        OSError: the address for health and metrics is taken.
    """
    client: Client | None = None

    async def ready() -> None:
        if client is None:
            raise Retryable(f"Temporal at {settings.temporal_address}: not connected yet")
        await check_temporal(client)

    registry = new_registry("worker")
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    health = add_health(make_app("Aviary worker", docs=settings.http_docs), ready, registry)
    taken = listen(settings.metrics_host, settings.metrics_port)
    over = asyncio.Event()
    serving = asyncio.create_task(serve(health, taken, over, name="worker"))
    try:
        async with measured_runtime(registry) as runtime:
            client = await unless(stop, persist("temporal", lambda: _connect(settings, runtime)))
            if client is not None:
                await work(client, settings, stop, registry)
    finally:
        over.set()
        await serving


async def run_bare_worker(
    settings: Settings, stop: asyncio.Event, registry: CollectorRegistry | None = None
) -> None:
    """Work until `stop` is set, in a process whose health another part answers for.

    Metrics are in `registry`, which that part shows.
    """
    registry = registry or CollectorRegistry()
    async with measured_runtime(registry) as runtime:
        client = await unless(stop, persist("temporal", lambda: _connect(settings, runtime)))
        if client is not None:
            await work(client, settings, stop, registry)


async def _connect(settings: Settings, runtime: Runtime) -> Client:
    return await connect_temporal(settings, [TraceInterceptor()], runtime)


async def work(
    client: Client, settings: Settings, stop: asyncio.Event, registry: CollectorRegistry
) -> None:
    """Work until `stop` is set, then finish what runs and hand back the rest.

    Raises:
        Retryable: Kafka could not be reached.
    """
    async with wire(settings, client, registry) as deeds:
        workers = build_workers(client, settings, deeds)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        stopping = asyncio.create_task(stop.wait())
        scheduling = asyncio.create_task(keep_drift_schedule(client, settings))
        counting = asyncio.create_task(Census(client, registry).run())
        _log.info("working", task_queue=settings.task_queue, temporal=settings.temporal_address)
        try:
            await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            scheduling.cancel()
            counting.cancel()
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)
            await asyncio.wait({scheduling, counting})
        _log.info("stopped")
