"""Streams over a real server: resumed by the last id, bounded, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from aviary.api.answers import ApiOptions
from aviary.api.callers_file import CallersFile
from aviary.http import listen, serve
from aviary.http_limits import Limits
from tests.unit.api.fakes import (
    NOTIFICATION,
    FakeSource,
    app_of,
    bearer,
    callers_file,
    eventually,
    token_of,
)

PATIENCE_S = 60.0
PATH = "/releases/shop-1/events"


@asynccontextmanager
async def served(app: FastAPI, limits: Limits | None = None) -> AsyncIterator[httpx.AsyncClient]:
    taken = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, taken, stop, name="test", limits=limits))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
            yield http
    finally:
        stop.set()
        await serving


async def lines(stream: AsyncIterator[str], until: str) -> list[str]:
    """The lines of a stream, up to one that has a text."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        async for line in stream:
            found.append(line)
            if until in line:
                break
    return found


def ids(found: list[str]) -> list[str]:
    return [line.removeprefix("id: release/shop-1/") for line in found if line.startswith("id: ")]


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


async def test_a_stream_has_what_was_published_and_goes_on_to_the_end(source: FakeSource) -> None:
    source.publish(0, 1)
    async with served(app_of(source)) as http:
        async with http.stream("GET", PATH, headers=bearer("reader")) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert ids(await lines(answer.aiter_lines(), '"n":1')) == ["0", "1"]
        async with http.stream("GET", PATH, headers=bearer("reader")) as answer:
            reading = asyncio.create_task(lines(answer.aiter_lines(), "event: end"))
            source.publish(2, 2, 3)
            source.end()
            assert ids(await reading) == ["0", "1", "2", "3"]
    assert source.readers == 1


@pytest.mark.parametrize(
    ("last", "expected"), [("1", ["2", "3"]), ("3", []), ("99", ["0", "1", "2", "3"])]
)
async def test_a_stream_is_resumed_after_the_last_id(
    source: FakeSource, last: str, expected: list[str]
) -> None:
    source.publish(0, 1, 2, 3)
    source.end()
    headers = bearer("reader") | {"last-event-id": f"release/shop-1/{last}"}
    async with (
        served(app_of(source)) as http,
        http.stream("GET", PATH, headers=headers) as answer,
    ):
        assert ids(await lines(answer.aiter_lines(), "event: end")) == expected


async def test_with_status_the_release_is_shown_when_it_changes_and_as_it_ended(
    source: FakeSource,
) -> None:
    async with served(app_of(source, options=ApiOptions(tick_s=0.02))) as http:
        url = f"{PATH}?status=true"
        async with http.stream("GET", url, headers=bearer("reader")) as answer:
            reading = asyncio.create_task(lines(answer.aiter_lines(), "event: end"))
            await asyncio.sleep(0.2)
            source.end()
            found = await reading
    after = [found[at + 1] for at, line in enumerate(found) if line == "event: status"]
    phases = [json.loads(line.removeprefix("data: "))["phase"] for line in after]
    assert phases == ["running", "finalized"]


async def test_a_stream_that_has_nothing_to_say_says_so(source: FakeSource) -> None:
    async with (
        served(app_of(source, options=ApiOptions(heartbeat_s=0.05))) as http,
        http.stream("GET", PATH, headers=bearer("reader")) as answer,
    ):
        assert ": still here" in await lines(answer.aiter_lines(), ": still here")


async def test_a_token_that_counts_no_more_ends_its_streams(source: FakeSource) -> None:
    file = callers_file()
    app = app_of(source, file=file, options=ApiOptions(heartbeat_s=0.05))
    async with (
        served(app) as http,
        http.stream("GET", PATH, headers=bearer("reader")) as answer,
    ):
        stream = answer.aiter_lines()
        await lines(stream, ": still here")
        file.tokens.pop("reader")
        await lines(stream, "never")  # it ends by itself


async def test_a_stream_ends_after_its_time(source: FakeSource) -> None:
    async with (
        served(app_of(source, options=ApiOptions(stream_s=0.2))) as http,
        http.stream("GET", PATH, headers=bearer("reader")) as answer,
    ):
        assert "event: end" not in await lines(answer.aiter_lines(), "never")


async def test_streams_are_bounded_in_all_and_for_each_caller(source: FakeSource) -> None:
    options = ApiOptions(streams_most=3, streams_each=2)
    async with served(app_of(source, options=options)) as http:

        async def opened(who: str) -> httpx.Response:
            request = http.build_request("GET", PATH, headers=bearer(who))
            return await http.send(request, stream=True)

        answers = [await opened("reader") for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        others = [await opened("all") for _ in range(2)]
        assert [one.status_code for one in others] == [200, 503]
        assert others[1].headers["retry-after"]
        for one in (*answers, *others):
            await one.aclose()

        async def free() -> bool:
            answer = await opened("reader")
            await answer.aclose()
            return answer.status_code == 200

        await eventually(free)


async def test_a_reader_that_takes_nothing_is_closed_and_alerts_go_on(source: FakeSource) -> None:
    large = "x" * 100_000
    source.published = [{"id": f"release/shop-1/{n}", "data": {"large": large}} for n in range(200)]
    app = app_of(source, options=ApiOptions(heartbeat_s=0.2))
    async with served(app, Limits(answer_s=1.0)) as http:
        host, port = http.base_url.host, http.base_url.port
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (host, port))
        head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of('all')}\r\n\r\n"
        await loop.sock_sendall(slow, head.encode())
        for _ in range(20):
            answer = await http.post("/alertmanager", json=NOTIFICATION, headers=bearer("alerts"))
            assert answer.status_code == 200
        # It reads on only after its time: what it gets ends before the record does.
        await asyncio.sleep(2.0)
        got = 0
        async with asyncio.timeout(PATIENCE_S):
            try:
                while chunk := await loop.sock_recv(slow, 1 << 20):
                    got += len(chunk)
            except ConnectionResetError:
                got += 0
        slow.close()
        assert got < 15_000_000
        # One that reads is not closed, though all of it takes longer than an answer may.
        async with http.stream("GET", PATH, headers=bearer("reader")) as whole:
            source.publish(0)
            taken = 0
            async for chunk in whole.aiter_bytes(1_000_000):
                taken += len(chunk)
                await asyncio.sleep(0.1)
                if taken > 19_000_000:
                    break


def test_a_file_of_callers_can_be_copied() -> None:
    assert CallersFile.model_validate(callers_file().model_dump()) == callers_file()
