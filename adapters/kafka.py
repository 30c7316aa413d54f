"""Kafka: how Aviary connects, which topics it needs, and how it writes.

Every write is `acks=all` and is done only when Kafka has said so. All timeouts are explicit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from adapters.backoff import doubling
from adapters.errors import AdapterError, Retryable, Terminal
from adapters.kafka_options import KafkaOptions as KafkaOptions  # noqa: PLC0414 - public here
from adapters.kafka_reading import RawConsumer
from schemas import ids
from schemas.events import STRUCTURED_CONTENT_TYPE, CloudEvent

TOPICS: Final = (ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS, ids.TOPIC_EVENTS, ids.TOPIC_DEADLETTERS)
DEADLETTER_MAX_BYTES: Final = 4 * 1024 * 1024
"""What `aviary.deadletters` must take in one record, and the most that is ever written."""
_FETCH_MOST: Final = 16 * 1024 * 1024
# A consumer that waits for Temporal is alive: the group must not take its partitions away for it.
_NEVER_IDLE_MS: Final = 2**31 - 1
_REBALANCE_MS: Final = 10_000
_CLOSE_S: Final = 5.0

_TERMINAL: Final = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
)
_log = structlog.get_logger("aviary.kafka")

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Outgoing:
    """One record to write."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=tuple)


def make_producer(options: KafkaOptions) -> Any:
    """Return a producer, not started; needs a running event loop."""
    return AIOKafkaProducer(
        **options.client_arguments(),
        client_id="aviary",
        acks="all",
        enable_idempotence=options.idempotent,
        request_timeout_ms=round(options.request_timeout_s * 1000),
        retry_backoff_ms=100,
        max_request_size=DEADLETTER_MAX_BYTES,
        metadata_max_age_ms=30_000,
        linger_ms=0,
    )


def make_consumer(options: KafkaOptions, group: str | None) -> Any:
    """Return a consumer, not started and not subscribed, that commits only when told to.

    Args:
        options: how to reach Kafka.
        group: the consumer group; None to read all partitions by oneself.
    """
    return AIOKafkaConsumer(**_consuming(options, group))


def make_raw_consumer(options: KafkaOptions, group: str) -> RawConsumer:
    """Return a consumer like that of `make_consumer`, that hands out batches unread."""
    return RawConsumer(**_consuming(options, group))


def _consuming(options: KafkaOptions, group: str | None) -> dict[str, Any]:
    return {
        **options.client_arguments(),
        "client_id": "aviary-bridge",
        "group_id": group,
        "enable_auto_commit": False,
        # A group without offsets begins with everything that is kept: nothing is passed over.
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        # Joining the group is one request that lasts as long as a rebalance may.
        "request_timeout_ms": max(_REBALANCE_MS + 5_000, round(options.request_timeout_s * 1000)),
        "retry_backoff_ms": 100,
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 1_000,
        "rebalance_timeout_ms": _REBALANCE_MS,
        "max_poll_interval_ms": _NEVER_IDLE_MS,
        "metadata_max_age_ms": 30_000,
        "fetch_max_wait_ms": 100,
        "fetch_max_bytes": _FETCH_MOST,
    }


async def close(client: Any) -> None:
    """Stop a consumer or producer, within a few seconds whether Kafka is there or not.

    aiokafka's own `stop` waits for a broker that is away, and lets the cancellation of its fetches
    out before it has closed its connections (0.14).
    """
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait({stopping}, timeout=_CLOSE_S)
    finally:
        if stopping.done() and not stopping.cancelled():
            stopping.result()
        else:
            stopping.cancel()
            await asyncio.wait({stopping})
            connections = client._client if hasattr(client, "_client") else client.client  # noqa: SLF001 - no public way
            await connections.close()


def translate(error: BaseException, what: str) -> Retryable | Terminal:
    """Return the kind of a failure of the client library."""
    kind = Terminal if isinstance(error, _TERMINAL) else Retryable
    return kind(f"{what}: {type(error).__name__}: {error}")


