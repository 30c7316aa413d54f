"""A request of Aviary's own to an instance, for images without a check."""

from __future__ import annotations

from typing import Any

import aiohttp

from schemas.deployment import Endpoint
from schemas.outside import one_line

_GOOD = range(200, 400)


async def refused(session: aiohttp.ClientSession, endpoint: Endpoint, probe: dict[str, Any]) -> str:
    """Why an instance is not ready; empty: it is."""
    path, timeout = str(probe.get("path", "/")), probe.get("timeout")
    patience = aiohttp.ClientTimeout(
        total=float(timeout) if isinstance(timeout, int | float) else 2
    )
    try:
        async with session.get(
            f"http://{endpoint}{path}", timeout=patience, allow_redirects=False
        ) as answer:
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return f"GET {path}: {one_line(str(error) or type(error).__name__)[:200]}"
    return "" if status in _GOOD else f"GET {path}: {status}"
