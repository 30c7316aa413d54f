"""One broker of Apache Kafka: idempotent writes, over TLS with a password, survive its death."""

from __future__ import annotations

import asyncio
import gc
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
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


@dataclass(frozen=True)
class Broker:
    """One broker, and the two ways in over TLS."""

    cluster: Cluster
    password: KafkaOptions
    certificate: KafkaOptions


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """It listens in plain text, and over TLS for those with a password or with a certificate."""
    folder = tmp_path_factory.mktemp("one")
    ca_file = _certificate(folder)
    clients = trustme.CA()
    clients.cert_pem.write_to_path(folder / "clients.pem")
    client = clients.issue_cert("aviary.example")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    free = FreePorts()
    port, mutual = free.take(), free.take()
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    cluster = Cluster(
        folder,
        1,
        {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "both.pem"),
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.ssl.ssl.truststore.type": "PEM",
            "listener.name.ssl.ssl.truststore.location": str(folder / "clients.pem"),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{plain} user_aviary="{PASSWORD}";',
        },
        also=f"SASL_SSL://127.0.0.1:{port},SSL://127.0.0.1:{mutual}",
    )
    with_password = KafkaOptions(
        bootstrap=f"127.0.0.1:{port}",
        partitions=2,
        security="SASL_SSL",
        sasl_mechanism="PLAIN",
        sasl_user="aviary",
        sasl_password=SecretStr(PASSWORD),
        ca_file=ca_file,
        request_timeout_s=3,
    )
    with_certificate = KafkaOptions(
        bootstrap=f"127.0.0.1:{mutual}",
        partitions=2,
        security="SSL",
        ca_file=ca_file,
        cert_file=folder / "client.pem",
        request_timeout_s=3,
    )
    try:
        cluster.start()
        yield Broker(cluster, with_password, with_certificate)
    finally:
        cluster.kill_all()


@pytest.fixture
async def sender(broker: Broker) -> AsyncIterator[Sender]:
    async with sending(broker.password, ids.TOPIC_EVENTS) as sender:
        yield sender


def _records(first: int, count: int) -> list[Outgoing]:
    return [
        Outgoing(ids.TOPIC_EVENTS, str(number).encode(), str(number % 7).encode())
        for number in range(first, first + count)
    ]


async def test_what_is_acknowledged_survives_the_brokers_death_and_is_there_once(
    broker: Broker, sender: Sender
) -> None:
    cluster, options = broker.cluster, broker.password
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
    broker: Broker,
    changes: dict[str, object],
    setting: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = broker.password.model_copy(update=changes)
    with pytest.raises(Retryable, match=setting) as caught:
        await ensure_topics(options)
    for shown in (str(caught.value), caplog.text):
        assert PASSWORD not in shown
        assert "wrong" not in shown.lower().split()


async def test_a_certificate_lets_in_who_has_no_password(broker: Broker) -> None:
    async with sending(broker.certificate, ids.TOPIC_ALERTS) as sender:
        await sender.send([Outgoing(ids.TOPIC_ALERTS, b"over mutual TLS")])
    values = [record.value for record in await records(broker.certificate, ids.TOPIC_ALERTS)]
    assert b"over mutual TLS" in values


async def test_without_its_certificate_nobody_is_let_in(broker: Broker) -> None:
    options = broker.certificate.model_copy(update={"cert_file": None})
    with pytest.raises(Retryable, match="AVIARY_KAFKA_CERT_FILE"):
        await ensure_topics(options)


async def test_a_producer_that_gave_up_for_good_is_replaced(broker: Broker, sender: Sender) -> None:
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
