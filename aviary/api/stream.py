"""Server-sent events: sent at each reader's own pace, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aviary.http_limits import PROLONG

STREAM_TYPE: Final = "text/event-stream; charset=utf-8"
HEARTBEAT: Final = b": still here\n\n"


class EventStream(Response):
    """Sends frames until there are no more, or the reader has gone.

    A reader that takes nothing for as long as an answer may take is closed by the server, which
    counts anew with each frame that was taken: no more than one is ever waiting for it here.

    Args:
        frames: what is sent.
        left: called at the end, whatever ended it.
        headers: beside those of a stream.
    """

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        left: Callable[[], None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
            media_type=STREAM_TYPE,
        )
        # There is no length, and no end that is known.
        self.raw_headers = [one for one in self.raw_headers if one[0] != b"content-length"]
        self._frames = frames
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it."""
        prolong: Callable[[], None] = scope.get(PROLONG) or (lambda: None)
        writing = asyncio.create_task(self._write(send, prolong))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            writing.cancel()
            await asyncio.wait({writing, gone})
            self._left()
        if not writing.cancelled():
            writing.result()

    async def _write(self, send: Send, prolong: Callable[[], None]) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async with contextlib.aclosing(self._frames) as frames:  # type: ignore[type-var]
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                prolong()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
