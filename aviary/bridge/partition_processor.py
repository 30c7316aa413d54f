"""One processor a partition: its records one after the other, partitions side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import structlog

from adapters.backoff import doubling
from adapters.errors import Retryable

_log = structlog.get_logger("aviary.bridge")

FIRST_BACKOFF_S: Final = 0.1
CAP_BACKOFF_S: Final = 2.0
"""The longest pause between attempts: also how late an alert may be once Temporal is back."""
ROOM: Final = 200
ROOM_BYTES: Final = 256 * 1024
"""Records, and bytes of them, that may wait: from there on there is no room for more."""
FAULTS: Final = 3
"""Attempts at a record that end in a fault of ours, before it is given up."""


class PartitionProcessor:
    """Does the records of one partition in order, each until it is done or given up."""

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Awaitable[object]],
        on_done: Callable[[], None],
        on_retry: Callable[[], None],
        *,
        give_up: Callable[[Any, Exception], Awaitable[object]],
        most: int = 1,
    ) -> None:
        """Begin at once, in a task of its own.

        Args:
            work: does some records that follow each other; raises `Retryable` when all of them
                must be repeated.
            on_done: called after records that are done.
            on_retry: called after each attempt that failed.
            give_up: keeps a record that `work` fails at each time for another reason than that
                something is away; raises `Retryable` when it must be kept again.
            most: records given to `work` at once, as far as they wait already.
        """
        self._work = work
        self._most = most
        self._on_done = on_done
        self._on_retry = on_retry
        self._give_up = give_up
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._bytes = 0
        self._busy = False
        self._moved = asyncio.Event()
        self._closing = asyncio.Event()
        self.next_offset: int | None = None
        """The offset after the last record that is done; None before the first."""
        self.problem = ""
        """Why the record at hand is not done yet; empty while nothing is wrong with it."""
        self.since = 0.0
        """Since when there is a problem, by the loop's clock."""
        self._fault: Exception = RuntimeError("none")
        self._first_offset: int | None = None
        self._task = asyncio.create_task(self._run(), name="partition")

    @property
    def backlog(self) -> int:
        """Records taken and not begun."""
        return self._queue.qsize()

    @property
    def position(self) -> int | None:
        """The offset of the first record that is not done; None before there is any."""
        return self._first_offset if self.next_offset is None else self.next_offset

    def check(self) -> None:
        """Raise what has ended the processor before it was closed, if anything has."""
        if self._task.done():
            self._task.result()

    def put(self, records: Iterable[Any]) -> None:
        """Take records, in the order of their offsets."""
        for record in records:
            if self._first_offset is None:
                self._first_offset = record.offset
            self._bytes += record.size
            self._queue.put_nowait(record)

    async def room(self) -> None:
        """Wait until there is room for more records."""
        await self._until(lambda: self.backlog < ROOM and self._bytes < ROOM_BYTES)

    async def drained(self) -> None:
        """Wait until all records are done."""
        await self._until(lambda: self._queue.empty() and not self._busy)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    async def _run(self) -> None:
        while not self._closing.is_set():
            records = await self._take()
            if self._closing.is_set() or not await self._finish(records):
                return
            self._busy = False
            self._moved.set()

    async def _take(self) -> list[Any]:
        records = [await self._queue.get()]
        self._busy = True
        while len(records) < self._most and not self._queue.empty():
            records.append(self._queue.get_nowait())
        self._bytes -= sum(record.size for record in records if record is not None)
        self._moved.set()
        return records

    async def _finish(self, records: Sequence[Any]) -> bool:
        """Repeat these records until they are done; False if it is closed before that."""
        faults = 0
        delays = doubling(FIRST_BACKOFF_S, CAP_BACKOFF_S)
        while True:
            fault = await self._attempt(records, give_up=faults >= FAULTS)
            if not self.problem:
                self.next_offset = records[-1].next_offset
                self._on_done()
                return True
            self._on_retry()
            if fault and len(records) > 1:
                # One of them brings it out: each by itself, so that the others are done.
                return await self._finish_each(records)
            faults += fault
            if await self._closes_within(next(delays)):
                return False

    async def _finish_each(self, records: Sequence[Any]) -> bool:
        for record in records:
            if self._closing.is_set() or not await self._finish([record]):
                return False
        return True

    async def _attempt(self, records: Sequence[Any], *, give_up: bool) -> bool:
        """Try once; whether it ended in a fault of ours. A failure leaves a `problem`."""
        try:
            if give_up:
                await self._give_up(records[0], self._fault)
            else:
                await self._work(records)
        except Retryable as error:
            _log.warning("will_retry", **_where(records), error=str(error))
            self._note(error)
            return False
        except Exception as error:  # noqa: BLE001 - a record must be neither skipped nor crash us
            _log.exception("will_retry_after_a_fault", **_where(records))
            self._fault = error
            self._note(error)
            return True
        self.problem = ""
        return False

    def _note(self, error: Exception) -> None:
        if not self.problem:
            self.since = asyncio.get_running_loop().time()
        self.problem = f"{type(error).__name__}: {error}"

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, grace_s: float) -> None:
        """Finish what is at hand if that takes at most `grace_s` seconds; begin no other."""
        self._closing.set()
        self._queue.put_nowait(None)
        done, _ = await asyncio.wait({self._task}, timeout=grace_s)
        if not done:
            # It will be delivered again, and doing it twice has one effect.
            self._task.cancel()
            await asyncio.wait({self._task})


def _where(records: Sequence[Any]) -> dict[str, Any]:
    first = records[0]
    return {
        "topic": first.topic,
        "partition": first.partition,
        "offset": first.offset,
        "records": len(records),
    }
