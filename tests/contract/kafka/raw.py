"""Record batches as no well-behaved producer writes them, and a way to have a broker take them."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import BrokerResponseError, NoError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = {"none": 0, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
HEAD = 61
"""Bytes of a batch before its records."""

Given = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


def batch(records: Sequence[Given], codec: int = 0, base: int = 0) -> bytes:
    """Key, value and headers of some records, as a batch."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**31 - 1,
    )
    now = round(time.time() * 1000)
    for number, (key, value, headers) in enumerate(records):
        builder.append(number, now + number, key, value, list(headers))
    return sealed(bytes(builder.build()), base=base)


def sealed(
    data: bytes,
    *,
    base: int | None = None,
    codec: int | None = None,
    attributes: int | None = None,
    last: int | None = None,
    count: int | None = None,
) -> bytes:
    """The batch with something changed in its head, and a length and checksum that fit."""
    made = bytearray(data)
    struct.pack_into(">i", made, 8, len(made) - 12)
    if base is not None:
        struct.pack_into(">q", made, 0, base)
    if attributes is not None:
        struct.pack_into(">h", made, 21, attributes)
    if codec is not None:
        made[22] = made[22] & ~7 | codec
    if last is not None:
        struct.pack_into(">i", made, 23, last)
    if count is not None:
        struct.pack_into(">i", made, 57, count)
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


async def produce(bootstrap: str, topic: str, partition: int, data: bytes) -> None:
    """Have the broker take a batch as it is."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=60_000)
    await client.bootstrap()
    try:
        await client._wait_on_metadata(topic)
        while (error := await _produced(client, topic, partition, data)) is not NoError:
            if not error.retriable:  # of a topic that is new, the leader may not know it yet
                raise error
            await client.force_metadata_update()
    finally:
        await client.close()


async def _produced(
    client: AIOKafkaClient, topic: str, partition: int, data: bytes
) -> type[BrokerResponseError]:
    request = ProduceRequest(
        transactional_id=None,
        required_acks=-1,
        timeout=30_000,
        topics=[(topic, [(partition, data)])],
    )
    node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
    answer = await client.send(node, request)
    [(_, [(_, code, *_)])] = answer.topics
    found: type[BrokerResponseError] = for_code(code)
    return found
