"""Hears on `aviary.events` what became of releases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from adapters.backoff import doubling
from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, close, ensure_topics, make_consumer, translate
from aviary.watching.status import Heard, heard
from schemas import ids
from schemas.rejection import Rejected, load_json

_POLL_MS: Final = 1_000
_VALUES_MOST: Final = 50_000
_log = structlog.get_logger("aviary.watch")

Told = Callable[[Heard, str], Awaitable[None]]


class Listening:
    """Reads events for ever; those of a partition in order, each at least once.

    Args:
        options: how to reach Kafka.
        group: the consumer group.
        told: told of each event that concerns templates, and its identity.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        options: KafkaOptions,
        group: Callable[[], Awaitable[str]],
        told: Told,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options, self._group, self._told, self._sleep = options, group, told, sleep
        self.trouble = "not connected yet"
        """Why it hears nothing; empty while it does."""

    async def run(self) -> None:
        """Listen for ever, with another consumer after each failure."""
        pauses = doubling()
        while True:
            try:
                await self._listen()
            except Retryable as error:
                self.trouble = str(error)
            except (KafkaError, OSError) as error:
                self.trouble = str(translate(error, f"events at {self._options.bootstrap}"))
            pause = next(pauses)
            _log.warning("events_not_heard", error=self.trouble, delay_s=pause)
            await self._sleep(pause)

    async def _listen(self) -> None:
        await ensure_topics(self._options, (ids.TOPIC_EVENTS,))
        consumer = make_consumer(self._options, await self._group())
        consumer.subscribe([ids.TOPIC_EVENTS])
        try:
            await consumer.start()
            self.trouble = ""
            while True:
                batches = await consumer.getmany(timeout_ms=_POLL_MS)
                for records in batches.values():
                    for record in records:
                        await self._take(record)
                if batches:
                    await consumer.commit()
        finally:
            await close(consumer)

    async def _take(self, record: Any) -> None:
        try:
            event = load_json(record.value, values=_VALUES_MOST)
        except Rejected as why:
            _log.warning("event_unreadable", offset=record.offset, error=why.text)
            return
        found = heard(event)
        if found is not None:
            await self._told(found, f"{event.get('source')}#{event.get('id')}")
