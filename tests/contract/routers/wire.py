"""A small HTTP client and small servers, so that thousands of requests cost little."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Final, Self

_TURNS: Final = 5
"""Of the event loop, until a connection that it has just taken has a task that was begun."""


@dataclass(frozen=True)
class Answer:
    """What a caller got; status 0 for a connection that broke."""

    status: int
    version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """Calls one service through the router over one keep-alive connection.

    Args:
        port: of the router.
        service: that is called.
        source: address that the connection comes from; any that the machine has.
    """

    def __init__(self, port: int, service: str, source: str | None = None) -> None:
        self._source = None if source is None else (source, 0)
        self._port = port
        self._service = service
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._hang_up()

    async def get(self, **headers: str) -> Answer:
        """Send one request; `_` in a header's name stands for `-`. Never tries twice."""
        return await self.send("GET", **headers)

    async def send(
        self, method: str, *, target: str = "/", host: str = "", **headers: str
    ) -> Answer:
        """Likewise, by any method, for any path and query, and by another name of the service."""
        lines = [f"{method} {target} HTTP/1.1", f"host: {host or self._service}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        try:
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=self._source
                )
            self._writer.write("\r\n".join([*lines, "", ""]).encode())
            answer = await _answer(self._reader)
        except (OSError, asyncio.IncompleteReadError):
            await self._hang_up()
            return Answer(0)
        if answer.headers.get("connection") == "close":
            await self._hang_up()
        return answer

    async def users(
        self, users: Iterable[str], *, method: str = "GET", **request: str
    ) -> dict[str, str]:
        """The version that each user gets; fails if one gets none."""
        got = {}
        for user in users:
            answer = await self.send(method, x_user_id=user, **request)
            assert answer.status == 200, f"user {user}: {answer}"
            got[user] = answer.version
        return got

    async def _hang_up(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split()[1]), body.decode(), headers)


_BETWEEN = 0.002
"""Seconds between two requests of a caller, so that the load leaves something of the machine."""
BAD = "bad"
"""A version that starts so answers 500 to every request."""
CUT = "cut"
"""A version that starts so reads each request and then breaks the connection."""


async def serve_version(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: str
) -> None:
    """Answer every request of a connection with the version, until the peer hangs up."""
    status = "500 Bad" if version.startswith(BAD) else "200 OK"
    answer = f"HTTP/1.1 {status}\r\ncontent-length: {len(version)}\r\n\r\n{version}".encode()
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if version.startswith(CUT):
                    writer.transport.abort()
                    return
                writer.write(answer)
                await writer.drain()
    finally:
        writer.close()


class Instances:
    """Servers of each version name, one or several, on a loop in a thread of its own.

    Args:
        host: the address that they listen on.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def port(self, version: str, number: int = 0) -> int:
        """Port of a server that answers with this version; another number is another server."""
        starting = asyncio.run_coroutine_threadsafe(self._start(version, number), self._loop)
        return starting.result()

    async def _start(self, version: str, number: int) -> int:
        if (version, number) not in self._servers:

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = self._loop.create_task(serve_version(reader, writer, version))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

            self._servers[version, number] = await asyncio.start_server(connected, self._host, 0)
        port: int = self._servers[version, number].sockets[0].getsockname()[1]
        return port

    async def _stop(self) -> None:
        await hang_up(self._servers.values(), self._connections)


async def hang_up(servers: Iterable[asyncio.Server], tasks: Collection[asyncio.Task[None]]) -> None:
    """End servers of the running loop, with the tasks that serve their connections.

    Args:
        servers: that take no more from now on.
        tasks: those that there are; one of a connection that was just taken adds itself.
    """
    for server in servers:
        server.close()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)


def shares(versions: Mapping[str, str]) -> Mapping[str, float]:
    """The share of users that got each version."""
    counts = Counter(versions.values())
    return {version: count / len(versions) for version, count in counts.items()}


class Load:
    """Requests that go on in the background until the block ends, each counted by its outcome."""

    def __init__(
        self,
        port: int,
        service: str,
        callers: int = 4,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        between: float = _BETWEEN,
    ) -> None:
        self._headers = headers
        self._between = between
        self._port = port
        self._service = service
        self._numbers = range(callers)
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = asyncio.Condition()
        self.outcomes: Counter[tuple[int, str]] = Counter()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in self._numbers]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    @property
    def failed(self) -> dict[tuple[int, str], int]:
        """Outcomes other than 200."""
        return {outcome: n for outcome, n in self.outcomes.items() if outcome[0] != 200}

    async def until(self, more: int) -> None:
        """Let so many more requests be answered."""
        goal = self.outcomes.total() + more
        async with self._answered:
            await self._answered.wait_for(lambda: self.outcomes.total() >= goal)

    async def _run(self, number: int) -> None:
        async with Caller(self._port, self._service) as caller:
            sent = 0
            while self._going:
                answer = await caller.get(x_user_id=f"caller-{number}-{sent}", **self._headers)
                self.outcomes[answer.status, answer.version] += 1
                sent += 1
                async with self._answered:
                    self._answered.notify_all()
                await asyncio.sleep(self._between)


@dataclass(frozen=True)
class Request:
    """What an instance got."""

    method: str
    headers: Mapping[str, str]


class Recorder:
    """One instance on the loop of the test, which keeps what it gets.

    Args:
        version: what it answers with, as `serve_version` does.
    """

    def __init__(self, version: str) -> None:
        self.got: list[Request] = []
        self.port = 0
        self._version = version
        self._came = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await hang_up([self._server], self._tasks)

    async def until(self, count: int) -> None:
        """Wait until it has got so many requests."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: len(self.got) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        status = "500 Bad" if self._version.startswith(BAD) else "200 OK"
        answer = f"HTTP/1.1 {status}\r\ncontent-length: {len(self._version)}\r\n\r\n{self._version}"
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._answer(reader, writer, answer.encode())
        finally:
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes
    ) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", "0")))
        async with self._came:
            self.got.append(Request(head[0].split()[0], headers))
            self._came.notify_all()
        writer.write(answer)
        await writer.drain()