async def ensure_topics(options: KafkaOptions, topics: Sequence[str] = TOPICS) -> tuple[str, ...]:
    """Create what is missing of the topics, and return the names of those created.

    Raises:
        Terminal: a topic is missing and Kafka doesn't let us create it; says what to do.
        Retryable: Kafka could not be reached or was not ready.
    """
    admin = AIOKafkaAdminClient(
        **options.client_arguments(),
        client_id="aviary-topics",
        request_timeout_ms=round(options.request_timeout_s * 1000),
    )
    try:
        try:
            await admin.start()
            there = set(await admin.list_topics())
            missing = [name for name in topics if name not in there]
            answer = (
                await admin.create_topics(
                    [_new_topic(name, options) for name in missing],
                    timeout_ms=round(options.request_timeout_s * 1000),
                )
                if missing
                else None
            )
        finally:
            await admin.close()
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, f"topics at {options.bootstrap}{options.hint()}") from error
    for topic, code, *_ in answer.topic_errors if answer else ():
        _check_created(topic, kafka_errors.for_code(code), options)
    return tuple(missing)


def _new_topic(name: str, options: KafkaOptions) -> NewTopic:
    # A dead letter is the original record and some headers: it must fit where the original did.
    configs = {"max.message.bytes": str(DEADLETTER_MAX_BYTES)}
    if name != ids.TOPIC_DEADLETTERS:
        configs = {}
    if options.in_sync > 1:
        # Kafka's default of 1 would let one broker alone confirm a record, and then lose it.
        configs["min.insync.replicas"] = str(options.in_sync)
    return NewTopic(
        name=name,
        num_partitions=options.partitions,
        replication_factor=options.replication,
        topic_configs=configs,
    )


def _check_created(topic: str, error: type[Exception], options: KafkaOptions) -> None:
    if error in {kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError}:
        return
    asked = f"{options.partitions} partitions, replication {options.replication}"
    text = (
        f"topic {topic}: missing, and creating it ({asked}) was refused with {error.__name__}; "
        "create it yourself, or allow Aviary to, or change AVIARY_TOPIC_PARTITIONS and "
        "AVIARY_TOPIC_REPLICATION"
    )
    retriable = getattr(error, "retriable", False) or error is kafka_errors.RequestTimedOutError
    raise Retryable(text) if retriable else Terminal(text)


