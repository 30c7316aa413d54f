"""The bridge as a process: connects, consumes, and answers for its health."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from adapters.errors import AdapterError, Retryable
from adapters.kafka import (
    DEADLETTER_MAX_BYTES,
    TOPICS,
    Sender,
    close,
    ensure_topics,
    make_raw_consumer,
)
from adapters.kafka_limits import compacted, largest_record
from aviary.attributes import ensure_attributes
from aviary.bridge.accept import Acceptor
from aviary.bridge.consume import Consumption
from aviary.bridge.metrics import BridgeMetrics
from aviary.bridge.partition_processor import CAP_BACKOFF_S
from aviary.bridge.temporal import TemporalGateway
from aviary.bridge.threads import SWITCH_S
from aviary.builds.identity import named_build
from aviary.catalog_watch import CatalogWatch
from aviary.connect import (
    check_temporal,
    connect_temporal,
    kafka_options,
    retry_until_available,
    unless,
)
from aviary.connections import read_connections
from aviary.http import Ready, add_health, listen, make_app, serve
from aviary.settings import Settings
from aviary.telemetry.readiness import told
from aviary.telemetry.registry import Several, new_registry
from schemas import ids
from schemas.release import Tuning

_TOPICS: Final = (ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS)
_AT_ONCE: Final = {ids.TOPIC_ALERTS: 500}
"""Records done together: alerts, so that a storm becomes few signals; each release by itself."""
_log = structlog.get_logger("aviary.bridge")


class _Bridge:
    """The parts of a running bridge, as far as they are there."""

    def __init__(self, settings: Settings) -> None:
        """Read the catalog; connects to nothing yet."""
        self.registry = new_registry("bridge")
        self._settings = settings
        self._options = kafka_options(settings)
        self._catalog = CatalogWatch(settings.catalog, self.registry, read_connections(settings))
        self._metrics = BridgeMetrics(self.registry)
        self._client: Client | None = None
        self._consumption: Consumption | None = None
        self._sender: Sender | None = None
        self._acceptor: Acceptor | None = None

    async def ready(self) -> None:
        """Raise `Retryable` with the reason while records are not being done."""
        if self._client is None:
            raise Retryable(f"Temporal at {self._settings.temporal_address}: not connected yet")
        if self._consumption is None or self._sender is None:
            raise Retryable(f"Kafka at {self._settings.kafka_bootstrap}: not connected yet")
        await check_temporal(self._client)
        await self._sender.check()
        self._consumption.check()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, however long that takes, and consume until `stop`."""
        try:
            acceptor = await unless(stop, self._connect())
            while acceptor is not None and not stop.is_set():
                await self._consume(acceptor, stop)
        finally:
            if self._acceptor is not None:
                self._acceptor.close()
            if self._sender is not None:
                await self._sender.close()

    async def _connect(self) -> Acceptor:
        self._client = await retry_until_available(
            "temporal", lambda: connect_temporal(self._settings)
        )
        created = await retry_until_available("topics", lambda: ensure_topics(self._options))
        if created:
            _log.info("topics_created", topics=created)
        most = await self._dead_letter_most()
        await self._tell_compacted()
        self._sender = Sender(self._options)
        self._sender.start()
        client = self._client
        known = await retry_until_available("search attributes", lambda: ensure_attributes(client))
        self._acceptor = Acceptor(
            TemporalGateway(
                client,
                self._settings.main_queue,
                self._tuning(known=known),
                self._settings.in_cell,
            ),
            self._sender,
            self._catalog.newest,
            self._metrics,
            max_age_s=self._settings.deploy_max_age_s,
            dead_letter_most=most,
        )
        return self._acceptor

    async def _dead_letter_most(self) -> int:
        """Bytes that a dead letter may have: what its topic takes, where Kafka says it."""
        topic, expected = ids.TOPIC_DEADLETTERS, DEADLETTER_MAX_BYTES
        try:
            most = await largest_record(self._options, topic)
        except AdapterError as error:
            _log.warning("dead_letter_size_unknown", topic=topic, error=str(error))
            return expected
        if most < expected:
            _log.error(
                "dead_letter_topic_too_small",
                topic=topic,
                max_message_bytes=most,
                expected=expected,
                means="larger dead letters are kept cut; set max.message.bytes of the topic",
            )
        return most

    async def _tell_compacted(self) -> None:
        """Say it where a topic of ours keeps only the last record of each key."""
        try:
            found = await compacted(self._options, TOPICS)
        except AdapterError as error:
            _log.warning("cleanup_policy_unknown", error=str(error))
            return
        for topic in found:
            _log.error(
                "topic_is_compacted",
                topic=topic,
                expected="cleanup.policy=delete",
                means="a record replaces those before it with the same key, read or not",
            )

    async def _consume(self, acceptor: Acceptor, stop: asyncio.Event) -> None:
        """Consume until `stop`, or until the consumer is of no more use."""
        consumer = await unless(stop, retry_until_available("kafka", self._consumer))
        if consumer is None:
            return
        self._consumption = Consumption(
            consumer,
            _TOPICS,
            acceptor.accept,
            self._metrics,
            give_up=acceptor.give_up,
            most=_AT_ONCE,
        )
        try:
            await self._consumption.run(stop)
        except Exception:  # noqa: BLE001 - whatever the client library ran into, another goes on
            _log.exception("consumer_replaced")
            self._consumption = None
            await unless(stop, asyncio.sleep(CAP_BACKOFF_S))

    def _tuning(self, *, known: bool) -> Tuning:
        return Tuning(search_attributes=known)

    async def _consumer(self) -> Any:
        consumer = make_raw_consumer(self._options, self._settings.kafka_group)
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await close(consumer)
            raise Retryable(f"consumer: {type(error).__name__}: {error}") from error
        except BaseException:
            await close(consumer)
            raise
        return consumer


def all_of(*ready: Ready) -> Ready:
    """Readiness of a process that has several parts: the first that is not ready says why."""

    async def asked() -> None:
        for each in ready:
            await each()

    return asked


@dataclass(frozen=True)
class Beside:
    """A worker in the same process, whose health and metrics are shown with the bridge's."""

    registry: CollectorRegistry
    ready: Ready
    alive: Ready


async def run_bridge(settings: Settings, stop: asyncio.Event, beside: Beside | None = None) -> None:
    """Run a bridge until `stop` is set.

    It waits for Temporal and Kafka at start and whenever they are away. Health and metrics are on
    `metrics_host`:`metrics_port`, with those of the worker `beside` it.

    Raises:
        CatalogError: the catalog is not valid at start.
        Terminal: a topic is missing and may not be created.
        OSError: the address for health and metrics is taken.
    """
    # Python's own 5 ms would add up on an alert's way while a large deploy event is read.
    sys.setswitchinterval(SWITCH_S)
    bridge = _Bridge(settings)
    app = make_app("Aviary bridge", docs=settings.http_docs)
    build = named_build(settings)
    if beside is None:
        health = add_health(app, bridge.ready, Several((bridge.registry,)), build=build)
    else:
        ready, metrics = (
            all_of(beside.ready, bridge.ready),
            Several((bridge.registry, beside.registry)),
        )
        health = add_health(app, ready, metrics, build=build, alive=beside.alive)
    taken = listen(settings.metrics_host, settings.metrics_port)
    over = asyncio.Event()
    serving = asyncio.create_task(serve(health, taken, over, name="bridge"))
    try:
        async with told(bridge.ready, bridge.registry, "bridge"):
            await bridge.run(stop)
    finally:
        over.set()
        await serving
