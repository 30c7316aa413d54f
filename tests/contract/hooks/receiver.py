"""A real HTTP server that is called: keeps each request, and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers each request alike, until it is told otherwise."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.silent = False
        """Whether it takes requests, and never answers."""
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def says(self, status: int, body: bytes = b"", **headers: str) -> None:
        """What each request is answered from now on."""
        self.status, self.body = status, body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        self._open.add(writer)
        try:
            await self._answer(reader, writer)
        finally:
            await self._close(writer)

    async def close(self) -> None:
        """Close what is still open, before the loop ends."""
        for writer in list(self._open):
            await self._close(writer)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = (line.split(": ", 1) for line in head[1:] if ": " in line)
            headers = {name.lower(): value for name, value in fields}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = head[0].split(" ")
            self.requests.append(Request(method, target, headers, body))
            if self.silent:
                await reader.read()
                return
            more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            length = f"content-length: {len(self.body)}\r\n"
            first = f"HTTP/1.1 {self.status} So\r\n{length}{more}connection: close\r\n\r\n"
            writer.write(first.encode() + self.body)
            await writer.drain()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
