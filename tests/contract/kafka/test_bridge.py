"""The bridge between a real broker and a real Temporal server: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from adapters.kafka import Outgoing, Sender
from adapters.kafka_reading import Fetched, RawConsumer
from aviary.bridge.accept import Acceptor
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.temporal import TemporalGateway
from aviary.catalog_watch import CatalogWatch
from aviary.settings import Settings
from schemas import ids
from schemas.release import ReleaseInput
from tests.contract.kafka.parts import (
    Broker,
    alert,
    alerts_signalled,
    as_bridge_reads,
    count_releases,
    deploy,
    make_settings,
    open_canary,
    ready,
    running,
    runs,
    temporal,
    until,
)

ROOT = Path(__file__).parents[3]


async def _committed(broker: Broker, topic: str, count: int) -> None:
    async def there() -> bool:
        return await broker.committed(topic) >= count

    await until(there, f"{count} records of {topic} committed")


def _acceptor(client: Client, settings: Settings, sender: Sender) -> Acceptor:
    registry = CollectorRegistry()
    return Acceptor(
        TemporalGateway(client, settings.task_queue),
        sender,
        CatalogWatch(settings.catalog, registry).newest,
        BridgeMetrics(registry),
    )


async def test_a_redelivered_event_is_one_release(
    broker: Broker, client: Client, settings: Settings
) -> None:
    event = deploy("shop-1")
    data = b'{"release": "shop-1", "services": [{"service": "checkout", "version": "2"}]}'
    headers = {
        "ce_specversion": b"1.0",
        "ce_type": b"dev.aviary.release.requested.v1",
        "ce_source": b"/ci/shop",
        "ce_id": b"binary",
        "content-type": b"application/json",
    }
    binary = Outgoing(ids.TOPIC_DEPLOYS, data, b"shop-1", tuple(headers.items()))
    async with running(settings):
        await broker.write(event, event, binary)
        await _committed(broker, ids.TOPIC_DEPLOYS, 3)

    handle = client.get_workflow_handle("release/shop-1")
    described = await handle.describe()
    assert described.workflow_type == ids.RELEASE_WORKFLOW
    assert described.task_queue == settings.task_queue
    assert await described.static_summary() == "checkout 2"
    started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    assert started.workflow_task_timeout.ToSeconds() == 2
    [told] = await client.data_converter.decode(list(started.input.payloads), [ReleaseInput])
    assert told.plan.source == "/ci/shop#event-of-shop-1"
    assert told.plan.services["checkout"].version == "2"
    assert await count_releases(client) == 1


@pytest.mark.parametrize("fault", ["fetching ends", "a fault of ours"])
async def test_a_consumer_that_is_of_no_more_use_is_replaced_and_nothing_is_lost(
    broker: Broker,
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    made: list[RawConsumer] = []

    class Kept(RawConsumer):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            made.append(self)

        async def fetched(self, timeout_s: float) -> list[Fetched]:
            if ended.is_set() and self is made[0]:
                raise RuntimeError("as a fault of ours, in what reads the fetched")
            return await super().fetched(timeout_s)

    ended = asyncio.Event()
    monkeypatch.setattr("adapters.kafka.RawConsumer", Kept)
    async with running(settings):
        await broker.write(deploy("shop-1"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 1)
        if fault == "fetching ends":

            def fail(_: Any) -> None:
                raise RuntimeError("as a fault of aiokafka's, in what sends fetches")

            made[0]._fetcher._get_actions_per_node = fail
        else:
            ended.set()
        await broker.write(deploy("shop-2"), deploy("shop-3"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 3)
        await until(lambda: ready(settings), "the bridge is ready again")
    assert len(made) == 2
    assert made[0]._closed
    assert await count_releases(client) == 3


async def test_an_ended_release_is_not_started_again(
    broker: Broker, client: Client, settings: Settings
) -> None:
    async with running(settings):
        await broker.write(deploy("shop-1"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 1)
        first = await runs(client, ["shop-1"])
        await client.get_workflow_handle("release/shop-1").terminate()
        await broker.write(deploy("shop-1"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 2)
    assert await runs(client, ["shop-1"]) == first


async def test_killed_between_start_and_commit_is_one_release(
    broker: Broker, client: Client, settings: Settings
) -> None:
    await broker.write(deploy("shop-1"))
    told = settings.model_dump_json(exclude={"webhook_token", "temporal_api_key"})
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.kafka.dying_bridge", told),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            assert await killed.wait() == -9
    finally:
        if killed.returncode is None:
            killed.kill()
    first = await runs(client, ["shop-1"])
    assert len(first) == 1
    assert await broker.committed(ids.TOPIC_DEPLOYS) == 0

    async with running(settings):
        await _committed(broker, ids.TOPIC_DEPLOYS, 1)
    assert await runs(client, ["shop-1"]) == first
    assert await count_releases(client) == 1


async def test_what_cannot_be_done_is_kept_with_its_reason(
    broker: Broker, client: Client, settings: Settings
) -> None:
    bad = {
        "unparsable": Outgoing(ids.TOPIC_DEPLOYS, b"\xff{no", b"\xfekey", (("a", b"\xfd"),)),
        "unknown_type": deploy("shop-1", type="com.example.other"),
        "unknown_service": deploy("shop-2", service="nosuch"),
        "invalid_data": deploy("shop-3", data={"release": "shop 3", "services": []}),
        "not_cloudevent": Outgoing(ids.TOPIC_DEPLOYS, b"[]", None),
    }
    async with running(settings):
        await broker.write(*bad.values(), deploy("good"))
        dead_letters = await broker.read(ids.TOPIC_DEADLETTERS, len(bad))
        await _committed(broker, ids.TOPIC_DEPLOYS, len(bad) + 1)

    by_reason = {
        dict(message.headers)["aviary-reason"].decode(): message for message in dead_letters
    }
    assert by_reason.keys() == bad.keys()
    for reason, sent in bad.items():
        message = by_reason[reason]
        assert message.value == sent.value
        # The dead letters' topic may be compacted: one without a key is given its place as such.
        at = re.fullmatch(rf"{ids.TOPIC_DEPLOYS}/\d+/\d+".encode(), message.key)
        assert message.key == sent.key if sent.key is not None else at
        assert message.headers[: len(sent.headers)] == tuple(sent.headers)
        assert dict(message.headers)["aviary-source-topic"] == ids.TOPIC_DEPLOYS.encode()
    assert b"nosuch" in dict(by_reason["unknown_service"].headers)["aviary-error"]
    assert await runs(client, ["good", "shop-1", "shop-2", "shop-3"]) == await runs(
        client, ["good"]
    )


async def test_an_alert_becomes_a_signal_to_the_canary(
    broker: Broker, client: Client, settings: Settings
) -> None:
    await open_canary(client)
    async with running(settings):
        # ledger has no canary; nosuch is no service.
        await broker.write(alert(), alert("ledger", "f2"), alert("nosuch", "f3"))
        await _committed(broker, ids.TOPIC_ALERTS, 3)
        [message] = await broker.read(ids.TOPIC_DEADLETTERS, 1)
        url = f"http://127.0.0.1:{settings.metrics_port}"
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"{url}/metrics")).text
            assert (await http.get(f"{url}/readyz")).status_code == 200

    assert [item.fingerprint for item in await alerts_signalled(client)] == ["f1"]
    assert dict(message.headers)["aviary-reason"] == b"unknown_service"
    assert "aviary_bridge_unmatched_alerts_total 1.0" in metrics
    assert 'aviary_bridge_records_total{outcome="signalled",topic="aviary.alerts"} 1.0' in metrics
    assert 'aviary_bridge_lag_records{partition="' in metrics


async def test_one_alert_record_delivered_twice_is_one_signal(
    broker: Broker, client: Client, settings: Settings
) -> None:
    await open_canary(client)
    await broker.write(alert(), alert())
    records = [as_bridge_reads(record) for record in await broker.read(ids.TOPIC_ALERTS, 2)]
    async with broker.sender() as sender:
        acceptors = [_acceptor(client, settings, sender) for _ in range(2)]
        for acceptor in (acceptors[0], acceptors[0], acceptors[1]):
            [outcome] = await acceptor.accept(records[:1])
            assert outcome in {Outcome.SIGNALLED, Outcome.REPEATED}
            assert len(await alerts_signalled(client)) == 1
        # The same alert in another record, as from a pair of Alertmanagers.
        assert await acceptors[0].accept(records[1:]) == [Outcome.REPEATED]
        assert len(await alerts_signalled(client)) == 1
        # A new canary has not been told.
        await client.get_workflow_handle(ids.canary_workflow_id("checkout")).terminate()
        assert await acceptors[0].accept(records[1:]) == [Outcome.UNMATCHED]
        await open_canary(client)
        assert await acceptors[0].accept(records[1:]) == [Outcome.SIGNALLED]


async def test_a_restart_loses_nothing(broker: Broker, client: Client, settings: Settings) -> None:
    names = [f"shop-{n}" for n in range(40)]
    await broker.write(*(deploy(name) for name in names[:20]))

    async def begun() -> bool:
        return len(await runs(client, names)) > 0

    async with running(settings):
        await until(begun, "a first release")
    await broker.write(*(deploy(name) for name in names[20:]))
    async with running(settings):
        await _committed(broker, ids.TOPIC_DEPLOYS, 40)
    assert (await runs(client, names)).keys() == set(names)
    assert await broker.committed(ids.TOPIC_DEPLOYS) == 40


async def test_a_rebalance_between_two_bridges_loses_nothing(
    broker: Broker, client: Client, settings: Settings, tmp_path: Path
) -> None:
    names = [f"shop-{n}" for n in range(60)]
    second = make_settings(tmp_path, broker, settings.temporal_address)

    async def share(count: int) -> None:
        await _committed(broker, ids.TOPIC_DEPLOYS, count)

    async def ready(which: Settings) -> bool:
        async with httpx.AsyncClient() as http:
            try:
                answer = await http.get(f"http://127.0.0.1:{which.metrics_port}/readyz")
            except httpx.TransportError:
                return False
        return answer.status_code == 200

    async with running(second):
        await broker.write(*(deploy(name) for name in names[:20]))
        async with running(settings):
            await broker.write(*(deploy(name) for name in names[20:40]))
            await until(lambda: ready(settings), "the second bridge has its share")
            await share(40)
        await broker.write(*(deploy(name) for name in names[40:]))
        await share(60)
    assert (await runs(client, names)).keys() == set(names)


async def test_it_waits_while_temporal_is_away(broker: Broker, tmp_path: Path) -> None:
    async with temporal() as env:
        address = env.client.service_client.config.target_host
    port = int(address.rsplit(":", 1)[1])
    settings = make_settings(tmp_path, broker, address)
    async with running(settings):
        await broker.write(deploy("shop-1"))
        async with temporal(port) as env:
            await _committed(broker, ids.TOPIC_DEPLOYS, 1)
            assert len(await runs(env.client, ["shop-1"])) == 1
        await broker.write(deploy("shop-2"))
        async with temporal(port) as env:
            await _committed(broker, ids.TOPIC_DEPLOYS, 2)
            assert len(await runs(env.client, ["shop-2"])) == 1


async def test_it_goes_on_when_the_broker_is_back(
    broker: Broker, client: Client, settings: Settings
) -> None:
    async def released(name: str) -> bool:
        return bool(await runs(client, [name]))

    async with running(settings):
        await broker.write(deploy("before"))
        await until(lambda: released("before"), "the first release")
        broker.kill()
        await broker.start()
        await broker.write(deploy("after"))
        await until(lambda: released("after"), "a release after the broker's restart")
    assert (await runs(client, ["before", "after"])).keys() == {"before", "after"}


async def test_a_new_service_needs_no_restart(
    broker: Broker, client: Client, settings: Settings
) -> None:
    async with running(settings):
        await broker.write(deploy("early", service="search"))
        [message] = await broker.read(ids.TOPIC_DEADLETTERS, 1)
        settings.catalog.write_text(settings.catalog.read_text() + "  search: {}\n")
        await broker.write(deploy("late", service="search"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 2)
        settings.catalog.write_text("version: 1\nservices: [")
        await broker.write(deploy("later", service="search"))
        await _committed(broker, ids.TOPIC_DEPLOYS, 3)
    assert message.key == b"early"
    assert (await runs(client, ["early", "late", "later"])).keys() == {"late", "later"}


async def test_it_stops_in_good_order_while_the_broker_is_away(
    broker: Broker, client: Client, settings: Settings
) -> None:
    async def released() -> bool:
        return bool(await runs(client, ["shop-1"]))

    async def readiness() -> int:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{settings.metrics_port}/readyz")
        return answer.status_code

    async def unready() -> bool:
        return await readiness() == 503

    async with asyncio.timeout(60), running(settings):
        await broker.write(deploy("shop-1"))
        await until(released, "the release")
        broker.kill()
        await until(unready, "it says that it is not ready")
    with pytest.raises(httpx.ConnectError):  # it has ended, and nothing of it is left
        await readiness()
