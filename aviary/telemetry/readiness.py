"""Whether a part can do its work, as a metric: `/readyz` tells only who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from adapters.errors import Retryable

_log = structlog.get_logger("aviary.ready")

EVERY_S: Final = 5.0
PATIENCE_S: Final = 5.0
"""An answer that takes longer is none."""


async def is_ready(ready: Callable[[], Awaitable[None]], patience_s: float = PATIENCE_S) -> str:
    """Why a part can't do its work now; empty if it can."""
    try:
        async with asyncio.timeout(patience_s):
            await ready()
    except Retryable as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {patience_s:g} s"
    except Exception as error:  # noqa: BLE001 - a fault of ours must not end the asking
        _log.exception("readiness_fault")
        return f"{type(error).__name__}: {error}"
    return ""


@asynccontextmanager
async def told(
    ready: Callable[[], Awaitable[None]],
    registry: CollectorRegistry,
    role: str,
    pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(EVERY_S),
) -> AsyncIterator[None]:
    """Tell by `aviary_ready{role}` and in the log whether a part is ready, for as long as it runs.

    Args:
        ready: raises `Retryable` with the reason while the part can't work.
        registry: of the part.
        role: worker, bridge, webhook or watch.
        pause: between two questions.
    """
    text = "1 while this part can do its work, 0 while what it needs is away."
    gauge = Gauge("aviary_ready", text, ["role"], registry=registry).labels(role)

    async def ask_for_ever() -> None:
        before: str | None = None
        while True:
            reason = await is_ready(ready)
            gauge.set(0 if reason else 1)
            if bool(reason) != bool(before) or before is None:
                level = _log.warning if reason else _log.info
                level("not_ready" if reason else "ready", part=role, reason=reason)
            before = reason
            await pause()

    asking = asyncio.create_task(ask_for_ever(), name=f"ready-{role}")
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait({asking})
