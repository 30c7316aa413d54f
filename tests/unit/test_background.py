"""What runs beside the work: a fault of it is told, and it goes on."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from aviary.background import AGAIN_S, again_and_again


async def test_what_fails_is_told_and_begun_anew() -> None:
    begun, pauses = 0, []

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError("a build that nobody knows")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with capture_logs() as said:
        await again_and_again("builds", work, sleep)
    assert (begun, pauses) == (3, [AGAIN_S, AGAIN_S])
    assert [(one["event"], one["task"], one["log_level"]) for one in said] == [
        ("background_fault", "builds", "error")
    ] * 2
    assert all(one["exc_info"] for one in said)


async def test_it_ends_when_it_is_cancelled() -> None:
    running = asyncio.create_task(again_and_again("builds", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
