"""One feed for each partition: its raw batches into records, a few at a time, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final

from adapters.kafka_batches import Batch, Record
from aviary.bridge.partition_processor import PartitionProcessor
from aviary.bridge.threads import Threads

CHUNK: Final = 200
CHUNK_BYTES: Final = 256 * 1024
"""Records, and bytes of them, that are read ahead; one more record may be larger than that."""
LARGE: Final = 1024 * 1024
"""Bytes from which on a chunk has a slot to itself until its processor is done with it."""
BACKLOG_BYTES: Final = 1024 * 1024
"""Unread bytes of a partition from which on no more of it is fetched."""


class Feed:
    """Reads the batches of one partition into its processor, as that has room."""

    def __init__(
        self, processor: PartitionProcessor, threads: Threads, on_read: Callable[[], None]
    ) -> None:
        """Begin at once, in a task of its own; `on_read` is called when they are read."""
        self._processor = processor
        self._threads = threads
        self._on_read = on_read
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._unread = 0
        self._task = asyncio.create_task(self._run(), name="feed")

    @property
    def is_full(self) -> bool:
        """Whether no more should be fetched for now."""
        return self._unread >= BACKLOG_BYTES

    def check(self) -> None:
        """Raise what has ended the reading before it was closed, if anything has."""
        if self._task.done():
            self._task.result()

    def put(self, batches: Iterable[Batch]) -> None:
        """Take batches, in the order of their offsets."""
        for batch in batches:
            self._unread += len(batch.data)
            self._batches.put_nowait(batch)

    async def _run(self) -> None:
        while True:
            # All that are there at once: alerts that come together are signalled together.
            batches = [await self._batches.get()]
            while not self._batches.empty():
                batches.append(self._batches.get_nowait())
            await self._read(chain.from_iterable(batch.records() for batch in batches))
            self._unread -= sum(len(batch.data) for batch in batches)
            self._on_read()

    async def _read(self, records: Iterator[Record]) -> None:
        while True:
            await self._processor.room()
            async with self._threads.large:
                chunk = await self._threads.run(_chunk, records)
                self._processor.put(chunk)
                if sum(record.size for record in chunk) > LARGE:
                    await self._processor.drained()
            if not chunk:
                return

    async def close(self) -> None:
        """Read no more; what is unread is fetched again by whoever is next."""
        self._task.cancel()
        await asyncio.wait({self._task})


def _chunk(records: Iterator[Record]) -> list[Record]:
    found: list[Record] = []
    size = 0
    for record in islice(records, CHUNK):
        found.append(record)
        size += record.size
        if size >= CHUNK_BYTES:
            break
    return found
