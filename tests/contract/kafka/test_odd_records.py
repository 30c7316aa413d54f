"""No record stops, slows or loses another, whatever is in it; on a real broker and Temporal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest
from temporalio.client import Client

from adapters.kafka import Outgoing
from aviary.settings import Settings
from schemas import ids
from tests.contract.kafka.parts import (
    Broker,
    alert,
    alerts_signalled,
    deploy,
    open_canary,
    ready,
    running,
    runs,
    until,
)
from tests.contract.kafka.raw import CODECS, GZIP, HEAD, LZ4, ZSTD, batch, produce, sealed


def _given(record: Outgoing, *headers: tuple[str, bytes]) -> Any:
    return record.key, record.value, (*record.headers, *headers)


def _headers(message: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers if name.startswith("aviary-")}


async def _released(client: Client, names: Iterable[str]) -> None:
    wanted = set(names)

    async def all_there() -> bool:
        return (await runs(client, wanted)).keys() == wanted

    await until(all_there, f"releases {wanted}")


@pytest.mark.parametrize("codec", CODECS)
async def test_every_codec_is_read(
    broker: Broker, client: Client, settings: Settings, codec: str
) -> None:
    await open_canary(client)
    deploys = [_given(deploy(f"{codec}-{n}"), ("n", b"\xff")) for n in range(3)]
    alerts = [_given(alert(fingerprint=f"f{n}")) for n in range(3)]
    await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, 1, batch(deploys, CODECS[codec]))
    await produce(broker.options.bootstrap, ids.TOPIC_ALERTS, 2, batch(alerts, CODECS[codec]))

    async def told() -> bool:
        return {each.fingerprint for each in await alerts_signalled(client)} == {"f0", "f1", "f2"}

    async with running(settings):
        await _released(client, (f"{codec}-{n}" for n in range(3)))
        await until(told, "the canary has all alerts")


def _broken_lz4(records: list[Any]) -> bytes:
    made = batch(records, LZ4)
    return sealed(made[:HEAD] + b"\0\1\2\3" + made[HEAD + 4 :])


def _misspelt(records: list[Any]) -> bytes:
    return sealed(batch(records).replace(b"spelt", b"sp\xfflt"))


ODD = {
    "checksum": lambda records: batch(records)[:-1] + b"\xee",
    "broken lz4": _broken_lz4,
    "zstd that is none": lambda records: sealed(batch(records), codec=ZSTD),
    "cut off gzip": lambda records: sealed(batch(records, GZIP)[:-9]),
    "more records than it has": lambda records: sealed(batch(records), count=9),
    "a header's name": _misspelt,
}


@pytest.mark.parametrize("odd", ODD)
async def test_what_cannot_be_read_is_kept_and_costs_nobody_else_anything(
    broker: Broker, client: Client, settings: Settings, odd: str
) -> None:
    bootstrap, topic = broker.options.bootstrap, ids.TOPIC_DEPLOYS
    bad = ODD[odd]([_given(deploy("odd"), ("spelt", b"x"))])
    before = [f"before-{n}" for n in range(40)]
    after = [f"after-{n}" for n in range(40)]
    # All on the topic before the bridge fetches: what it fetched with the bad one is not lost.
    await broker.write(*(deploy(name) for name in before))
    for partition in range(3):
        await produce(bootstrap, topic, partition, bad)
    await broker.write(*(deploy(name) for name in after))
    async with running(settings):
        await _released(client, [*before, *after])
        dead_letters = await broker.read(ids.TOPIC_DEADLETTERS, 3)
        await until(lambda: ready(settings), "it is ready")
    for message in dead_letters:
        told = _headers(message)
        assert told["aviary-reason"] == "unreadable"
        assert told["aviary-source-topic"] == topic
        if "aviary-value-holds" in told:
            assert message.value[16] == 2, "the raw batch"
        else:
            assert message.value == deploy("odd").value
    assert {_headers(message)["aviary-source-partition"] for message in dead_letters} == {
        "0",
        "1",
        "2",
    }


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
async def test_a_record_of_many_megabytes_is_kept_cut_and_its_neighbours_are_done(
    broker: Broker, client: Client, settings: Settings, codec: str
) -> None:
    blanks = b" " * 30_000_000
    records = [
        _given(deploy("first")),
        (b"large", blanks, (("h", b"v"), ("huge", b"x" * 5_000_000))),
        _given(deploy("last")),
    ]
    made = batch(records, CODECS[codec])
    await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, 0, made)
    async with running(settings):
        await _released(client, ["first", "last"])
        [message] = await broker.read(ids.TOPIC_DEADLETTERS, 1)
        await until(lambda: ready(settings), "it is ready")
    told = _headers(message)
    assert told["aviary-reason"] == "too_large"
    assert told["aviary-source-offset"] == "1"
    assert told["aviary-cut"] == f"30000000 bytes, sha256 {hashlib.sha256(blanks).hexdigest()}"
    assert message.value == blanks[:262_144]
    assert message.key == b"large"


async def test_what_no_dead_letter_can_hold_is_cut(
    broker: Broker, client: Client, settings: Settings
) -> None:
    """Just below what a record may be, and with headers that are too large for a dead letter."""
    whole = b"x" * (4 * 1024 * 1024 - 600)
    headers = tuple((f"h{n}", b"y" * 60_000) for n in range(60))
    records = [(b"a", whole, ()), (b"k" * 300_000, b"{}", headers), _given(deploy("last"))]
    await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, 0, batch(records, GZIP))
    async with running(settings):
        await _released(client, ["last"])
        first, second = await broker.read(ids.TOPIC_DEADLETTERS, 2)
    assert _headers(first)["aviary-cut"].startswith(f"{len(whole)} bytes, sha256 ")
    assert len(first.value) == 262_144
    assert second.value == b"{}"
    assert len(second.headers) > 50
