"""A sender whose producer can never write again connects anew."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors

from adapters import kafka
from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, Outgoing, Sender

RECORD = Outgoing("aviary.events", b"{}", b"shop-1", ())


class Producer:
    """Refuses every record with one error, for good."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self._sender = SimpleNamespace(sender_task=None)
        self.written: list[bytes] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, _: str, *, value: bytes, **__: Any) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._error is not None:
            done.set_exception(self._error)
        else:
            self.written.append(value)
            done.set_result(None)
        return done


async def sender_of(monkeypatch: pytest.MonkeyPatch, *producers: Producer) -> Sender:
    left = list(producers)
    monkeypatch.setattr(kafka, "make_producer", lambda _: left.pop(0))
    sender = Sender(KafkaOptions(bootstrap="127.0.0.1:1"))
    sender.start()
    await _connected(sender)
    return sender


async def _connected(sender: Sender) -> None:
    assert sender._connecting is not None
    await sender._connecting


@pytest.mark.parametrize("lost", [errors.OutOfOrderSequenceNumber, errors.UnknownProducerId])
async def test_a_producer_whose_sequence_is_lost_is_replaced(
    monkeypatch: pytest.MonkeyPatch, lost: type[Exception]
) -> None:
    second = Producer(None)
    sender = await sender_of(monkeypatch, Producer(lost()), second)
    with pytest.raises(Retryable):
        await sender.send([RECORD])
    await _connected(sender)
    await sender.send([RECORD])
    assert second.written == [b"{}"]


async def test_a_producer_that_is_only_told_to_wait_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Producer(None)
    sender = await sender_of(monkeypatch, Producer(errors.NotEnoughReplicasError()), second)
    for _ in range(2):
        with pytest.raises(Retryable):
            await sender.send([RECORD])
    assert second.written == []
