"""Real receivers of notices on 127.0.0.1: an HTTP server and a mail server, each a few lines."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class HttpReceiver:
    """Keeps every request's path and body; answers with `status`."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200
        self.answer = b"{}"
        self.requests: list[tuple[str, bytes]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(
            line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
        )
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        self.requests.append((head.split(" ")[1], body))
        size = f"HTTP/1.1 {self.status} So\r\ncontent-length: {len(self.answer)}\r\n"
        writer.write(size.encode() + b"connection: close\r\n\r\n" + self.answer)
        await writer.drain()
        writer.close()


class MailReceiver:
    """Keeps every mail; answers the end of one with `answer`."""

    def __init__(self) -> None:
        self.port = 0
        self.answer = "250 taken"
        self.mails: list[EmailMessage] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SMTP until the client leaves."""
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper().decode()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                await self._take(reader, writer)
            else:
                said = {"EHLO": "250-here\r\n250 AUTH PLAIN LOGIN", "AUTH": "235 known"}
                writer.write(f"{said.get(word, '250 fine')}\r\n".encode())
            await writer.drain()
            if word == "QUIT":
                break
        writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if self.answer.startswith("250"):
            found = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            assert isinstance(found, EmailMessage)
            self.mails.append(found)
        writer.write(f"{self.answer}\r\n".encode())


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1; gives the port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
