"""The worker: runs the workflows and activities until it is told to stop."""

from __future__ import annotations

import asyncio

import structlog

from aviary.connect import connect_temporal
from aviary.queues import build_workers
from aviary.settings import Settings
from aviary.wiring import wire

_log = structlog.get_logger("aviary.worker")


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then finish what runs and hand back the rest.

    Raises:
        Retryable: Temporal or Kafka could not be reached.
    """
    client = await connect_temporal(settings)
    async with wire(settings) as deeds:
        workers = build_workers(client, settings, deeds)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        stopping = asyncio.create_task(stop.wait())
        _log.info("working", task_queue=settings.task_queue, temporal=settings.temporal_address)
        try:
            await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await asyncio.gather(*(worker.shutdown() for worker in workers))
            await asyncio.gather(*running)
        _log.info("stopped")
