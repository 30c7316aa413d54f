"""A partition that stands still says so, and costs no other anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from adapters.kafka_batches import Answer, split
from adapters.kafka_reading import Fetched, FetchingEndedError
from aviary.bridge import consume, feeds, partition_processor
from aviary.bridge.consume import Consumption
from aviary.bridge.metrics import BridgeMetrics
from tests.contract.kafka.raw import batch

TOPIC = "aviary.deploys"
ONE, TWO = TopicPartition(TOPIC, 1), TopicPartition(TOPIC, 2)


class Consumer:
    """Stands in for the client library: gives what it is told to."""

    def __init__(self) -> None:
        self.given: asyncio.Queue[list[Fetched] | Exception] = asyncio.Queue()
        self.committed: dict[Any, int] = {}
        self.commit_error: Exception | None = None
        self.at_rest: set[Any] = set()
        self.last_heard: float | None = None

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        listener.on_partitions_assigned([ONE, TWO])

    def assignment(self) -> set[Any]:
        return {ONE, TWO}

    def paused(self) -> set[Any]:
        return set(self.at_rest)

    def pause(self, partition: Any) -> None:
        self.at_rest.add(partition)

    def resume(self, partition: Any) -> None:
        self.at_rest.discard(partition)

    def highwater(self, partition: Any) -> int:
        return 100

    def heard(self, partition: Any) -> float | None:
        return self.last_heard

    def forget(self, partitions: Any) -> None: ...

    async def fetched(self, timeout_s: float) -> list[Fetched]:
        try:
            async with asyncio.timeout(0.01):
                given = await self.given.get()
        except TimeoutError:
            return []
        if isinstance(given, Exception):
            raise given
        return given

    async def commit(self, offsets: dict[Any, int]) -> None:
        if self.commit_error:
            raise self.commit_error
        self.committed.update(offsets)

    async def stop(self) -> None: ...


class Work:
    """Does records; those whose value is in `failures` fail with what stands there."""

    def __init__(self) -> None:
        self.failures: dict[bytes, Exception] = {}
        self.done: list[tuple[int, bytes | None]] = []
        self.given_up: list[bytes | None] = []

    async def __call__(self, records: Sequence[Any]) -> None:
        for record in records:
            if record.value in self.failures:
                raise self.failures[record.value]
            self.done.append((record.partition, record.value))

    async def give_up(self, record: Any, error: Exception) -> None:
        self.given_up.append(record.value)


def fetch(partition: Any, *values: bytes, at: int = 0) -> Fetched:
    data = batch([(None, value, []) for value in values], base=at)
    batches, _ = split(Answer(partition.topic, partition.partition, at, data))
    return Fetched(partition, tuple(batches))


def made_of(consumer: Consumer, work: Work) -> Consumption:
    return Consumption(
        consumer, [TOPIC], work, BridgeMetrics(CollectorRegistry()), give_up=work.give_up
    )


@asynccontextmanager
async def consuming(consumer: Consumer, work: Work) -> AsyncIterator[Consumption]:
    made, stop = made_of(consumer, work), asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    try:
        yield made
    finally:
        stop.set()
        await running


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("never happened")


def unready(consumption: Consumption) -> str:
    try:
        consumption.check()
    except Retryable as why:
        return str(why)
    return ""


async def test_a_partition_that_fails_costs_no_other_anything() -> None:
    consumer, work = Consumer(), Work()
    async with consuming(consumer, work) as consumption:
        error = f"{TopicAuthorizationFailedError.__name__}: {TOPIC}"
        consumer.given.put_nowait([Fetched(ONE, error=error), fetch(TWO, b"a", b"b")])
        await until(lambda: consumer.committed == {TWO: 2})
        assert work.done == [(2, b"a"), (2, b"b")]
        assert unready(consumption) == f"{TOPIC}/1 stands still: {error}"
        consumer.given.put_nowait([fetch(ONE, b"c")])
        await until(lambda: consumer.committed == {ONE: 1, TWO: 2})
        assert unready(consumption) == ""


async def test_a_record_that_is_not_done_for_long_makes_unready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consume, "STILL_S", 0.05)
    consumer, work = Consumer(), Work()
    work.failures[b"b"] = Retryable("Temporal says no")
    async with consuming(consumer, work) as consumption:
        consumer.given.put_nowait([fetch(ONE, b"a", b"b", b"c"), fetch(TWO, b"d")])
        said = "aviary.deploys/1 stands still: offset 1 not done for"
        await until(lambda: said in unready(consumption))
        assert "Temporal says no" in unready(consumption)
        await until(lambda: consumer.committed == {ONE: 1, TWO: 1})
        work.failures.clear()
        await until(lambda: consumer.committed == {ONE: 3, TWO: 1})
        assert unready(consumption) == ""


async def test_a_record_that_is_a_fault_is_given_up_and_the_partition_goes_on() -> None:
    consumer, work = Consumer(), Work()
    work.failures[b"b"] = ZeroDivisionError("oops")
    async with consuming(consumer, work) as consumption:
        consumer.given.put_nowait([fetch(ONE, b"a", b"b", b"c")])
        await until(lambda: consumer.committed == {ONE: 3})
        assert (work.given_up, work.done) == ([b"b"], [(1, b"a"), (1, b"c")])
        assert unready(consumption) == ""


async def test_polls_that_fail_make_unready_until_one_does_not() -> None:
    consumer = Consumer()
    async with consuming(consumer, Work()) as consumption:
        for _ in range(3):
            consumer.given.put_nowait(KafkaError("no"))
        await until(lambda: "KafkaError: no" in unready(consumption))
        await until(lambda: unready(consumption) == "")


async def test_commits_that_fail_for_long_make_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume, "STILL_S", 0.05)
    consumer = Consumer()
    consumer.commit_error = KafkaError("no")
    async with consuming(consumer, Work()) as consumption:
        consumer.given.put_nowait([fetch(ONE, b"a")])
        await until(lambda: "offsets can't be committed" in unready(consumption))
        consumer.commit_error = None
        await until(lambda: unready(consumption) == "")
        assert consumer.committed == {ONE: 1}


async def test_a_partition_that_nobody_answers_for_makes_unready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consume, "UNHEARD_S", 0.05)
    consumer = Consumer()
    async with consuming(consumer, Work()) as consumption:
        await until(lambda: "no broker answered for it for" in unready(consumption))
        consumer.last_heard = asyncio.get_running_loop().time() + 60
        assert unready(consumption) == ""


async def test_fetching_that_has_ended_ends_the_consumption() -> None:
    consumer = Consumer()
    consumer.given.put_nowait(FetchingEndedError("no more"))
    async with asyncio.timeout(20):
        with pytest.raises(Retryable, match="no more"):
            await made_of(consumer, Work()).run(asyncio.Event())


@pytest.mark.parametrize(
    ("part", "does"), [(feeds.Feed, "_read"), (partition_processor.PartitionProcessor, "_finish")]
)
async def test_a_part_that_has_ended_by_a_fault_ends_the_consumption(
    monkeypatch: pytest.MonkeyPatch, part: type, does: str
) -> None:
    """Another consumer goes on in its place; the partition does not stand still for ever."""

    async def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(part, does, fail)
    consumer = Consumer()
    consumer.given.put_nowait([fetch(ONE, b"1")])
    with pytest.raises(RuntimeError, match="can't start new thread"):
        async with asyncio.timeout(60):
            await made_of(consumer, Work()).run(asyncio.Event())
    assert not consumer.committed


async def test_a_partition_with_much_unread_is_fetched_again_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "BACKLOG_BYTES", 1000)
    consumer, work = Consumer(), Work()
    work.failures[b"stop"] = Retryable("away")
    async with consuming(consumer, work):
        filler = [b"x" * 2000] * 300
        consumer.given.put_nowait([fetch(ONE, b"stop", *filler), fetch(TWO, b"a")])
        await until(lambda: consumer.at_rest == {ONE})
        work.failures.clear()
        await until(lambda: consumer.committed == {ONE: 301, TWO: 1})
        assert not consumer.at_rest
