"""Threads for what takes long, those of alerts apart from those of deploy events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

LARGE_AT_ONCE: Final = 2
"""Records larger than most that are in memory at the same time, for one kind of work."""
SWITCH_S: Final = 0.001
"""How long one of these threads may keep the event loop waiting between two steps of its own."""
_T = TypeVar("_T")


class Threads:
    """Threads of one kind of work: nothing that is done here holds up any other kind."""

    def __init__(self, what: str, count: int = 1) -> None:
        """Name them; they begin with the first work.

        More than one only where the work is not Python's own: they would take turns.
        """
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=what)
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)
        """Held while a record that is larger than most is in memory."""

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """Do some work in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
