"""Threads for what takes long, those of alerts apart from those of deploy events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

_AT_ONCE: Final = 2
_T = TypeVar("_T")


class Threads:
    """A few threads of one kind of work: nothing that is done here holds up any other kind."""

    def __init__(self, what: str) -> None:
        """Name them; they begin with the first work."""
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=what)
        self.large = asyncio.Semaphore(_AT_ONCE)
        """Held while a record that is larger than most is in memory."""

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """Do some work in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
