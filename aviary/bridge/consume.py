"""From Kafka into a processor for each partition, and offsets back once records are done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from adapters.backoff import doubling
from adapters.errors import Retryable
from adapters.kafka import close
from adapters.kafka_reading import Fetched, FetchingEndedError
from aviary.bridge.feeds import Feed
from aviary.bridge.metrics import BridgeMetrics
from aviary.bridge.partition_processor import CAP_BACKOFF_S, FIRST_BACKOFF_S, PartitionProcessor
from aviary.bridge.threads import LARGE_AT_ONCE, Threads

_log = structlog.get_logger("aviary.bridge")

POLL_S: Final = 0.2
STILL_S: Final = 10.0
"""A record that is not done for so long, or commits that fail for so long, make us unready."""
UNHEARD_S: Final = 30.0
"""A partition of ours that no broker answers for for so long makes us unready."""
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

    def __init__(  # noqa: PLR0913 - its parts
        self,
        consumer: Any,
        topics: Sequence[str],
        work: Callable[[Sequence[Any]], Awaitable[object]],
        metrics: BridgeMetrics,
        *,
        give_up: Callable[[Any, Exception], Awaitable[object]],
        most: Mapping[str, int] | None = None,
    ) -> None:
        """Drive this consumer, which is not started yet.

        Args:
            consumer: a `RawConsumer` that commits nothing by itself.
            topics: what to consume.
            work: does records that follow each other in one partition; raises `Retryable` when
                they must be repeated.
            metrics: counts.
            give_up: keeps a record that `work` fails at each time by a fault of ours.
            most: for some topics, how many records `work` is given at once; one for the others.
        """
        self._consumer = consumer
        self._topics = tuple(topics)
        self._work = work
        self._metrics = metrics
        self._most = dict(most or {})
        self._give_up = give_up
        self._threads = {topic: Threads(f"read-{topic}", LARGE_AT_ONCE) for topic in topics}
        self._processors: dict[Any, PartitionProcessor] = {}
        self._feeds: dict[Any, Feed] = {}
        self._since: dict[Any, float] = {}
        self._errors: dict[Any, str] = {}
        self._commits_fail_since: float | None = None
        self._polls_fail = ""
        self._slots = {topic: asyncio.Semaphore(AT_ONCE) for topic in topics}
        self._dirty = asyncio.Event()
        self._committing = asyncio.Lock()
        self._committed: dict[Any, int] = {}
        self._joined = False

    def check(self) -> None:
        """Raise `Retryable` with the reason while a partition of ours stands still.

        So it is until the consumer group has given us our share of partitions as well.
        """
        if not self._joined:
            raise Retryable("Kafka: not yet a member of the consumer group")
        if self._polls_fail:
            raise Retryable(f"Kafka: {self._polls_fail}")
        now = asyncio.get_running_loop().time()
        if self._commits_fail_since is not None and now - self._commits_fail_since > STILL_S:
            raise Retryable("Kafka: offsets can't be committed")
        for partition in self._consumer.assignment():
            problem = self._problem(partition, now)
            if problem:
                where = f"{partition.topic}/{partition.partition}"
                raise Retryable(f"{where} stands still: {problem}")

    def _problem(self, partition: Any, now: float) -> str:
        processor = self._processors.get(partition)
        if processor is not None and processor.problem and now - processor.since > STILL_S:
            lasts = f"{now - processor.since:.0f} s"
            return f"offset {processor.position} not done for {lasts}: {processor.problem}"
        if partition in self._errors:
            return self._errors[partition]
        heard = max(self._consumer.heard(partition) or 0.0, self._since.get(partition, now))
        if partition not in self._consumer.paused() and now - heard > UNHEARD_S:
            return f"no broker answered for it for {now - heard:.0f} s"
        return ""

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
            await self._release(tuple(self._processors))
            await close(self._consumer)
            for threads in self._threads.values():
                threads.close()

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Finish and commit before a partition goes to another consumer."""
        self._joined = False
        gone = tuple(revoked)
        await self._release(gone)
        self._consumer.forget(gone)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Note that we are in the group; processors begin with their first record."""
        ours = tuple(assigned)
        self._joined = True
        self._errors = {}
        self._since = dict.fromkeys(ours, asyncio.get_running_loop().time())
        _log.info("assigned", partitions=len(ours))

    async def _poll_for_ever(self) -> None:
        delays = doubling(FIRST_BACKOFF_S, CAP_BACKOFF_S)
        while True:
            try:
                found = await self._consumer.fetched(POLL_S)
            except FetchingEndedError as error:
                raise Retryable(f"consumer: {error}") from error
            except KafkaError as error:
                self._polls_fail = f"{type(error).__name__}: {error}"
                _log.warning("kafka_poll_failed", error=self._polls_fail)
                await asyncio.sleep(next(delays))
            else:
                self._take(found)
                self._polls_fail, delays = "", doubling(FIRST_BACKOFF_S, CAP_BACKOFF_S)

    def _take(self, found: Iterable[Fetched]) -> None:
        for each in found:
            if each.error:
                _log.warning("kafka_fetch_failed", partition=str(each.partition), error=each.error)
                self._errors[each.partition] = each.error
            else:
                self._errors.pop(each.partition, None)
                self._feed(each.partition).put(each.batches)
        for feed in self._feeds.values():
            feed.check()
        for processor in self._processors.values():
            processor.check()
        self._fetch_what_has_room()
        self._tell_lag()

    def _fetch_what_has_room(self) -> None:
        """Fetch no more of a partition that has much unread, and all the more of the others."""
        ours, paused = self._consumer.assignment(), self._consumer.paused()
        for partition, feed in self._feeds.items():
            if partition in ours and feed.is_full != (partition in paused):
                (self._consumer.pause if feed.is_full else self._consumer.resume)(partition)

    def _feed(self, partition: Any) -> Feed:
        feed = self._feeds.get(partition)
        if feed is None:
            threads = self._threads[partition.topic]
            feed = Feed(self._processor(partition), threads, self._fetch_what_has_room)
            self._feeds[partition] = feed
        return feed

    def _processor(self, partition: Any) -> PartitionProcessor:
        slots, topic = self._slots[partition.topic], partition.topic

        async def work(records: Sequence[Any]) -> None:
            # Held for one attempt and not between attempts: those who wait don't block others.
            async with slots:
                await self._work(records)

        processor = PartitionProcessor(
            work,
            self._dirty.set,
            lambda: self._metrics.retry(topic),
            give_up=self._give_up,
            most=self._most.get(topic, 1),
        )
        self._processors[partition] = processor
        return processor

    async def _commit_for_ever(self) -> None:
        delays = doubling(FIRST_BACKOFF_S, CAP_BACKOFF_S)
        while True:
            await self._dirty.wait()
            await asyncio.sleep(GATHER_S)
            self._dirty.clear()
            self._tell_lag()
            if await self._commit(self._offsets(self._processors)):
                delays = doubling(FIRST_BACKOFF_S, CAP_BACKOFF_S)
                self._commits_fail_since = None
                continue
            if self._commits_fail_since is None:
                self._commits_fail_since = asyncio.get_running_loop().time()
            await asyncio.sleep(next(delays))
            self._dirty.set()

    def _offsets(self, processors: Mapping[Any, PartitionProcessor]) -> dict[Any, int]:
        return {
            partition: processor.next_offset
            for partition, processor in processors.items()
            if processor.next_offset is not None
            and self._committed.get(partition) != processor.next_offset
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
        processors = {
            partition: processor
            for partition in partitions
            if (processor := self._processors.pop(partition, None)) is not None
        }
        feeds = [self._feeds.pop(partition) for partition in processors]
        await asyncio.gather(*(feed.close() for feed in feeds))
        await asyncio.gather(*(processor.close(GRACE_S) for processor in processors.values()))
        await self._commit(self._offsets(processors))
        for partition in processors:
            self._committed.pop(partition, None)
            self._metrics.gone(partition.topic, partition.partition)

    def _tell_lag(self) -> None:
        ours = self._consumer.assignment()
        for partition, processor in self._processors.items():
            end = self._consumer.highwater(partition) if partition in ours else None
            if end is not None and processor.position is not None:
                self._metrics.lag(partition.topic, partition.partition, end - processor.position)
