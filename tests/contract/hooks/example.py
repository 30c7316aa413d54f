"""The hook of docs/contributing.md, as it is written there, and who is called by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from adapters.ports import HookCaller
from schemas.hooks import HookAnswer, HookEvent
from tests.guide import load

_PAGE = load("adapters/hooks/line.py")


class Example:
    """A server of lines, in this process."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._answer: bytes | None = b"\n"
        self.caller: HookCaller

    def arrived(self) -> list[HookEvent]:
        return [HookEvent.model_validate_json(line) for line in self._lines]

    def says(self, answer: HookAnswer) -> None:
        self._answer = answer.model_dump_json().encode() + b"\n"

    def break_down(self) -> None:
        self._answer = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Example]:
        """Listen."""
        server = await asyncio.start_server(self._answered, "127.0.0.1", limit=2**20)
        (port,) = {socket.getsockname()[1] for socket in server.sockets}
        connection: Any = _PAGE.LineConnection(host="127.0.0.1", port=port)
        self.caller = _PAGE.LineHook(connection, 20.0)
        async with server:
            yield self

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.append(await reader.readline())
        if self._answer is not None:
            writer.write(self._answer)
        writer.close()
