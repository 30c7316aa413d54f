"""Records made to be heavy: a bridge's memory stays bounded, and alerts don't wait for them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from adapters.kafka import Outgoing
from adapters.kafka_batches import Batch, Record
from aviary.bridge import deploys
from aviary.settings import Settings
from schemas import ids
from tests.contract.kafka.parts import (
    Broker,
    alert,
    alerts_signalled,
    deploy,
    open_canary,
    running,
    runs,
    until,
)
from tests.contract.kafka.raw import CODECS, GZIP, batch, produce
from tests.durability.parts import Process

MEGABYTES = 300
BOUND_MB = 300
"""Of the whole process, as docs/operations.md says; about 100 of it is there before any record."""
LOADED_S = 300.0
"""For what takes seconds of this machine's time, however many others want it."""
ALERTS = 3


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


async def _heavy(broker: Broker, *which: str) -> int:
    """Write these of the heavy events to each partition; how many records that makes."""
    records = [(b"k", HEAVY[name], ()) for name in which]
    made = batch(records, GZIP)
    for partition in range(broker.options.partitions):
        await produce(broker.options.bootstrap, ids.TOPIC_DEPLOYS, partition, made)
    return len(records) * broker.options.partitions


async def _alerts_are_told(broker: Broker, client: Client) -> None:
    """Write alerts one after the other, each once the canary was told of the one before."""
    for number in range(ALERTS):
        await broker.write(alert(fingerprint=f"f{number}"))

        async def told(number: int = number) -> bool:
            return len(await alerts_signalled(client)) > number

        await until(told, f"alert {number} is told", LOADED_S)


class Gate:
    """Holds up work, in whatever thread does it, until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self.on_the_loop = False
        """Whether work came by that all else waits for: it is let through, and found."""
        self._open = threading.Event()

    def pass_by(self) -> None:
        """Wait until it is opened."""
        self.waiting += 1
        self.on_the_loop |= threading.current_thread() is threading.main_thread()
        if not self.on_the_loop:
            assert self._open.wait(2 * LOADED_S), "never opened"

    def open(self) -> None:
        self._open.set()


def _hold_reading(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Batch._read

    def held(one: Batch) -> Iterator[Record]:
        if one.topic == ids.TOPIC_DEPLOYS:
            gate.pass_by()
        return read(one)

    monkeypatch.setattr(Batch, "_read", held)


def _hold(name: str) -> Callable[[Gate, pytest.MonkeyPatch], None]:
    def hold(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        work = getattr(deploys, name)

        def held(*args: Any) -> Any:
            gate.pass_by()
            return work(*args)

        monkeypatch.setattr(deploys, name, held)

    return hold


@pytest.mark.parametrize(
    "hold",
    [_hold_reading, _hold("parse_deploy"), _hold("plan_event")],
    ids=["read", "parsed", "planned"],
)
async def test_alerts_are_told_while_deploy_events_are_being(
    broker: Broker,
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    hold: Callable[[Gate, pytest.MonkeyPatch], None],
) -> None:
    """However long that takes: here it takes until the alerts are told."""
    gate = Gate()
    hold(gate, monkeypatch)
    await open_canary(client)
    async with running(settings):
        try:
            count = await _heavy(broker, "unknown services")

            async def held() -> bool:
                return gate.waiting > 0

            await until(held, "a deploy event is at the gate", LOADED_S)
            await _alerts_are_told(broker, client)
        finally:
            gate.open()
        assert not gate.on_the_loop, "alerts wait for it there"
        assert len(await broker.read(ids.TOPIC_DEADLETTERS, count, LOADED_S)) == count


async def test_heavy_deploy_events_are_dead_letters_and_alerts_pass_them(
    broker: Broker, client: Client, bridge: Process
) -> None:
    await bridge.ready()
    await open_canary(client)
    count = await _heavy(broker, *HEAVY)
    await _alerts_are_told(broker, client)
    assert len(await broker.read(ids.TOPIC_DEADLETTERS, count, LOADED_S)) == count


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
