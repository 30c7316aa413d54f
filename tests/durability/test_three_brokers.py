"""Three brokers of Apache Kafka, two of which must have a record: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from temporalio.client import Client

from adapters.kafka import KafkaOptions
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from schemas import ids
from tests.contract.kafka.parts import (
    alert,
    alerts_signalled,
    count_releases,
    deploy,
    open_canary,
    runs,
    temporal,
    until,
)
from tests.durability.apache import Cluster
from tests.durability.parts import (
    PARTITIONS,
    ROOT,
    Alertmanager,
    Process,
    fingerprints,
    records,
    release_of,
    sending,
)


def _options(cluster: Cluster) -> KafkaOptions:
    return KafkaOptions(bootstrap=cluster.bootstrap, partitions=PARTITIONS, replication=3)


async def test_a_killed_broker_costs_no_alert_and_no_answer(three: Cluster, tmp_path: Path) -> None:
    webhook = Process(tmp_path, "webhook", three.bootstrap, topic_replication="3")
    try:
        await webhook.ready()
        caller = Alertmanager(webhook.url)
        await caller.notify_all(f"before-{n}" for n in range(24))
        load = asyncio.create_task(caller.notify_all(f"during-{n}" for n in range(120)))

        async def under_load() -> bool:
            return len(caller.acknowledged) >= 40

        await until(under_load, "the load has begun")
        three.kill(1)
        await load
        await caller.notify_all(f"after-{n}" for n in range(12))
    finally:
        webhook.kill()
        three.start()

    there = fingerprints(await records(_options(three), ids.TOPIC_ALERTS))
    assert len(caller.acknowledged) == 156
    assert caller.acknowledged <= there.keys()
    assert {name for name in caller.sent_once if there[name] != 1} == set()
    assert {f"after-{n}" for n in range(12)} <= caller.sent_once


async def test_with_too_few_replicas_it_says_503_until_there_are_enough(
    three: Cluster, tmp_path: Path
) -> None:
    webhook = Process(tmp_path, "webhook", three.bootstrap, topic_replication="3")
    sent = [f"few-{n}" for n in range(4)]
    try:
        await webhook.ready()
        caller = Alertmanager(webhook.url)
        three.kill(2, 3)
        waiting = [
            asyncio.create_task(caller.notify(name, f"service-{n}")) for n, name in enumerate(sent)
        ]

        async def all_refused() -> bool:
            return all(503 in caller.statuses.get(name, []) for name in sent)

        await until(all_refused, "503 for every notification")
        assert not caller.acknowledged
        three.start()
        await asyncio.gather(*waiting)
    finally:
        webhook.kill()
        three.start()
    assert caller.acknowledged == set(sent)
    assert (
        caller.acknowledged <= fingerprints(await records(_options(three), ids.TOPIC_ALERTS)).keys()
    )


async def _killed_between_yes_and_commit(settings: Settings) -> None:
    told = settings.model_dump_json(exclude={"webhook_token", "temporal_api_key"})
    bridge = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.kafka.dying_bridge", told),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            assert await bridge.wait() == -9
    finally:
        if bridge.returncode is None:
            bridge.kill()


async def _signalled(client: Client) -> Counter[str]:
    return Counter(told.fingerprint for told in await alerts_signalled(client))


async def test_all_brokers_and_the_bridge_killed_and_each_record_is_done_once(
    three: Cluster, tmp_path: Path
) -> None:
    options = _options(three)
    deploys = [f"shop-{n}" for n in range(40)]
    alerts = [f"all-{n}" for n in range(40)]
    async with sending(options, ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS) as sender:
        await sender.send([deploy(name) for name in deploys])
        await sender.send([alert("checkout", name) for name in alerts])
        three.kill_all()
    three.start()
    assert Counter(map(release_of, await records(options, ids.TOPIC_DEPLOYS))) == dict.fromkeys(
        deploys, 1
    )
    there = fingerprints(await records(options, ids.TOPIC_ALERTS))
    assert {name: there[name] for name in alerts} == dict.fromkeys(alerts, 1)

    async with temporal() as env:
        address = env.client.service_client.config.target_host
        await open_canary(env.client)
        catalog = tmp_path / "catalog.yaml"
        bridges = {"temporal_address": address, "topic_replication": "3", "kafka_group": "killed"}
        bridge = Process(tmp_path, "bridge", three.bootstrap, **bridges)
        bridge.kill()  # its catalog is there now
        await _killed_between_yes_and_commit(
            Settings(
                catalog=catalog,
                temporal_address=address,
                kafka_bootstrap=three.bootstrap,
                kafka_group="killed",
                topic_replication=3,
                metrics_port=FreePorts().take(),
            )
        )

        async def more_than(count: int) -> bool:
            return len(await runs(env.client, deploys)) > count

        bridge = Process(tmp_path, "bridge", three.bootstrap, **bridges)
        try:
            await until(lambda: more_than(2), "some releases")
            bridge.kill()
            bridge = Process(tmp_path, "bridge", three.bootstrap, **bridges)

            async def all_done() -> bool:
                told = await _signalled(env.client)
                return await more_than(len(deploys) - 1) and set(alerts) <= told.keys()

            await until(all_done, "every release and every alert")
        finally:
            bridge.kill()
        told = await _signalled(env.client)
        assert {name: told[name] for name in alerts} == dict.fromkeys(alerts, 1)
        assert await count_releases(env.client) == len(deploys)


@pytest.fixture(autouse=True)
def _whole_again(three: Cluster) -> None:
    three.start()
