"""From Kafka to Temporal: deploy events into releases, alerts into signals (item 4).

No worker runs: what is started only waits, so that the ingestion alone is measured.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError

from aviary.local.parts import KAFKA_PARTITIONS
from aviary.local.pipeline import deploy_event
from bench import testbed
from bench.bare import TASK_TIMEOUT
from bench.figures import Figure, Goal, Spec
from bench.restoring import alert, payload
from bench.testbed import BARE_TOPIC, Testbed
from schemas import ids
from schemas.alert import Alert
from schemas.deploy import DeployRequested
from schemas.events import STRUCTURED_CONTENT_TYPE
from schemas.release import ReleaseInput
from tests.contract.kafka.parts import open_canary
from workflows.planning import plan_release

DEPLOYS: Final = Spec(
    "deploy events → started releases",
    "1/s",
    "start_workflow, three at a time, with the same input",
    Goal(ratio_at_least=0.9),
)
BACKLOG: Final = Spec(
    "alerts about 20 services → canaries", "1/s", "produce and consume the same records"
)
ORDER: Final = Spec("alerts out of order", "alerts", goal=Goal(median_at_most=0))
STORM: Final = Spec(
    "alert storm on one service → canary", "1/s", "produce and consume the same records"
)
SIGNALS: Final = Spec("signals of an alert storm", "signals")
SPECS: Final = (DEPLOYS, BACKLOG, ORDER, STORM, SIGNALS)
NOBODY: Final = "nobody"
"""A task queue without a worker."""
SERVICES: Final = 20
QUICK: Final = (150, 5, 1_000, 2)
"""Deploy events of a batch and batches; alerts of a batch and batches."""
LONG: Final = (1_000, 10, 10_000, 3)
_GROUP: Final = "bench-ingestion"
_WITHIN_S: Final = 300.0
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
_KINDS: Final[dict[str, Any]] = {ids.SIGNAL_ALERT: Alert, ids.SIGNAL_ALERTS: list[Alert]}


@dataclass
class Drained:
    """What became of a batch of alerts."""

    rate: float
    disorder: int
    signals: int


class Ingestion:
    """Feeds a bridge, and measures how fast it eats."""

    def __init__(self, here: Testbed, producer: Any) -> None:
        self._testbed = here
        self._producer = producer

    async def deploys(self, batch: str, count: int) -> float:
        """Releases started a second, of so many deploy events that wait on Kafka.

        The partitions get as many each, as the floor's parts do: by their keys one would have more,
        and be alone in the end.
        """
        partitions: dict[int, list[str]] = defaultdict(list)
        names = [f"{batch}-{number}" for number in range(count)]
        sent = []
        for number, name in enumerate(names):
            event = deploy_event(name, {"svc-0-0": "2"}, None, at=datetime.now(UTC))
            headers = [("content-type", STRUCTURED_CONTENT_TYPE.encode())]
            sent.append(
                await self._producer.send(
                    ids.TOPIC_DEPLOYS,
                    value=event,
                    key=name.encode(),
                    partition=number % KAFKA_PARTITIONS,
                    headers=headers,
                )
            )
        for name, answer in zip(names, await asyncio.gather(*sent), strict=True):
            partitions[answer.partition].append(ids.release_workflow_id(name))
        ends = [part[place] for part in partitions.values() for place in (0, -1)]
        return await self._rate(ends, count)

    async def bare(self, batch: str, count: int) -> float:
        """The same, by calls of `start_workflow` alone."""
        asked = {"release": "bare", "services": [{"service": "svc-0-0", "version": "2"}]}
        plan = plan_release(self._testbed.catalog, DeployRequested.model_validate(asked))
        told = ReleaseInput(plan=plan).model_dump(mode="json")
        names = [f"{batch}-{number}" for number in range(count)]

        async def part(number: int) -> None:
            for name in names[number::KAFKA_PARTITIONS]:
                await self._testbed.client.start_workflow(
                    "bare", told, id=name, task_queue=NOBODY, task_timeout=TASK_TIMEOUT
                )

        await asyncio.gather(*(part(number) for number in range(KAFKA_PARTITIONS)))
        shares = [names[number::KAFKA_PARTITIONS] for number in range(KAFKA_PARTITIONS)]
        return await self._rate([part[place] for part in shares for place in (0, -1)], count)

    async def _rate(self, ends: Sequence[str], count: int) -> float:
        """Starts a second, from the first and last workflow of each part, by the server's clock."""
        started = [(await self._described(name)).start_time.timestamp() for name in ends]
        return (count - 1) / (max(started) - min(started))

    async def _described(self, workflow: str) -> WorkflowExecutionDescription:
        handle = self._testbed.client.get_workflow_handle(workflow)
        async with asyncio.timeout(_WITHIN_S):
            while True:
                try:
                    return await handle.describe()
                except RPCError:  # not started yet
                    await asyncio.sleep(0.02)

    async def alerts(self, services: Sequence[str], count: int) -> Drained:
        """So many alerts in turn about these services, until all are in the canaries' histories."""
        for service in services:
            await open_canary(self._testbed.client, service)
        wanted = await self._committed() + count
        began, sent = time.time(), []
        for number in range(count):
            service = services[number % len(services)]
            value = json.dumps(payload([alert(service, f"{service}-{number:06}")])).encode()
            sent.append(
                await self._producer.send(ids.TOPIC_ALERTS, value=value, key=service.encode())
            )
        await asyncio.gather(*sent)
        async with asyncio.timeout(_WITHIN_S):
            while await self._committed() < wanted:  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(0.1)
        return await self._drained(services, count, began)

    async def _drained(self, services: Sequence[str], count: int, began: float) -> Drained:
        last, told, disorder, signals = began, 0, 0, 0
        for service in services:
            found: list[str] = []
            for event in await testbed.events(
                self._testbed.client, ids.canary_workflow_id(service)
            ):
                if event.event_type == _SIGNALED:
                    signals += 1
                    last = max(last, testbed.moment(event))
                    found += await self._fingerprints(event)
            told += len(found)
            disorder += sum(one != other for one, other in zip(found, sorted(found), strict=True))
        if told != count:
            raise RuntimeError(f"{told} alerts reached the canaries, expected {count}")
        return Drained(count / (last - began), disorder, signals)

    async def _fingerprints(self, event: Any) -> list[str]:
        signal = event.workflow_execution_signaled_event_attributes
        kind = _KINDS[signal.signal_name]
        converter = self._testbed.client.data_converter
        [told] = await converter.decode(list(signal.input.payloads), [kind])
        return [one.fingerprint for one in (told if isinstance(told, list) else [told])]

    async def _committed(self) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._testbed.bootstrap)
        await admin.start()
        try:
            places = [TopicPartition(ids.TOPIC_ALERTS, n) for n in range(KAFKA_PARTITIONS)]
            offsets = await admin.list_consumer_group_offsets(_GROUP, partitions=places)
        finally:
            await admin.close()
        return sum(max(0, item.offset) for item in offsets.values())

    async def carried(self, count: int) -> float:
        """Records a second that a bare producer and a bare consumer carry."""
        value = json.dumps(payload([alert("svc-0-0", "f")])).encode()
        consumer: Any = AIOKafkaConsumer(
            BARE_TOPIC, bootstrap_servers=self._testbed.bootstrap, auto_offset_reset="latest"
        )
        await consumer.start()
        try:
            await consumer.seek_to_end()
            began = time.time()
            sent = [await self._producer.send(BARE_TOPIC, value=value) for _ in range(count)]
            await asyncio.gather(*sent)
            seen = 0
            while seen < count:
                seen += sum(map(len, (await consumer.getmany(timeout_ms=200)).values()))
            return count / (time.time() - began)
        finally:
            await consumer.stop()


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Deploy events and bare starts in turn; then backlogs, storms and bare records in turn."""
    per_deploy, deploys, per_alert, batches = LONG if long else QUICK
    services = {f"svc-{batch}-{n}": () for batch in range(batches) for n in range(SERVICES)}
    described = testbed.catalog(
        services | {f"storm-{n}": () for n in range(batches)}, {"steps": [50]}
    )
    async with testbed.started(folder, lambda _: described) as here:
        producer: Any = AIOKafkaProducer(bootstrap_servers=here.bootstrap, acks="all")
        await producer.start()
        try:
            await here.start("bridge", AVIARY_TASK_QUEUE=NOBODY, AVIARY_KAFKA_GROUP=_GROUP)
            ingestion = Ingestion(here, producer)
            started = await _deploys(ingestion, per_deploy, deploys)
            return [started, *await _alerts(ingestion, per_alert, batches)]
        finally:
            await producer.stop()


async def _deploys(ingestion: Ingestion, count: int, batches: int) -> Figure:
    ours, floor = [], []
    await ingestion.deploys("warm", count)
    await ingestion.bare("warm-bare", count)
    for batch in range(batches):
        ours.append(await ingestion.deploys(f"batch-{batch}", count))
        floor.append(await ingestion.bare(f"bare-{batch}", count))
    return DEPLOYS.figure(ours, floor, note=f"{count:,} events a run")


async def _alerts(ingestion: Ingestion, count: int, batches: int) -> list[Figure]:
    backlogs, storms, floor = [], [], []
    for batch in range(batches):
        names = [f"svc-{batch}-{n}" for n in range(SERVICES)]
        backlogs.append(await ingestion.alerts(names, count))
        storms.append(await ingestion.alerts([f"storm-{batch}"], count))
        floor.append(await ingestion.carried(count))
    note = f"{count:,} alerts a run"
    return [
        BACKLOG.figure([one.rate for one in backlogs], floor, note=note),
        ORDER.figure([one.disorder for one in (*backlogs, *storms)]),
        STORM.figure([one.rate for one in storms], floor, note=note),
        SIGNALS.figure([one.signals for one in storms], note=note),
    ]
