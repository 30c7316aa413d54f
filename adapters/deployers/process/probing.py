"""Whether an instance is ready, as its recipe says; and why not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import httpx

from adapters.deployers.process.recipe import Readiness

HOST: Final = "127.0.0.1"
"""Where processes take requests."""


async def why_not_ready(
    ready: Readiness, port: int, age: float, client: httpx.AsyncClient, within: float
) -> str:
    """Why a process that runs is not ready; empty: it is.

    Args:
        ready: of its recipe.
        port: of the instance.
        age: seconds since it began.
        client: for HTTP.
        within: seconds that an answer may take.
    """
    if ready.seconds is not None:
        return "" if age >= ready.seconds else f"it is ready after {ready.seconds:g} s"
    if ready.http is not None:
        return await _why_no_answer(ready.http, port, client, within)
    return await _why_no_connection(port, within)


async def _why_no_answer(path: str, port: int, client: httpx.AsyncClient, within: float) -> str:
    try:
        answer = await client.get(f"http://{HOST}:{port}{path}", timeout=within)
    except httpx.HTTPError as error:
        return f"GET {path}: {type(error).__name__}"
    return "" if answer.is_success else f"GET {path}: answered {answer.status_code}"


async def _why_no_connection(port: int, within: float) -> str:
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(HOST, port)
    except (OSError, TimeoutError) as error:
        return f"port {port}: {error or 'no answer'}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
