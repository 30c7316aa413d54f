"""One broker of Apache Kafka: idempotent writes, over TLS with a password, survive its death."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber
from pydantic import SecretStr

from adapters.errors import Retryable
from adapters.kafka import KafkaOptions, Outgoing, Sender, ensure_topics
from aviary.local.ports import FreePorts
from schemas import ids
from tests.contract.kafka.parts import succeeds, until
from tests.durability.apache import Cluster
from tests.durability.parts import records, sending

PASSWORD = "pass-of-a-test"


def _certificate(folder: Path) -> Path:
    """A key with its own certificate for 127.0.0.1, as PEM; the certificate is its authority."""
    told = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    command = ["openssl", "req", "-x509", *told, "-addext", "subjectAltName=IP:127.0.0.1", *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both = (folder / "key.pem").read_text() + (folder / "ca.pem").read_text()
    (folder / "both.pem").write_text(both)
    return folder / "ca.pem"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, KafkaOptions]]:
    """A broker that listens in plain text and, beside it, over TLS for those with a password."""
    folder = tmp_path_factory.mktemp("one")
    ca_file = _certificate(folder)
    port = FreePorts().take()
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    cluster = Cluster(
        folder,
        1,
        {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "both.pem"),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{plain} user_aviary="{PASSWORD}";',
        },
        also=f"SASL_SSL://127.0.0.1:{port}",
    )
    options = KafkaOptions(
        bootstrap=f"127.0.0.1:{port}",
        partitions=2,
        security="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_user="aviary",
        sasl_password=SecretStr(PASSWORD),
        ca_file=ca_file,
        request_timeout_s=3,
    )
    try:
        cluster.start()
        yield cluster, options
    finally:
        cluster.kill_all()


@pytest.fixture
async def sender(secure: tuple[Cluster, KafkaOptions]) -> AsyncIterator[Sender]:
    async with sending(secure[1], ids.TOPIC_EVENTS) as sender:
        yield sender


def _records(first: int, count: int) -> list[Outgoing]:
    return [
        Outgoing(ids.TOPIC_EVENTS, str(number).encode(), str(number % 7).encode())
        for number in range(first, first + count)
    ]


async def test_what_is_acknowledged_survives_the_brokers_death_and_is_there_once(
    secure: tuple[Cluster, KafkaOptions], sender: Sender
) -> None:
    cluster, options = secure
    await sender.send(_records(0, 200))
    cluster.kill(1)
    with pytest.raises(Retryable):
        await sender.check()
    # Written while nobody is there: done once somebody is, and not before.
    waiting = asyncio.create_task(sender.send(_records(200, 50)))
    await asyncio.to_thread(cluster.start)
    async with asyncio.timeout(60):
        await waiting
    there = [int(record.value) for record in await records(options, ids.TOPIC_EVENTS)]
    assert sorted(there) == list(range(250))


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"sasl_password": SecretStr("wrong")}, "AVIARY_KAFKA_SASL_PASSWORD"),
        ({"security": "SASL_PLAINTEXT"}, "AVIARY_KAFKA_SECURITY"),
        ({"ca_file": None}, "AVIARY_KAFKA_CA_FILE"),
    ],
)
async def test_who_is_not_let_in_is_told_which_setting_to_look_at(
    secure: tuple[Cluster, KafkaOptions],
    changes: dict[str, object],
    setting: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = secure[1].model_copy(update=changes)
    with pytest.raises(Retryable, match=setting) as caught:
        await ensure_topics(options)
    for shown in (str(caught.value), caplog.text):
        assert PASSWORD not in shown
        assert "wrong" not in shown.lower().split()


async def test_a_producer_that_gave_up_for_good_is_replaced(
    secure: tuple[Cluster, KafkaOptions], sender: Sender
) -> None:
    # aiokafka leaves futures behind then, and says so whenever they are collected.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    def out_of_order(*_args: Any, **_told: Any) -> None:
        raise OutOfOrderSequenceNumber

    first = sender._producer
    first._message_accumulator.drain_by_nodes = out_of_order
    with pytest.raises(Retryable):
        await sender.send(_records(1000, 1))
    with pytest.raises(Retryable, match="connecting anew"):
        await sender.send(_records(1000, 1))
    await until(lambda: succeeds(sender.check), "the sender is connected again")
    await sender.send(_records(1000, 1))
    assert sender._producer is not first
    del first
    gc.collect()
