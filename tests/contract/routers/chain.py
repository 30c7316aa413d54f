"""A chain of services that call each other through a router, and say which versions answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from tests.contract.routers.wire import hang_up

_HEAD_END = b"\r\n\r\n"


class Hops:
    """Keep-alive connections to one service behind a router, taken and put back."""

    def __init__(self, port: int, service: str) -> None:
        self._port = port
        self._service = service
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, headers: Sequence[str]) -> tuple[int, str]:
        """Send one request; its status and its answer."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = ["GET / HTTP/1.1", f"host: {self._service}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        head = (await reader.readuntil(_HEAD_END)).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = (await reader.readexactly(length)).decode()
        self._idle.append((reader, writer))
        return int(head.split()[1]), body

    async def aclose(self) -> None:
        """Hang up."""
        for _, writer in self._idle:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Link:
    """One instance of a version: it asks the next service, if any, and adds its own word.

    Args:
        says: that it adds in front of what the next one answered.
        onward: to the next service.
        passes_on: headers of a request that it sends on, in lower case.
    """

    def __init__(self, says: str, onward: Hops | None, passes_on: frozenset[str]) -> None:
        self._says = says
        self._onward = onward
        self._passes_on = passes_on
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await hang_up([self._server], self._tasks)
        if self._onward is not None:
            await self._onward.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(_HEAD_END)).decode()
                    status, body = 200, self._says
                    if self._onward is not None:
                        lines = head.split("\r\n")[1:]
                        kept = [one for one in lines if one.split(":")[0] in self._passes_on]
                        status, behind = await self._onward.ask(kept)
                        body += behind
                    answer = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n{body}"
                    writer.write(answer.encode())
        finally:
            writer.close()


async def linked(
    stack: AsyncExitStack, port: int, services: Sequence[str], passes_on: frozenset[str]
) -> dict[str, tuple[int, int]]:
    """Put up both versions of each service, which calls the one after it; their ports.

    The old version of each says `o` of itself, and the new one `n`.
    """
    ports: dict[str, tuple[int, int]] = {}
    for service, after in zip(services, [*services[1:], None], strict=True):
        both = []
        for says in "on":
            onward = None if after is None else Hops(port, after)
            both.append(await stack.enter_async_context(Link(says, onward, passes_on)))
        ports[service] = (both[0].port, both[1].port)
    return ports
