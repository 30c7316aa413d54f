"""HTTP/1.1 as small and as quick to start as a dozen processes on two cores need it.

For the shop, its load and probes on loopback only: keep-alive, no TLS, no limits on bodies.
Everything that faces a network uses httpx and FastAPI.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

_REASONS: Final = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found"}
_MAX_HEAD: Final = 32_768


class BrokenMessage(OSError):  # noqa: N818 - raised like any other broken connection
    """The other side sent something that is not an HTTP/1.1 message, or closed within one."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a server reads it. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A response. Header names are lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


async def serve(handler: Handler, host: str, port: int) -> asyncio.Server:
    """Listen and answer each request with the handler; connections are kept alive."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            await _answer_all(handler, reader, writer)
        writer.close()

    return await asyncio.start_server(client, host, port, limit=_MAX_HEAD, backlog=512)


class Client:
    """Requests to one address over kept-alive connections.

    A connection that the server closed while it was idle is replaced once and the request sent
    again, as every HTTP client does.
    """

    def __init__(self, host: str, port: int, *, timeout: float = 10.0) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._idle: deque[_Connection] = deque()

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Send a request and read its response.

        Raises:
            OSError: no connection, or it broke.
            TimeoutError: no whole response in time.
        """
        message = _head(f"{method} {path} HTTP/1.1", headers or {}, body)
        async with asyncio.timeout(self._timeout):
            while self._idle:
                connection = self._idle.pop()
                with suppress(ConnectionError, BrokenMessage):
                    return await self._exchange(connection, message)
            return await self._exchange(await _Connection.open(*self._address), message)

    async def _exchange(self, connection: _Connection, message: bytes) -> Response:
        try:
            response = await connection.exchange(message)
        except BaseException:
            connection.close()
            raise
        if response.headers.get("connection") == "close":
            connection.close()
        else:
            self._idle.append(connection)
        return response

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port, limit=_MAX_HEAD))

    async def exchange(self, message: bytes) -> Response:
        self._writer.write(message)
        start, headers, body = await _read(self._reader)
        return Response(int(start.split(" ", 2)[1]), body, headers)

    def close(self) -> None:
        self._writer.close()


async def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Response:
    """One request to a loopback port over a connection of its own. Errors as `Client.request`."""
    client = Client("127.0.0.1", port, timeout=5.0)
    try:
        return await client.request(method, path, headers=headers, body=body)
    finally:
        client.close()


async def _answer_all(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        try:
            start, headers, body = await _read(reader)
        except BrokenMessage:
            return  # closed between requests, or not a client of ours
        method, path, _ = start.split(" ", 2)
        response = await handler(Request(method, path, headers, body))
        reason = _REASONS.get(response.status, "-")
        writer.write(_head(f"HTTP/1.1 {response.status} {reason}", response.headers, response.body))
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding"):
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise BrokenMessage(f"not a whole HTTP/1.1 message: {error}") from error
    return start, headers, body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Servers such as Prometheus answer larger bodies in chunks."""
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


def _head(start: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"content-length: {len(body)}")
    if "host" not in headers and not start.startswith("HTTP/"):
        lines.append("host: localhost")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body
