"""One suite for every `EventLog`; and what only the one on Kafka promises."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from adapters.errors import Retryable
from adapters.kafka import TOPICS, KafkaEventLog, KafkaOptions, Sender, ensure_topics
from adapters.memory import MemoryEventLog
from adapters.ports import EventLog
from schemas import ids
from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event
from tests.contract.kafka.parts import Broker


@dataclass
class Subject:
    log: EventLog
    ids: Callable[[int], Awaitable[list[str]]]


@pytest.fixture(params=["memory", "kafka"])
async def subject(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[Subject]:
    if request.param == "memory":
        memory = MemoryEventLog()

        async def kept(count: int) -> list[str]:
            assert len(memory.events) >= count
            return [item.id for item in memory.events]

        yield Subject(memory, kept)
        return

    async def written(count: int) -> list[str]:
        records = await broker.read(ids.TOPIC_EVENTS, count)
        return [json.loads(record.value)["id"] for record in records]

    async with broker.sender() as sender:
        yield Subject(KafkaEventLog(sender), written)


def _events(count: int, release: str = "r1") -> list[CloudEvent]:
    return [
        event(
            f"release/{release}",
            number,
            EventType.RELEASE_STARTED,
            release=release,
            subject=release,
            time=datetime(2026, 1, 1, tzinfo=UTC),
            data={"why": None, "number": number},
        )
        for number in range(count)
    ]


async def test_events_are_kept_in_their_order(subject: Subject) -> None:
    await subject.log.publish(_events(20))
    assert await subject.ids(20) == [f"release/r1/{number}" for number in range(20)]


async def test_no_events_are_nothing_to_do(subject: Subject) -> None:
    await subject.log.publish([])
    await subject.log.publish(_events(1))
    assert await subject.ids(1) == ["release/r1/0"]


async def test_a_record_is_a_structured_cloudevent_keyed_by_release(broker: Broker) -> None:
    [sent] = _events(1)
    async with broker.sender() as sender:
        await KafkaEventLog(sender).publish([sent])
    [record] = await broker.read(ids.TOPIC_EVENTS, 1)
    assert record.key == b"r1"
    assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
    assert CloudEvent.model_validate_json(record.value) == sent


async def test_without_a_broker_it_is_retryable(broker: Broker) -> None:
    async with broker.sender() as sender:
        broker.kill()
        with pytest.raises(Retryable, match=r"aviary\.events"):
            await KafkaEventLog(sender).publish(_events(1))


async def test_before_it_is_connected_it_is_retryable() -> None:
    sender = Sender(KafkaOptions(bootstrap="127.0.0.1:1", idempotent=False))
    sender.start()
    try:
        with pytest.raises(Retryable, match=r"127\.0\.0\.1:1"):
            await KafkaEventLog(sender).publish(_events(1))
    finally:
        await sender.close()


async def test_topics_are_created_once(broker: Broker) -> None:
    assert await ensure_topics(broker.options) == ()
    assert await ensure_topics(broker.options, [*TOPICS, "one-more"]) == ("one-more",)
    assert await ensure_topics(broker.options, ["one-more"]) == ()


async def test_topics_without_a_broker_are_retryable() -> None:
    with pytest.raises(Retryable, match="topics at"):
        await ensure_topics(KafkaOptions(bootstrap="127.0.0.1:1", request_timeout_s=1))
