"""The HTTP server of a pod: small answers, connections that stay open, and an end in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

_HEAD_MOST = 65_536


class Pages:
    """Answers GET with a version; `/pod` with the pod's name.

    Args:
        version: what it answers.
        name: of the pod.
        is_ill: whether it answers 503 to everything, just now.
        other: what it answers to a path instead; None: 404.
    """

    def __init__(
        self,
        version: str,
        name: str,
        is_ill: Callable[[], bool],
        other: Callable[[str], str | None] | None = None,
    ) -> None:
        self._version, self._name, self._is_ill, self._other = version, name, is_ill, other
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._busy = 0
        self._ending = False

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(
            self._connected, host, port, ssl=tls, limit=_HEAD_MOST, backlog=512
        )

    async def finish(self, grace_s: float) -> None:
        """Take no more connections, answer what is under way, and close."""
        self._ending = True
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._busy:  # noqa: ASYNC110 - of a program that is about to end
                    await asyncio.sleep(0.01)
        self.close()

    def close(self) -> None:
        """Close at once."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        ends = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError)
        try:
            with contextlib.suppress(*ends):
                while not self._ending:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    self._busy += 1
                    try:
                        await reader.readexactly(_length(head))
                        writer.write(self._answer(head))
                        await writer.drain()
                    finally:
                        self._busy -= 1
                    if "\r\nconnection: close" in head.lower():
                        break
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, head: str) -> bytes:
        path = head.split(" ", 2)[1] if head.count(" ") > 1 else "/"
        status, body = "200 OK", self._version
        if self._other is not None:
            found = self._other(path)
            status, body = (status, found) if found is not None else ("404 Not Found", "")
        elif self._is_ill():
            status, body = "503 Service Unavailable", "not yet"
        elif path == "/pod":
            body = self._name
        last = "connection: close\r\n" if self._ending else ""
        lines = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n{last}"
        return f"{lines}content-length: {len(body.encode())}\r\n\r\n{body}".encode()


def _length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and value.strip().isdigit():
            return int(value.strip())
    return 0
