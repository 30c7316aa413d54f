"""Reads all that `aviary.events` keeps, and goes on with what comes; commits nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from adapters.backoff import doubling
from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, close, ensure_topics, make_consumer, translate
from schemas import ids

_POLL_MS: Final = 500
_IDLE_POLLS: Final = 20
"""Polls without a record after which all is taken for read: 10 s."""
_ASKED_AFTER: Final = 6
"""Polls without a record after which Kafka is asked whether it is there: 3 s."""
_log = structlog.get_logger("aviary.exporter")

Take = Callable[[Sequence[bytes | None]], Awaitable[None]]


class Following:
    """Reads events for ever; those of a partition in order, each at least once.

    Args:
        options: how to reach Kafka.
        take: takes the values of some records.
        rest: called between two polls, and after each failure.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        options: KafkaOptions,
        take: Take,
        rest: Callable[[], Awaitable[None]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options, self._take, self._rest, self._sleep = options, take, rest, sleep
        self._places: dict[Any, int] = {}
        """Where to go on, by partition."""
        self.caught_up = False
        """Whether all was read that there was when the reading began."""
        self.trouble = "not connected yet"
        """Why it does not see what happens now; empty while it does."""

    async def run(self) -> None:
        """Follow for ever, with another consumer after each failure."""
        pauses = doubling()
        while True:
            try:
                await self._follow()
            except Retryable as error:
                self.trouble = str(error)
            except (KafkaError, OSError) as error:
                self.trouble = str(translate(error, f"events at {self._options.bootstrap}"))
            pause = next(pauses)
            _log.warning("events_not_read", error=self.trouble, delay_s=pause)
            await self._rest()
            await self._sleep(pause)

    async def _follow(self) -> None:
        await ensure_topics(self._options, (ids.TOPIC_EVENTS,))
        consumer = make_consumer(self._options, None)
        consumer.subscribe([ids.TOPIC_EVENTS])  # without a group: to all partitions
        try:
            await consumer.start()
            partitions = consumer.assignment()
            for partition in partitions & self._places.keys():
                consumer.seek(partition, self._places[partition])
            ends = await consumer.end_offsets(list(partitions))
            idle = 0
            while True:
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                idle = 0 if batches else idle + 1
                await self._hand_over(batches)
                if not self.caught_up:
                    self.caught_up = idle > _IDLE_POLLS or self._is_at(ends)
                self.trouble = "" if self.caught_up else "events are read that were kept"
                await self._rest()
                if idle % _ASKED_AFTER == _ASKED_AFTER - 1:
                    await self._check(consumer)
        finally:
            await close(consumer)

    async def _check(self, consumer: Any) -> None:
        """Ask Kafka something: polls say nothing of a broker that is away.

        Raises:
            Retryable: it does not answer.
        """
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                await consumer.end_offsets(list(consumer.assignment()))
        except TimeoutError as error:
            text = f"{self._options.bootstrap}: no answer in {self._options.request_timeout_s:g} s"
            raise Retryable(text) from error

    def _is_at(self, ends: Mapping[Any, int]) -> bool:
        return all(self._places.get(one, 0) >= end for one, end in ends.items())

    async def _hand_over(self, batches: Mapping[Any, Any]) -> None:
        for partition, records in batches.items():
            await self._take([record.value for record in records])
            self._places[partition] = records[-1].offset + 1
