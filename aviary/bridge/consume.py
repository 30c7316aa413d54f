"""Consuming: from Kafka into lanes, and offsets back once their records are done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from adapters.errors import Retryable
from adapters.kafka import close
from aviary.bridge.lanes import CAP_BACKOFF_S, FIRST_BACKOFF_S, Lane
from aviary.bridge.metrics import BridgeMetrics

_log = structlog.get_logger("aviary.bridge")

POLL_MS: Final = 200
BATCH: Final = 200
"""Records of one poll, and of one lane before it must wait: bounds what is in memory."""
AT_ONCE: Final = 16
"""Partitions of one topic whose records are being done at the same time."""
GRACE_S: Final = 3.0
COMMIT_S: Final = 5.0
GATHER_S: Final = 0.05
"""From a record that is done to its commit: those done meanwhile go along. A crash in between costs
a repetition, which has no second effect."""


class Consumption(ConsumerRebalanceListener):  # type: ignore[misc]
    """Drives one consumer; the records of a partition are done in order, partitions side by side.

    An offset is committed only after its record is done. A partition that is taken away has its
    record at hand finished, and what is done committed, before another consumer gets it.
    """

    def __init__(
        self,
        consumer: Any,
        topics: Sequence[str],
        work: Callable[[Sequence[Any]], Awaitable[object]],
        metrics: BridgeMetrics,
        *,
        most: Mapping[str, int] | None = None,
    ) -> None:
        """Drive this consumer, which is not started yet.

        Args:
            consumer: an `AIOKafkaConsumer` that commits nothing by itself.
            topics: what to consume.
            work: does records that follow each other in one partition; raises `Retryable` when
                they must be repeated.
            metrics: counts.
            most: for some topics, how many records `work` is given at once; one for the others.
        """
        self._consumer = consumer
        self._topics = tuple(topics)
        self._work = work
        self._metrics = metrics
        self._most = dict(most or {})
        self._lanes: dict[Any, Lane] = {}
        self._slots = {topic: asyncio.Semaphore(AT_ONCE) for topic in topics}
        self._dirty = asyncio.Event()
        self._committing = asyncio.Lock()
        self._committed: dict[Any, int] = {}
        self._joined = False

    def check(self) -> None:
        """Raise `Retryable` until the consumer group has given us our share of partitions."""
        if not self._joined:
            raise Retryable("Kafka: not yet a member of the consumer group")

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; then finish what is at hand, commit, and leave the group."""
        self._consumer.subscribe(self._topics, listener=self)
        tasks = {
            asyncio.create_task(self._poll_for_ever(), name="poll"),
            asyncio.create_task(self._commit_for_ever(), name="commit"),
            asyncio.create_task(stop.wait(), name="stop"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._release(tuple(self._lanes))
            await close(self._consumer)

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Finish and commit before a partition goes to another consumer."""
        self._joined = False
        await self._release(tuple(revoked))

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Note that we are in the group; lanes begin with their first record."""
        self._joined = True
        _log.info("assigned", partitions=len(tuple(assigned)))

    async def _poll_for_ever(self) -> None:
        delay = FIRST_BACKOFF_S
        while True:
            try:
                await self._poll()
            except KafkaError as error:
                _log.warning("kafka_poll_failed", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(delay)
                delay = min(delay * 2, CAP_BACKOFF_S)
            else:
                delay = FIRST_BACKOFF_S

    async def _poll(self) -> None:
        ours = self._consumer.assignment()
        # What a full lane can't take stays in the fetcher, which then fetches no more of it.
        roomy = [partition for partition in ours if self._backlog(partition) < BATCH]
        if ours and not roomy:
            await asyncio.sleep(POLL_MS / 1000)
            return
        batches = await self._consumer.getmany(*roomy, timeout_ms=POLL_MS, max_records=BATCH)
        for partition, records in batches.items():
            self._lane(partition).put(records)
        self._tell_lag()

    def _backlog(self, partition: Any) -> int:
        lane = self._lanes.get(partition)
        return lane.backlog if lane else 0

    def _lane(self, partition: Any) -> Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            slots, topic = self._slots[partition.topic], partition.topic

            async def work(records: Sequence[Any]) -> None:
                # Held for one attempt and not between attempts: those who wait don't block others.
                async with slots:
                    await self._work(records)

            most = self._most.get(topic, 1)
            lane = Lane(work, self._dirty.set, lambda: self._metrics.retry(topic), most=most)
            self._lanes[partition] = lane
        return lane

    async def _commit_for_ever(self) -> None:
        delay = FIRST_BACKOFF_S
        while True:
            await self._dirty.wait()
            await asyncio.sleep(GATHER_S)
            self._dirty.clear()
            self._tell_lag()
            if await self._commit(self._offsets(self._lanes)):
                delay = FIRST_BACKOFF_S
                continue
            await asyncio.sleep(delay)
            delay = min(delay * 2, CAP_BACKOFF_S)
            self._dirty.set()

    def _offsets(self, lanes: Mapping[Any, Lane]) -> dict[Any, int]:
        return {
            partition: lane.next_offset
            for partition, lane in lanes.items()
            if lane.next_offset is not None and self._committed.get(partition) != lane.next_offset
        }

    async def _commit(self, offsets: dict[Any, int]) -> bool:
        """Commit; False if Kafka did not say yes, which costs a repetition and no record."""
        async with self._committing:
            ours = self._consumer.assignment()
            wanted = {partition: at for partition, at in offsets.items() if partition in ours}
            if not wanted:
                return True
            try:
                async with asyncio.timeout(COMMIT_S):
                    await self._consumer.commit(wanted)
            except (KafkaError, TimeoutError) as error:
                _log.warning("commit_failed", error=f"{type(error).__name__}: {error}")
                return False
            self._committed.update(wanted)
            return True

    async def _release(self, partitions: Sequence[TopicPartition]) -> None:
        lanes = {
            partition: lane
            for partition in partitions
            if (lane := self._lanes.pop(partition, None)) is not None
        }
        await asyncio.gather(*(lane.close(GRACE_S) for lane in lanes.values()))
        await self._commit(self._offsets(lanes))
        for partition in lanes:
            self._committed.pop(partition, None)
            self._metrics.gone(partition.topic, partition.partition)

    def _tell_lag(self) -> None:
        ours = self._consumer.assignment()
        for partition, lane in self._lanes.items():
            end = self._consumer.highwater(partition) if partition in ours else None
            if end is not None and lane.position is not None:
                self._metrics.lag(partition.topic, partition.partition, end - lane.position)
