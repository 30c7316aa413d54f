"""One lane for each partition: its records one after the other, lanes side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import structlog

from adapters.errors import Retryable

_log = structlog.get_logger("aviary.bridge")

FIRST_BACKOFF_S: Final = 0.1
CAP_BACKOFF_S: Final = 2.0
"""The longest pause between attempts: also how late an alert may be once Temporal is back."""


class Lane:
    """Does the records of one partition in order, each until it is done."""

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Awaitable[object]],
        on_done: Callable[[], None],
        on_retry: Callable[[], None],
        *,
        most: int = 1,
    ) -> None:
        """Begin at once, in a task of its own.

        Args:
            work: does some records that follow each other; raises `Retryable` when all of them
                must be repeated.
            on_done: called after records that are done.
            on_retry: called after each attempt that failed.
            most: records given to `work` at once, as far as they wait already.
        """
        self._work = work
        self._most = most
        self._on_done = on_done
        self._on_retry = on_retry
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._closing = asyncio.Event()
        self.next_offset: int | None = None
        """The offset after the last record that is done; None before the first."""
        self._first_offset: int | None = None
        self._task = asyncio.create_task(self._run(), name="lane")

    @property
    def backlog(self) -> int:
        """Records taken and not begun."""
        return self._queue.qsize()

    @property
    def position(self) -> int | None:
        """The offset of the first record that is not done; None before there is any."""
        return self._first_offset if self.next_offset is None else self.next_offset

    def put(self, records: Iterable[Any]) -> None:
        """Take records, in the order of their offsets."""
        for record in records:
            if self._first_offset is None:
                self._first_offset = record.offset
            self._queue.put_nowait(record)

    async def _run(self) -> None:
        while not self._closing.is_set():
            records = await self._take()
            if self._closing.is_set() or not await self._finish(records):
                return
            self.next_offset = records[-1].offset + 1
            self._on_done()

    async def _take(self) -> list[Any]:
        records = [await self._queue.get()]
        while len(records) < self._most and not self._queue.empty():
            records.append(self._queue.get_nowait())
        return records

    async def _finish(self, records: Sequence[Any]) -> bool:
        """Repeat these records until they are done; False if the lane closes before that."""
        delay = FIRST_BACKOFF_S
        first = records[0]
        where = {
            "topic": first.topic,
            "partition": first.partition,
            "offset": first.offset,
            "records": len(records),
        }
        while True:
            try:
                await self._work(records)
            except Retryable as error:
                _log.warning("will_retry", **where, delay_s=delay, error=str(error))
            except Exception:  # noqa: BLE001 - a record must be neither skipped nor crash us
                # A fault of ours: loud, and waiting for a version of us that can do it.
                _log.exception("will_retry_after_a_fault", **where, delay_s=delay)
            else:
                return True
            self._on_retry()
            if await self._closes_within(delay):
                return False
            delay = min(delay * 2, CAP_BACKOFF_S)

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
