"""Records made to be heavy: a bridge's memory stays bounded, and alerts don't wait for them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from adapters.kafka import Outgoing
from schemas import ids
from tests.contract.kafka.parts import (
    Broker,
    alert,
    alerts_signalled,
    deploy,
    open_canary,
    runs,
    until,
)
from tests.contract.kafka.raw import CODECS, GZIP, batch, produce
from tests.durability.parts import Process

MEGABYTES = 300
BOUND_MB = 300
"""Of the whole process, as docs/operations.md says; about 100 of it is there before any record."""


@pytest.fixture
def bridge(tmp_path: Path, broker: Broker, client: Client) -> Iterator[Process]:
    process = Process(
        tmp_path,
        "bridge",
        broker.options.bootstrap,
        kafka_idempotent="false",
        temporal_address=client.service_client.config.target_host,
    )
    try:
        yield process
    finally:
        process.kill()


def _peak_mb(process: Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


async def _released(client: Client, name: str) -> None:
    async def there() -> bool:
        return bool(await runs(client, [name]))

    await until(there, f"release {name}")


@pytest.mark.parametrize("codec", [name for name in CODECS if name not in {"none", "snappy"}])
async def test_a_bomb_stays_within_the_bound(
    broker: Broker, client: Client, bridge: Process, codec: str
) -> None:
    await bridge.ready()
    value = b" " * (MEGABYTES * 1_000_000)
    made = batch([(b"large", value, ()), (b"next", deploy(codec).value, ())], CODECS[codec])
    del value
    for partition in range(4):
        await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, partition, made)
    dead_letters = await broker.read(ids.TOPIC_DEADLETTERS, 4)
    await _released(client, codec)
    assert {dict(message.headers)["aviary-reason"] for message in dead_letters} == {b"too_large"}
    assert _peak_mb(bridge) < BOUND_MB


def _event(**data: Any) -> bytes:
    value = deploy("heavy", data={"release": "heavy", **data}).value
    assert value is not None
    return value


HEAVY = {
    "duplicate names": b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b',"79999":2}',
    "unknown fields": _event(services=[], **{f"f{n}": 1 for n in range(40_000)}),
    "unknown services": _event(
        services=[{"service": f"s{n}", "version": "1"} for n in range(9_999)]
    ),
    "an empty list in a list": b"[" + b"[]," * 300_000 + b"[]]",
    "a name of a megabyte": json.dumps({"x" * 1_000_000: 1}).encode(),
}


async def test_an_alert_does_not_wait_for_heavy_deploy_events(
    broker: Broker, client: Client, bridge: Process
) -> None:
    await bridge.ready()
    await open_canary(client)
    records = [(b"k", value, ()) for value in HEAVY.values() for _ in range(4)]
    for partition in range(4):
        await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, partition, batch(records, GZIP))
    slowest = 0.0
    for number in range(10):
        before = time.monotonic()
        await broker.write(alert(fingerprint=f"f{number}"))

        async def told(number: int = number) -> bool:
            return len(await alerts_signalled(client)) > number

        await until(told, f"alert {number} is told")
        slowest = max(slowest, time.monotonic() - before)
        await asyncio.sleep(0.1)
    # It was 90 s for one such event; on an idle machine it is a fraction of a second.
    assert slowest < 15
    dead_letters = await broker.read(ids.TOPIC_DEADLETTERS, len(records) * 4)
    assert len(dead_letters) == len(records) * 4


async def test_large_events_that_are_good_are_releases(
    broker: Broker, client: Client, bridge: Process
) -> None:
    await bridge.ready()
    labels = {f"label-{n}": "x" * 1900 for n in range(100)}
    value = deploy("large").value
    assert value is not None
    event = json.loads(value)
    event["data"]["labels"] = labels
    await broker.write(Outgoing(ids.TOPIC_DEPLOYS, json.dumps(event).encode(), b"large"))
    await _released(client, "large")
