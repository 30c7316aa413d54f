"""Apache Kafka between a producer of odd records and a bridge: nothing is lost, nothing waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import CollectorRegistry
from temporalio.client import Client

from adapters.kafka import DEADLETTER_MAX_BYTES, TOPICS, KafkaOptions, ensure_topics
from adapters.kafka_batches import Record
from adapters.kafka_limits import compacted, largest_record
from aviary.bridge.dead_letters import DeadLetters
from aviary.bridge.metrics import BridgeMetrics
from schemas import ids
from schemas.rejection import Rejected, RejectReason
from tests.contract.kafka.parts import deploy, runs, succeeds, temporal, until
from tests.contract.kafka.raw import CODECS, batch, produce, sealed
from tests.durability.apache import Cluster
from tests.durability.parts import PARTITIONS, Process, records, sending


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path_factory.mktemp("odd"),
        1,
        {
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "2",
            # So that a producer may send what no dead letter can hold.
            "message.max.bytes": "8000000",
        },
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill_all()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with temporal() as env:
        yield env.client


def _options(kafka: Cluster) -> KafkaOptions:
    return KafkaOptions(bootstrap=kafka.bootstrap, partitions=PARTITIONS)


async def _topics(kafka: Cluster) -> None:
    """The topics, with that of dead letters made by hand: as small as Kafka makes it, compacted."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        if ids.TOPIC_DEADLETTERS not in await admin.list_topics():
            by_hand = NewTopic(
                ids.TOPIC_DEADLETTERS,
                1,
                1,
                topic_configs={"max.message.bytes": "1048588", "cleanup.policy": "compact"},
            )
            await admin.create_topics([by_hand])
    finally:
        await admin.close()
    await ensure_topics(_options(kafka))


async def _released(client: Client, names: Iterable[str]) -> None:
    wanted = set(names)

    async def all_there() -> bool:
        return (await runs(client, wanted)).keys() == wanted

    await until(all_there, f"releases {wanted}")


def _given(release: str) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    event = deploy(release)
    return event.key, event.value, ()


async def test_whatever_is_on_the_topic_the_good_is_done_and_the_rest_is_kept(
    kafka: Cluster, client: Client, tmp_path: Path
) -> None:
    await _topics(kafka)
    topic, good = ids.TOPIC_DEPLOYS, []
    for number, codec in enumerate(CODECS):
        names = [f"{codec}-{n}" for n in range(5)]
        made = batch([_given(name) for name in names], CODECS[codec])
        await produce(kafka.bootstrap, topic, number % PARTITIONS, made)
        good += names
    misspelt = sealed(batch([(b"k", b"{}", [("spelt", b"x")])]).replace(b"spelt", b"sp\xfflt"))
    large = batch([(b"large", b"x" * 1_048_400, [("h", b"v")]), _given("behind")])
    larger = batch([(b"larger", b" " * 6_000_000, []), _given("behind the larger")], CODECS["gzip"])
    keyless = batch([(None, b"{", [])])
    for partition, data in ((0, keyless), (0, misspelt), (1, large), (2, larger)):
        await produce(kafka.bootstrap, topic, partition, data)
    good += ["behind", "last"]
    await produce(kafka.bootstrap, topic, 0, batch([_given("last")]))
    told = {"temporal_address": client.service_client.config.target_host}
    bridge = Process(tmp_path, "bridge", kafka.bootstrap, **told)
    try:
        await bridge.ready()
        await _released(client, good)
        dead_letters = await _dead_letters(kafka, 5)
        await bridge.ready()
        log = (tmp_path / "bridge.log").read_text()
    finally:
        bridge.kill()
    assert dead_letters["k"]["aviary-reason"] == "unreadable"
    assert dead_letters["large"]["aviary-cut"].startswith("1048400 bytes, sha256 ")
    assert dead_letters["large"]["h"] == "v"
    assert dead_letters["larger"]["aviary-reason"] == "too_large"
    assert dead_letters["larger"]["aviary-cut"].startswith("6000000 bytes, sha256 ")
    assert dead_letters["behind the larger"]["aviary-reason"] == "invalid_data"
    [placed] = [key for key in dead_letters if key.startswith("aviary.deploys/0/")]
    assert dead_letters[placed]["aviary-no-key"] == "true"
    assert "topic_is_compacted" in log
    assert "dead_letter_topic_too_small" in log
    assert str(DEADLETTER_MAX_BYTES) in log
    assert await largest_record(_options(kafka), ids.TOPIC_DEADLETTERS) == 1048588
    assert await compacted(_options(kafka), TOPICS) == (ids.TOPIC_DEADLETTERS,)


async def _dead_letters(kafka: Cluster, count: int) -> dict[str, dict[str, str]]:
    found: list[Any] = []

    async def there() -> bool:
        found[:] = await records(_options(kafka), ids.TOPIC_DEADLETTERS)
        return len(found) >= count

    await until(there, f"{count} dead letters")
    return {
        message.key.decode(): {name: value.decode() for name, value in message.headers}
        for message in found
    }


async def test_of_transactions_only_what_was_committed_is_acted_upon(
    kafka: Cluster, client: Client, tmp_path: Path
) -> None:
    await _topics(kafka)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id="ci", compression_type="zstd"
    )
    await producer.start()
    try:
        for number in range(6):
            await producer.begin_transaction()
            for part in "ab":
                event = deploy(f"tx-{number}{part}")
                await producer.send_and_wait(event.topic, event.value, key=b"same")
            if number % 2:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
    finally:
        await producer.stop()
    told = {"temporal_address": client.service_client.config.target_host}
    bridge = Process(tmp_path, "bridge", kafka.bootstrap, kafka_group="transactions", **told)
    try:
        await bridge.ready()
        await _released(client, [f"tx-{n}{part}" for n in (0, 2, 4) for part in "ab"])
    finally:
        bridge.kill()
    aborted = [f"tx-{n}{part}" for n in (1, 3, 5) for part in "ab"]
    assert not await runs(client, aborted)


async def test_a_topic_whose_size_nobody_tells_gets_what_it_takes(kafka: Cluster) -> None:
    await _topics(kafka)
    why = Rejected(RejectReason.INVALID_DATA, "no")
    large = Record(ids.TOPIC_DEPLOYS, 0, 4711, 0, b"untold", b"x" * 3_000_000)
    async with sending(_options(kafka)) as sender:
        dead_letters = DeadLetters(sender, BridgeMetrics(CollectorRegistry()))

        async def kept() -> bool:
            return await succeeds(lambda: dead_letters.keep([(large, why)]))

        await until(kept, "the dead letter is kept")
    found = await _dead_letters(kafka, 1)
    assert found["untold"]["aviary-cut"].startswith("3000000 bytes, sha256 ")
