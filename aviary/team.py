"""The workers of a process at work: together, and ended within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from temporalio.worker import Worker

from aviary.queues import GRACE
from schemas.outside import TEXT_MOST, cut

STOPS_WITHIN_S: Final = GRACE.total_seconds() + 3
"""A worker that has not ended by then never will."""


class Team:
    """The workers of a process at work: together until one fails or all are told to stop.

    A worker whose polls fail for good is of no use any more, and of no harm to itself: the SDK then
    answers what it still gets with failures that the server refuses, the cancellations of its
    running activities among them, and waits for those activities for ever. So nobody waits for it.
    """

    def __init__(self) -> None:
        """No worker yet."""
        self._failed = asyncio.Event()
        self._failure = ""
        self._running: dict[asyncio.Task[None], Worker] = {}

    async def failed(self, error: BaseException) -> None:
        """Take a worker's word that it has failed; give it to the SDK as `on_fatal_error`."""
        self._failure = self._failure or _words(error)
        self._failed.set()

    def start(self, workers: Sequence[Worker]) -> None:
        """Have them work."""
        for worker in workers:
            self._running[asyncio.create_task(worker.run(), name=worker.task_queue)] = worker

    async def failure(self) -> str:
        """Return why, once a worker has failed."""
        waiting = asyncio.create_task(self._failed.wait())
        try:
            done, _ = await asyncio.wait(
                {waiting, *self._running}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        for task in done - {waiting}:
            error = task.exception()
            self._failure = self._failure or f"queue {task.get_name()}: {_words(error)}"
        return self._failure

    async def stop(self) -> bool:
        """Have them finish what runs, and hand back the rest; whether all came to their end."""
        stopping = {asyncio.create_task(worker.shutdown()) for worker in self._running.values()}
        _, left = await asyncio.wait(stopping | self._running.keys(), timeout=STOPS_WITHIN_S)
        for task in left:
            task.cancel()
        for task in self._running.keys() - left:
            task.exception()  # told by `failure` already
        return not left


def _words(error: BaseException | None) -> str:
    """An error and what caused it, in one line."""
    words: list[str] = []
    while error is not None:
        words.append(str(error) or type(error).__name__)
        error = error.__cause__
    return cut(": ".join(words), TEXT_MOST) or "it ended"
