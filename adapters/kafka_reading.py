"""A consumer that hands out what it fetched as raw batches, each partition for itself.

aiokafka (0.14) keeps group, assignment, positions and fetches. What it fetched is taken here before
it looks inside: it raises for one partition what then costs the records of others, and it steps
over a batch that is larger than a fetch without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import ConsumerStoppedError, RecordTooLargeError
from aiokafka.protocol.fetch import FetchRequest

from adapters.kafka_batches import Answer, Batch, split

_WITH_REPLICA: Final = 11
"""From this version of a fetch on, a preferred replica stands after the aborted transactions."""


class FetchingEndedError(Exception):
    """The client library fetches no more: only another consumer can go on."""


@dataclass(frozen=True)
class Fetched:
    """What one fetch brought of one partition."""

    partition: Any
    batches: tuple[Batch, ...] = ()
    error: str = ""
    """Why it brought nothing."""


class RawConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Consumes batches; see `fetched`."""

    def __init__(self, **arguments: Any) -> None:
        """Take what an `AIOKafkaConsumer` takes."""
        super().__init__(**arguments)
        self._answers: dict[Any, Answer] = {}
        self._heard: dict[Any, float] = {}
        self._ask = self._client.send
        self._client.send = self._ask_and_keep

    async def _ask_and_keep(self, node_id: int, request: Any, **how: Any) -> Any:
        answer = await self._ask(node_id, request, **how)
        if isinstance(request, FetchRequest):
            self._keep(request, answer)
        return answer

    def _keep(self, request: Any, answer: Any) -> None:
        """Note what the fetcher is about to put into its own form, which leaves out the bytes."""
        asked = {
            TopicPartition(topic, number): offset
            for topic, partitions in request.topics
            for number, offset, _ in partitions
        }
        now = asyncio.get_running_loop().time()
        for topic, partitions in answer.topics:
            for number, code, log_end, *rest in partitions:
                partition = TopicPartition(topic, number)
                if code == 0:
                    self._heard[partition] = now
                if code == 0 and rest[-1]:
                    aborted = _aborted(answer.API_VERSION, rest)
                    at = asked[partition]
                    answered = Answer(topic, number, at, rest[-1], aborted, log_end)
                    self._answers[partition] = answered

    def heard(self, partition: Any) -> float | None:
        """When a broker last answered for a partition, by the loop's clock; None if never."""
        return self._heard.get(partition)

    def forget(self, partitions: Iterable[Any]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            self._answers.pop(partition, None)
            self._heard.pop(partition, None)

    async def fetched(self, timeout_s: float) -> list[Fetched]:
        """What was fetched since the last call; waits for it for a moment.

        Raises:
            KafkaError: the group can't be joined, or we may not.
            FetchingEndedError: nothing will ever be fetched again.
        """
        if self._closed:
            raise ConsumerStoppedError
        self._coordinator.check_errors()
        if self._fetcher.error_future.done():
            raise FetchingEndedError(f"fetching ended: {_why(self._fetcher.error_future)}")
        with self._subscription.fetch_context():
            if self._subscription.reassignment_in_progress:
                await _wait(self._subscription.wait_for_assignment(), timeout_s)
            elif not self._fetcher._records:  # noqa: SLF001 - no public way to the bytes
                await _wait(self._fetcher._create_fetch_waiter(), timeout_s)  # noqa: SLF001 - as above
            return self._drain()

    def _drain(self) -> list[Fetched]:
        fetcher = self._fetcher
        if self._subscription.reassignment_in_progress:
            return []
        found = [
            self._take(partition, fetcher._records.pop(partition))  # noqa: SLF001 - as above
            for partition in list(fetcher._records)  # noqa: SLF001 - as above
        ]
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001 - so that it fetches on
        return [each for each in found if each is not None]

    def _take(self, partition: Any, result: FetchResult | FetchError) -> Fetched | None:
        answer = self._answers.pop(partition, None)
        if isinstance(result, FetchError):
            return self._failed(partition, result._error, answer)  # noqa: SLF001 - kept there
        if answer is None or not result.check_assignment(partition):
            return None  # it is fetched again
        batches, position = split(answer)
        self._subscription.subscription.assignment.state_value(partition).consumed_to(position)
        return Fetched(partition, tuple(batches))

    def _failed(self, partition: Any, error: Exception, answer: Answer | None) -> Fetched:
        if isinstance(error, RecordTooLargeError) and answer is not None:
            # The fetcher has stepped over this offset, and knows that it has.
            text = (
                f"length: more than a fetch of {len(answer.data)} bytes, expected a smaller batch"
            )
            return Fetched(partition, (answer.as_one(text),))
        return Fetched(partition, error=f"{type(error).__name__}: {error}")


async def _wait(waiter: asyncio.Future[Any], timeout_s: float) -> None:
    await asyncio.wait({waiter}, timeout=timeout_s)
    if waiter.done():
        waiter.result()  # an error that concerns the group
    else:
        waiter.cancel()


def _aborted(version: int, rest: list[Any]) -> tuple[tuple[int, int], ...]:
    if len(rest) == 1:  # of a broker without transactions
        return ()
    return tuple((rest[2] if version >= _WITH_REPLICA else rest[-2]) or ())


def _why(ended: asyncio.Future[Any]) -> str:
    if ended.cancelled():
        return "cancelled"
    error = ended.exception()
    return "without an error" if error is None else f"{type(error).__name__}: {error}"
