"""The exporter on a broker: all that is kept, then what comes, and nothing while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from adapters.kafka import Outgoing
from aviary.local.ports import FreePorts
from aviary.numbers.run import run_exporter
from aviary.settings import Settings
from schemas import ids
from schemas.events import CloudEvent
from schemas.phases import CanaryPhase, ReleasePhase
from tests.contract.kafka.parts import Broker, until
from tests.unit.numbers.telling import BEGAN, Telling


class Scraped:
    """An exporter that runs, as whoever scrapes it sees it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def ready(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{self._url}/readyz")).is_success
            except httpx.TransportError:
                return False

    async def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Values of a metric by those of its labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self._url}/metrics")).text
        return {
            tuple(one.labels.values()): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if one.name == name
        }


@asynccontextmanager
async def exporting(broker: Broker) -> AsyncIterator[Scraped]:
    port = FreePorts().take()
    options = broker.options
    settings = Settings(
        kafka_bootstrap=options.bootstrap,
        kafka_idempotent=False,
        topic_partitions=options.partitions,
        metrics_host="127.0.0.1",
        metrics_port=port,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(run_exporter(settings, stop))
    scraped = Scraped(port)
    try:
        await until(scraped.ready, "the exporter is ready")
        yield scraped
    finally:
        stop.set()
        await running


def records(events: Sequence[CloudEvent]) -> list[Outgoing]:
    return [Outgoing(ids.TOPIC_EVENTS, one.wire(), one.partitionkey.encode()) for one in events]


def running(release: str, service: str) -> Telling:
    """A release of this moment."""
    now = (datetime.now(UTC) - BEGAN).total_seconds()
    one = Telling(release, now, services={service: "2"}).at(ReleasePhase.RUNNING)
    return one.canary(CanaryPhase.BAKING, 5, service)


async def test_it_shows_all_that_is_kept_and_goes_on_with_what_comes(broker: Broker) -> None:
    releases = [running(f"r{n}", f"s{n}") for n in range(6)]  # on several partitions
    async with exporting(broker) as empty:
        assert await empty.values("aviary_canary_weight_percent") == {}
    await broker.write(*records([event for one in releases for event in one.events]))
    async with exporting(broker) as exporter:
        weights = {("production", f"s{n}"): 5.0 for n in range(6)}

        async def shows_all() -> bool:
            return await exporter.values("aviary_canary_weight_percent") == weights

        await until(shows_all, "all that was kept is shown")
        first = releases[0]
        first.wait(30).canary(CanaryPhase.GATED, 5, "s0").wait(7).canary(
            CanaryPhase.BAKING, 40, "s0"
        )
        await broker.write(Outgoing(ids.TOPIC_EVENTS, b"junk"), *records(first.events[-2:]))
        weights["production", "s0"] = 40.0
        await until(shows_all, "what came is shown")
        spent = await exporter.values("aviary_phase_seconds_sum")
        assert (spent["gated", "people"], spent["baking", "work"]) == (7.0, 30.0)

        async def says_so() -> bool:
            return await exporter.values("aviary_ready") == {("exporter",): 1.0}

        await until(says_so, "it says that it is ready")


async def test_while_kafka_is_away_no_canary_is_shown(broker: Broker) -> None:
    one = running("r1", "checkout")
    await broker.write(*records(one.events))
    async with exporting(broker) as exporter:

        async def shows(count: int) -> bool:
            return len(await exporter.values("aviary_canary_weight_percent")) == count

        async def is_away() -> bool:
            return not await exporter.ready() and await shows(0)

        await until(lambda: shows(1), "it is shown")
        broker.kill()
        await until(is_away, "it is not known any more")
        await broker.start()
        await until(lambda: shows(1), "it is shown again")
