"""Callers who send slowly, too much or too often cost the others nothing."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from fastapi import Request

from aviary.http import ServerTls, add_health, listen, make_app, serve
from aviary.http_limits import ENOUGH_FILES, SPARE_FILES, Closed, Limits, Tally, open_files
from aviary.telemetry.registry import new_registry

LONG = 60.0
"""Longer than any of these tests: a bound that is not the one in question."""
CALM = Limits(connections=8, head_s=LONG, body_s=LONG, answer_s=LONG)
GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[..., Awaitable[Wire]]


@asynccontextmanager
async def server(limits: Limits, tls: ServerTls | None = None) -> AsyncIterator[Connect]:
    """Connects to a server with these limits, and sends what it is given."""

    async def ready() -> None:
        return None

    over = asyncio.Event()
    app = add_health(make_app("A server"), ready, new_registry("test"), build="")

    @app.post("/size")
    async def size(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.get("/hang")
    async def hang() -> None:
        await over.wait()

    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, taken, stop, name="test", limits=limits, tls=tls))
    wires: list[Wire] = []

    async def connect(sent: bytes = b"", trusting: ssl.SSLContext | None = None) -> Wire:
        wire = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        wires.append(wire)
        wire[1].write(sent)
        await wire[1].drain()
        return wire

    try:
        yield connect
    finally:
        over.set()
        for _, writer in wires:
            writer.transport.abort()
        await asyncio.gather(*(w.wait_closed() for _, w in wires), return_exceptions=True)
        stop.set()
        await serving


async def status(wire: Wire) -> int:
    """The status of the next answer; its body is read as well."""
    head = await asyncio.wait_for(wire[0].readuntil(b"\r\n\r\n"), LONG)
    lines = head.decode().lower().splitlines()
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    await wire[0].readexactly(length)
    return int(lines[0].split()[1])


async def closed(wire: Wire) -> bytes:
    """What came before the server closed the connection."""
    received = b""
    with suppress(ConnectionError):
        while chunk := await asyncio.wait_for(wire[0].read(4096), LONG):
            received += chunk
    return received


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: a",
        b"\r\n",
    ],
)
async def test_a_head_that_does_not_end_is_closed(begun: bytes) -> None:
    async with server(Limits(head_s=0.2, body_s=LONG, answer_s=LONG)) as connect:
        assert await closed(await connect(begun)) == b""


async def test_a_second_head_that_does_not_end_is_closed() -> None:
    async with server(Limits(head_s=0.5, body_s=LONG, answer_s=LONG)) as connect:
        wire = await connect(GET)
        assert await status(wire) == 200
        wire[1].write(b"GET /")
        assert await closed(wire) == b""


async def test_a_body_that_does_not_end_is_closed() -> None:
    async with server(Limits(head_s=LONG, body_s=0.2, answer_s=LONG)) as connect:
        head = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        assert await closed(await connect(head + b"some")) == b""


async def test_an_answer_that_does_not_come_is_closed() -> None:
    async with server(Limits(head_s=LONG, body_s=LONG, answer_s=0.2)) as connect:
        wire = await connect(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await closed(wire) == b""


async def test_what_is_sent_after_an_early_answer_is_not_waited_for() -> None:
    async with server(CALM) as connect:
        head = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
        assert (await closed(await connect(head))).startswith(b"HTTP/1.1 404")


async def test_a_head_without_end_is_refused_by_its_size() -> None:
    async with server(CALM) as connect:
        reader, writer = await connect(b"GET /healthz HTTP/1.1\r\nx-long: ")
        with suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"a" * 65_536)
                await writer.drain()
        assert await closed((reader, writer)) == b""


async def test_a_large_body_is_no_large_head() -> None:
    async with server(CALM) as connect:
        body = b"b" * 1_000_000
        head = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
        wire = await connect(head + body)
        assert await status(wire) == 200
        wire[1].write(GET)
        assert await status(wire) == 200


async def test_requests_one_after_the_other_and_at_once_are_answered() -> None:
    async with server(CALM) as connect:
        wire = await connect(GET)
        assert await status(wire) == 200
        wire[1].write(GET * 3)
        assert [await status(wire) for _ in range(3)] == [200, 200, 200]


async def test_those_who_send_slowly_give_way_to_those_who_ask() -> None:
    async with server(CALM) as connect:
        slow = [await connect(b"GET /healthz HTTP/1.1\r\nx: ") for _ in range(40)]
        assert await status(await connect(GET)) == 200
        assert await closed(slow[0]) == b""
        slow[-1][1].write(b"y\r\nhost: x\r\n\r\n")
        assert await status(slow[-1]) == 200


async def test_where_all_are_being_answered_the_newest_is_closed() -> None:
    async with server(CALM) as connect:
        asking = [
            await connect(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(CALM.connections)
        ]
        # Each has its turn before the next one comes.
        assert await closed(await connect(GET)) == b""
        assert not any(reader.at_eof() for reader, _ in asking)


async def test_many_silent_connections_leave_the_process_its_files() -> None:
    most = 40
    async with server(Limits(connections=most, head_s=LONG)) as connect:
        wires = [await connect(b"G") for _ in range(most * 5)]
        assert await status(await connect(GET)) == 200
        assert sum([not reader.at_eof() for reader, _ in wires]) <= most


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ServerTls, ssl.SSLContext]:
    """What a server shows, and what its callers trust."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return ServerTls(tmp_path / "server.pem"), context


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["none", "a part"])
async def test_a_handshake_that_does_not_end_is_closed(
    tls: tuple[ServerTls, ssl.SSLContext], begun: bytes
) -> None:
    shown, trusting = tls
    async with server(replace(CALM, head_s=0.5), shown) as connect:
        assert await closed(await connect(begun)) == b""
    async with server(replace(CALM, head_s=5.0), shown) as connect:
        asked = await connect(GET, trusting)
        assert await status(asked) == 200


