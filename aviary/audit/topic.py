"""Reads all that a topic keeps now, once, without a consumer group: nothing is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, close, make_consumer, translate

_POLL_MS: Final = 500
_IDLE_POLLS: Final = 60
"""Polls without a record after which the rest is given up: half a minute."""


async def records_of(options: KafkaOptions, topic: str) -> AsyncIterator[tuple[bytes | None, str]]:
    """Every record that the topic has now, in the order of each partition, and where it is.

    Raises:
        Retryable: Kafka could not be reached, has no such topic, or does not hand out all.
        Terminal: it never will.
    """
    consumer = make_consumer(options, None)
    try:
        await consumer.start()
        async for one in _until_now(consumer, topic):
            yield one
    except (KafkaError, OSError) as error:
        raise translate(error, f"{topic} at {options.bootstrap}{options.hint()}") from error
    finally:
        await close(consumer)


async def _until_now(consumer: Any, topic: str) -> AsyncIterator[tuple[bytes | None, str]]:
    numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic)  # noqa: SLF001 - asks without making the topic
    if not numbers:
        raise Retryable(f"{topic}: expected a topic, got none of this name")
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    left = {one for one in partitions if ends[one] > 0}
    await consumer.seek_to_beginning(*partitions)
    idle = 0
    while left:
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        idle = 0 if batches else idle + 1
        if idle > _IDLE_POLLS:
            raise Retryable(f"{topic}: expected records up to {ends}, and they did not come")
        for one in _records(batches):
            yield one
        left = {one for one in left if await consumer.position(one) < ends[one]}
    # What a broker calls the end may be one short of it, and more may have come meanwhile.
    for _ in partitions:
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        if not batches:
            return
        for one in _records(batches):
            yield one


def _records(batches: Mapping[Any, Sequence[Any]]) -> Iterator[tuple[bytes | None, str]]:
    for partition, records in batches.items():
        for record in records:
            yield record.value, f"{partition.topic}/{partition.partition}@{record.offset}"