def _read(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


_LOST_SEQUENCE = (
    kafka_errors.OutOfOrderSequenceNumber,
    kafka_errors.DuplicateSequenceNumber,
    kafka_errors.UnknownProducerId,
    kafka_errors.InvalidProducerEpoch,
)


class Sender:
    """A producer that connects in the background, for as long as it takes.

    Until then, and while Kafka is away, `send` fails with `Retryable`.
    """

    def __init__(self, options: KafkaOptions, topics: Sequence[str] = ()) -> None:
        """Keep the options; nothing connects before `start`.

        Args:
            options: how to reach Kafka.
            topics: created first if they are missing.
        """
        self._options = options
        self._topics = topics
        self._producer: Any = None
        self._connecting: asyncio.Task[None] | None = None
        self._problem = "not connected yet"

    def start(self) -> None:
        """Begin to connect."""
        self._connecting = asyncio.create_task(self._connect(), name="kafka-connect")

    async def _connect(self) -> None:
        for delay in doubling():
            try:
                self._producer = await self._attempt()
            except AdapterError as error:
                # Also for Terminal: somebody may create the topic that we may not.
                self._problem = str(error)
                _log.warning("kafka_away", error=self._problem, delay_s=delay)
            else:
                return
            await asyncio.sleep(delay)

    async def _attempt(self) -> Any:
        if self._topics:
            await ensure_topics(self._options, self._topics)
        producer = make_producer(self._options)
        try:
            await producer.start()
        except BaseException as error:
            await close(producer)
            if isinstance(error, (kafka_errors.KafkaError, OSError)):
                what = f"Kafka at {self._options.bootstrap}{self._options.hint()}"
                raise translate(error, what) from error
            raise
        return producer

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Write the records in order; returns once all are durable.

        Raises:
            Retryable: some may not be durable; sending all of them again is right.
            Terminal: Kafka will never take one of them (too large, a bad topic).
        """
        producer = self._connected()
        try:
            await self._send(producer, records)
        except Retryable as error:
            self._replace_if_dead(producer, error.__cause__)
            raise

    async def _send(self, producer: Any, records: Sequence[Outgoing]) -> None:
        waiting: list[Any] = []
        try:
            for record in records:
                future = await producer.send(
                    record.topic, value=record.value, key=record.key, headers=list(record.headers)
                )
                waiting.append(future)
            await asyncio.gather(*waiting)
        except (kafka_errors.KafkaError, OSError) as error:
            await asyncio.gather(*waiting, return_exceptions=True)
            raise translate(error, f"writing to {records[0].topic}") from error
        except asyncio.CancelledError:
            for future in waiting:  # they may fail yet, with nobody left who hears of it
                future.add_done_callback(_read)
            raise

    def _replace_if_dead(self, producer: Any, error: BaseException | None) -> None:
        """Connect anew when the producer can never write again.

        The sequence of an idempotent producer no longer fits, for instance after all brokers were
        killed: every later write then fails, with its background task ended or not (aiokafka 0.14);
        without this only a restart would help.
        """
        task = producer._sender.sender_task  # noqa: SLF001 - no public way to tell
        ended = task is not None and task.done()
        if self._producer is not producer or not (ended or isinstance(error, _LOST_SEQUENCE)):
            return
        _log.error("kafka_producer_replaced", cause=str(error))
        self._producer, self._problem = None, "connecting anew after a fatal failure"
        self._connecting = asyncio.create_task(self._connect_anew(producer), name="kafka-connect")

    async def _connect_anew(self, dead: Any) -> None:
        with contextlib.suppress(kafka_errors.KafkaError):  # the one that it died of
            await close(dead)
        await self._connect()

    async def check(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109 - a bound, part of the meaning
        """Ask Kafka whether it is there, for at most `timeout` seconds.

        Raises:
            Retryable: it is not.
        """
        producer = self._connected()
        try:
            async with asyncio.timeout(timeout):
                await producer.client.fetch_all_metadata()
        except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
            raise translate(error, f"Kafka at {self._options.bootstrap}") from error

    def _connected(self) -> Any:
        if self._producer is None:
            raise Retryable(f"Kafka at {self._options.bootstrap}: {self._problem}")
        return self._producer

    async def close(self) -> None:
        """Stop connecting, or flush and close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._producer is not None:
            producer, self._producer, self._problem = self._producer, None, "closed"
            await close(producer)


class Writer(Protocol):
    """What writes records: a `Sender`."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return once all records are durable.

        Raises:
            Retryable: some may not be; sending all of them again is right.
            Terminal: Kafka will never take one of them.
        """
        ...


class KafkaEventLog:
    """`adapters.ports.EventLog` on `aviary.events`: structured CloudEvents, keyed by release id."""

    def __init__(self, sender: Writer, topic: str = ids.TOPIC_EVENTS) -> None:
        """Write through a sender that somebody else starts and closes."""
        self._sender = sender
        self._topic = topic

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Append the events in order; returns once they are durable.

        Raises:
            Retryable: Kafka is away; publishing again may repeat some, under the same ids.
            Terminal: an event is larger than the topic allows.
        """
        headers = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)
        await self._sender.send(
            [
                Outgoing(self._topic, event.wire(), event.partitionkey.encode(), headers)
                for event in events
            ]
        )