async def test_many_who_begin_no_handshake_leave_the_process_its_files(
    tls: tuple[ServerTls, ssl.SSLContext],
) -> None:
    shown, trusting = tls
    most = CALM.connections
    async with server(CALM, shown) as connect:
        silent = [await connect() for _ in range(most * 5)]
        assert await closed(silent[0]) == b""
        assert await status(await connect(GET, trusting)) == 200
        assert sum([not reader.at_eof() for reader, _ in silent]) <= most
        assert [await status(await connect(GET, trusting)) for _ in range(3)] == [200, 200, 200]


def test_connections_fit_the_files_that_a_process_may_have() -> None:
    assert Limits(connections=512).within(1024).connections == 512
    assert Limits(connections=5000).within(1024).connections == 1024 - SPARE_FILES
    assert Limits().within(10).connections == 1


NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("had", "gets", "set_to"),
    [
        ((1024, 4096), 4096, (4096, 4096)),
        ((4096, 4096), 4096, None),
        ((1024, 1 << 30), ENOUGH_FILES, (ENOUGH_FILES, 1 << 30)),
        ((1024, NONE), ENOUGH_FILES, (ENOUGH_FILES, NONE)),
        ((NONE, NONE), ENOUGH_FILES, None),
    ],
)
def test_a_process_asks_for_the_files_it_may_have(
    monkeypatch: pytest.MonkeyPatch,
    had: tuple[int, int],
    gets: int,
    set_to: tuple[int, int] | None,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: had)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    assert open_files() == gets
    assert asked == ([] if set_to is None else [set_to])


def test_closed_connections_are_one_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    tally = Tally(lambda: now)
    for _ in range(1000):
        tally.count(Closed.HEAD)
    now = 111.0
    tally.count(Closed.TOO_MANY)

    told = [vars(record)["since_last_line"] for record in caplog.records]
    assert told == [
        {"its head took too long": 1},
        {"its head took too long": 999, "there are too many connections": 1},
    ]


@pytest.mark.parametrize("docs", [False, True])
async def test_pages_about_the_server_are_there_only_where_wanted(docs: bool) -> None:
    shown = {route.path for route in make_app("A", docs=docs).routes if hasattr(route, "path")}
    assert ({"/docs", "/redoc", "/openapi.json"} <= shown) is docs
    assert bool(shown) is docs
