"""Dead letters of every size, to topics that take less: each is kept, as whole as it can be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from adapters.dead_letters import dead_letter
from adapters.errors import Retryable, Terminal
from adapters.kafka import DEADLETTER_MAX_BYTES, Outgoing
from adapters.kafka_batches import Fault, Record
from aviary.bridge.dead_letters import DeadLetters
from aviary.bridge.metrics import BridgeMetrics
from schemas.rejection import Rejected, RejectReason

WHY = Rejected(RejectReason.INVALID_DATA, "data: wrong")


def record(value: bytes | None, *, key: bytes | None = b"k", **more: object) -> Record:
    return Record("aviary.deploys", 3, 7, 0, key, value, **more)  # type: ignore[arg-type]


def size(message: Outgoing) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in message.headers)
    return len(message.value or b"") + len(message.key or b"") + headers


@dataclass
class Topic:
    """Takes records up to a size."""

    most: int
    taken: list[Outgoing] = field(default_factory=list)
    refused: int = 0

    async def send(self, records: Sequence[Outgoing]) -> None:
        if any(size(each) > self.most for each in records):
            self.refused += 1
            raise Terminal("too large")
        self.taken += records


def dead_letters(topic: Topic, most: int = DEADLETTER_MAX_BYTES) -> DeadLetters:
    return DeadLetters(topic, BridgeMetrics(CollectorRegistry()), most)


@pytest.mark.parametrize("value", [None, b"", b"x", b"x" * 4_000_000])
def test_what_fits_is_whole(value: bytes | None) -> None:
    message = dead_letter(record(value, headers=(("a", b"1"), ("a", None))), WHY.reason, WHY.text)
    assert (message.value, message.key) == (value, b"k")
    assert tuple(message.headers[:2]) == (("a", b"1"), ("a", None))
    assert "aviary-cut" not in dict(message.headers)


@pytest.mark.parametrize("most", [DEADLETTER_MAX_BYTES, 10_000])
def test_a_record_without_a_key_has_its_place_for_one(most: int) -> None:
    """Which a compacted topic needs, and which no other dead letter has."""
    message = dead_letter(record(b"x" * 50_000, key=None), WHY.reason, WHY.text, most)
    assert message.key == b"aviary.deploys/3/7"
    assert dict(message.headers)["aviary-no-key"] == b"true"
    assert "aviary-no-key" not in dict(dead_letter(record(b"x"), WHY.reason, WHY.text).headers)


@pytest.mark.parametrize("most", [4_000_000, 1_048_588, 100_000, 10_000])
@pytest.mark.parametrize(
    "large",
    [
        record(b"x" * 5_000_000),
        record(b"v", key=b"k" * 5_000_000),
        record(b"v" * 3_000_000, headers=(("h", b"x" * 3_000_000), ("kept", b"y"))),
        record(b"v", headers=tuple((f"h{n}", b"x" * 900) for n in range(8_000))),
        record(b"v", headers=(("n" * 5_000_000, b"x"), ("kept", b"y"))),
        record(None, headers=(("h", b"x" * 5_000_000),)),
    ],
    ids=["value", "key", "value and header", "headers", "name", "no value"],
)
def test_what_does_not_fit_is_cut_and_says_so(large: Record, most: int) -> None:
    message = dead_letter(large, WHY.reason, WHY.text, most)
    assert size(message) <= most
    told = {name: (value or b"").decode() for name, value in message.headers}
    whole = large.value or b""
    assert told["aviary-cut"] == f"{len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}"
    assert told["aviary-reason"] == "invalid_data"
    assert told["aviary-source-offset"] == "7"
    assert whole.startswith(message.value or b"")
    assert (message.value is None) == (large.value is None)
    assert told.get("kept", "y") == "y"


def test_a_dead_letter_of_a_batch_says_which_offsets_it_stands_for() -> None:
    fault = Fault(RejectReason.UNREADABLE, "no", 19, "batch")
    message = dead_letter(record(b"raw", fault=fault), fault.reason, fault.text)
    told = dict(message.headers)
    assert told["aviary-source-offset"] == b"7"
    assert told["aviary-source-last-offset"] == b"19"
    assert told["aviary-value-holds"] == b"batch"


@pytest.mark.parametrize("takes", [3_000_000, 900_000, 70_000, 9_000])
async def test_a_topic_that_takes_less_than_it_was_asked_for_gets_less(takes: int) -> None:
    topic = Topic(takes)
    await dead_letters(topic).keep([(record(b"a"), WHY), (record(b"x" * 3_500_000), WHY)])
    assert [len(each.value or b"") > 0 for each in topic.taken] == [True, True]
    assert topic.taken[0].value == b"a"


async def test_where_the_topics_size_is_known_nothing_is_refused() -> None:
    topic = Topic(1_048_588)
    await dead_letters(topic, 1_048_588).keep([(record(b"x" * 1_048_400), WHY)])
    assert topic.refused == 0
    assert len(topic.taken) == 1


async def test_a_topic_that_takes_nothing_is_waited_for() -> None:
    with pytest.raises(Retryable, match="aviary.deadletters takes nothing"):
        await dead_letters(Topic(10)).keep([(record(b"x"), WHY)])


class OutOfStep(Topic):
    """As an idempotent producer is after a refusal: of no use until it is replaced."""

    broken: bool = False

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.broken:
            self.broken = False
            raise Retryable("out of order")
        try:
            await super().send(records)
        except Terminal:
            self.broken = True
            raise


@pytest.mark.parametrize("takes", [900_000, 70_000, 9_000])
async def test_what_was_refused_is_not_tried_for_ever(takes: int) -> None:
    topic = OutOfStep(takes)
    kept = dead_letters(topic)
    for _ in range(10):
        try:
            await kept.keep([(record(b"x" * 3_500_000), WHY)])
        except Retryable:
            continue
        break
    assert len(topic.taken) == 1
