"""Being the only one who does something, from a coroutine: a folder that is locked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.routers.files import locked, said_by_path


@asynccontextmanager
async def alone(folder: Path, within: float) -> AsyncIterator[None]:
    """Hold the lock of a folder, which is made where it is not there.

    Args:
        folder: named after what is done alone.
        within: seconds to wait for another.

    Raises:
        Retryable: another held on for longer, or the folder can't be made.
    """
    with said_by_path(folder):
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    held = locked(folder, within)
    entering = asyncio.ensure_future(asyncio.to_thread(held.__enter__))
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:  # the thread goes on, and may get it yet
        entering.add_done_callback(lambda done: done.exception() or held.__exit__(None, None, None))
        raise
    try:
        yield
    finally:
        held.__exit__(None, None, None)
