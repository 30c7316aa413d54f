"""Failures that nobody waits for any more: they are not logged as faults that nobody has read."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import errors

from activities.hooks import _with_heartbeats
from adapters import kafka
from adapters.kafka import KafkaOptions, Outgoing, Sender
from aviary.api.looks import Looks
from aviary.api.problems import Problem

RECORD = Outgoing("aviary.events", b"{}", b"shop-1", ())


@pytest.fixture
async def unread() -> AsyncIterator[Callable[[], list[Any]]]:
    """What the event loop was told of that nobody has read."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def now() -> list[Any]:
        gc.collect()
        return told

    yield now
    assert now() == []


async def given_up(work: asyncio.Task[Any]) -> None:
    """Have it begin, and then cancel it."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait({work})


class Away:
    """A source of releases that does not answer until it is told to fail."""

    def __init__(self) -> None:
        self.fails = asyncio.Event()

    async def look(self, _: str) -> Any:
        await self.fails.wait()
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "away", "Temporal does not answer")


async def test_a_look_that_fails_when_its_reader_has_gone(
    unread: Callable[[], list[Any]],
) -> None:
    away = Away()
    looks = Looks(cast("Any", away), cast("Any", None))
    await given_up(asyncio.create_task(looks.at("shop-1")))
    away.fails.set()
    await asyncio.sleep(0.01)
    del looks
    assert unread() == []


async def test_records_that_fail_when_their_writer_has_gone(
    unread: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answers = [first]

    class Full:
        """Takes one record, and has no room for another."""

        _sender = SimpleNamespace(sender_task=None)

        async def start(self) -> None: ...

        async def send(self, *_: Any, **__: Any) -> asyncio.Future[None]:
            if answers:
                return answers.pop()
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(kafka, "make_producer", lambda _: Full())
    sender = Sender(KafkaOptions(bootstrap="127.0.0.1:1"))
    sender.start()
    assert sender._connecting is not None
    await sender._connecting
    await given_up(asyncio.create_task(sender.send([RECORD, RECORD])))
    first.set_exception(errors.KafkaTimeoutError())
    del first
    await asyncio.sleep(0.01)
    assert unread() == []


async def test_a_call_that_fails_as_it_is_given_up(unread: Callable[[], list[Any]]) -> None:
    async def call() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("hung up")

    await given_up(asyncio.create_task(_with_heartbeats(call())))
    assert unread() == []
