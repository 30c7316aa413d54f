"""What a process does beside its work, for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

AGAIN_S: Final = 30.0
"""Seconds until what has failed is begun anew."""
_log = structlog.get_logger("aviary.background")


async def again_and_again(
    name: str,
    work: Callable[[], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do something until it ends by itself; a fault of it is told, and it is begun anew.

    A task that nobody awaits would end without a word, and its process look well without it.

    Args:
        name: of it, in logs.
        work: does it, from its beginning.
        sleep: waits that many seconds.
    """
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it is, it is told whole
            _log.exception("background_fault", task=name, again_in_s=AGAIN_S)
            await sleep(AGAIN_S)
        else:
            return
