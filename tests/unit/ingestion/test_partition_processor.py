from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapters.errors import Retryable
from aviary.bridge import partition_processor
from aviary.bridge.partition_processor import PartitionProcessor
from tests.unit.ingestion.fakes import Record


class Work:
    """Does records; fails on those it is told to, as often as told; waits where told to."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.batches: list[list[int]] = []
        self.failures: dict[int, list[Exception]] = {}
        self.gates: dict[int, asyncio.Event] = {}
        self.begun = asyncio.Event()
        self.progress = asyncio.Condition()
        self.retries = 0
        self.up: list[tuple[int, str]] = []

    async def __call__(self, records: Sequence[Record]) -> None:
        self.begun.set()
        self.batches.append([record.offset for record in records])
        for record in records:
            await self._do(record)

    async def _do(self, record: Record) -> None:
        if self.failures.get(record.offset):
            raise self.failures[record.offset].pop()
        if record.offset in self.gates:
            await self.gates[record.offset].wait()
        async with self.progress:
            self.done.append(record.offset)
            self.progress.notify_all()

    async def given_up(self, record: Record, error: Exception) -> None:
        self.up.append((record.offset, str(error)))
        async with self.progress:
            self.done.append(record.offset)
            self.progress.notify_all()

    def retried(self) -> None:
        self.retries += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(120), self.progress:
            await self.progress.wait_for(lambda: len(self.done) >= count)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_processor, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(partition_processor, "CAP_BACKOFF_S", 0.002)


def _records(*offsets: int) -> list[Record]:
    return [Record(b"", offset=offset) for offset in offsets]


async def test_records_are_done_in_order_and_the_next_offset_follows() -> None:
    work = Work()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    assert (processor.next_offset, processor.position) == (None, None)
    processor.put(_records(5, 6, 9))
    assert processor.position == 5
    await work.until(3)
    await processor.close(1)
    assert work.done == [5, 6, 9]
    assert processor.next_offset == 10


async def test_a_failing_record_is_repeated_and_nothing_overtakes_it() -> None:
    work = Work()
    work.failures[5] = [Retryable("a"), ZeroDivisionError("a fault of ours"), Retryable("b")]
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5, 6))
    await work.until(2)
    await processor.close(1)
    assert work.done == [5, 6]
    assert work.retries == 3


async def test_closing_finishes_the_record_at_hand_and_no_other() -> None:
    work = Work()
    work.gates[5] = asyncio.Event()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5, 6))
    await work.begun.wait()
    closing = asyncio.create_task(processor.close(10))
    await asyncio.sleep(0)
    work.gates[5].set()
    await closing
    assert work.done == [5]
    assert processor.next_offset == 6


async def test_closing_does_not_wait_for_a_record_that_hangs() -> None:
    work = Work()
    work.gates[5] = asyncio.Event()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5))
    await work.begun.wait()
    await processor.close(0.01)
    assert (work.done, processor.next_offset, processor.position) == ([], None, 5)


async def test_closing_ends_the_repeating() -> None:
    work = Work()
    work.failures[5] = [Retryable("away")] * 1_000_000
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5))
    await work.begun.wait()
    async with asyncio.timeout(60):
        await processor.close(60)
    assert processor.next_offset is None


async def test_what_waits_is_done_together_but_never_more_than_allowed() -> None:
    work = Work()
    work.gates[1] = asyncio.Event()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up, most=3)
    processor.put(_records(1))
    await work.begun.wait()
    processor.put(_records(2, 3, 4, 5, 9))
    work.gates[1].set()
    await work.until(6)
    await processor.close(1)
    assert work.batches == [[1], [2, 3, 4], [5, 9]]
    assert processor.next_offset == 10


async def test_records_done_together_are_repeated_together_and_none_is_passed_over() -> None:
    work = Work()
    work.failures[3] = [Retryable("a")]
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up, most=3)
    processor.put(_records(2, 3, 4))
    await work.until(4)
    await processor.close(1)
    assert work.batches == [[2, 3, 4], [2, 3, 4]]
    assert processor.next_offset == 5


async def test_a_record_that_is_a_fault_each_time_is_given_up_and_the_next_is_done() -> None:
    work = Work()
    work.failures[6] = [ZeroDivisionError("oops")] * 1_000
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5, 6, 7))
    await work.until(3)
    await processor.close(1)
    assert work.done == [5, 6, 7]
    assert work.up == [(6, "oops")]
    assert work.batches.count([6]) == partition_processor.FAULTS
    assert processor.next_offset == 8


async def test_of_records_done_together_only_the_faulty_one_is_given_up() -> None:
    work = Work()
    work.failures[3] = [ZeroDivisionError("oops")] * 1_000
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up, most=9)
    processor.put(_records(1, 2, 3, 4))
    # 1 and 2 are done with the first attempt, and once more by themselves.
    await work.until(6)
    await processor.close(1)
    assert work.up == [(3, "oops")]
    assert work.done == [1, 2, 1, 2, 3, 4]
    assert processor.next_offset == 5


async def test_what_cannot_be_kept_now_is_kept_later() -> None:
    work = Work()
    work.failures[5] = [ZeroDivisionError("oops")] * 1_000
    away = [Retryable("Kafka is away"), Retryable("Kafka is away")]

    async def give_up(record: Record, error: Exception) -> None:
        if away:
            raise away.pop()
        await work.given_up(record, error)

    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=give_up)
    processor.put(_records(5, 6))
    await work.until(2)
    await processor.close(1)
    assert work.up == [(5, "oops")]
    assert processor.next_offset == 7


async def test_while_something_is_away_nothing_is_given_up() -> None:
    work = Work()
    work.failures[5] = [Retryable("away")] * 20
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(5))
    await work.until(1)
    await processor.close(1)
    assert (work.up, work.done) == ([], [5])


async def test_there_is_room_again_when_records_are_taken() -> None:
    work = Work()
    work.gates[0] = asyncio.Event()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put(_records(*range(partition_processor.ROOM + 1)))
    await work.begun.wait()
    waiting = asyncio.create_task(processor.room())
    drained = asyncio.create_task(processor.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    work.gates[0].set()
    async with asyncio.timeout(60):
        await waiting
        await drained
    assert processor.backlog == 0
    await processor.close(1)


async def test_a_few_large_records_leave_no_room_either() -> None:
    work = Work()
    work.gates[0] = asyncio.Event()
    processor = PartitionProcessor(work, lambda: None, work.retried, give_up=work.given_up)
    processor.put([Record(b"", offset=0), Record(b"x" * partition_processor.ROOM_BYTES, offset=1)])
    await work.begun.wait()
    waiting = asyncio.create_task(processor.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    work.gates[0].set()
    async with asyncio.timeout(60):
        await waiting
    await processor.close(1)
