"""The hash chain as a broker hands it out: each record of a topic, whatever its partition."""

from __future__ import annotations

import pytest

from adapters.errors import Retryable
from adapters.kafka import KafkaEventLog, KafkaOptions, Outgoing
from aviary.audit.gather import Gathered
from aviary.audit.topic import records_of
from aviary.audit.verify import Audit, verify
from schemas import ids
from schemas.events import CloudEvent
from tests.contract.kafka.parts import Broker
from tests.unit.audit.chains import chain_of, edited


async def audits_of(broker: Broker) -> dict[str, Audit]:
    gathered = Gathered()
    async for value, where in records_of(broker.options, ids.TOPIC_EVENTS):
        gathered.take(value, where)
    return {one.release: one for one in verify(gathered.links, gathered.flaws)}


async def test_what_is_published_twice_is_whole_and_what_is_touched_is_not(broker: Broker) -> None:
    chains = {name: chain_of(6, release=name) for name in ("r1", "r2", "r3", "r4", "r5")}
    async with broker.sender() as sender:
        log = KafkaEventLog(sender)
        for records in chains.values():
            events = [CloudEvent.model_validate_json(one) for one in records]
            await log.publish(events)
            await log.publish(events[2:4])  # a retry
    audits = await audits_of(broker)
    assert set(audits) == set(chains)
    assert [(one.found, one.ended, one.copies) for one in audits.values()] == [([], True, 2)] * 5
    async with broker.sender() as sender:
        value = edited(chains["r2"][3], subject="payments")
        await sender.send([Outgoing(ids.TOPIC_EVENTS, value, b"r2")])
        await sender.send([Outgoing(ids.TOPIC_EVENTS, b"\xff not an event", b"r2")])
    audits = await audits_of(broker)
    (found,) = audits["r2"].found
    assert (found.kind.value, found.link) == ("changed", 3)
    assert found.where.startswith("aviary.events/")
    assert [one.kind.value for one in audits[""].found] == ["unreadable"]


async def test_an_empty_topic_has_nothing_and_no_broker_is_retryable(broker: Broker) -> None:
    assert await audits_of(broker) == {}
    with pytest.raises(Retryable, match="nowhere"):
        async for _ in records_of(broker.options, "nowhere"):
            pass
    away = KafkaOptions(bootstrap="127.0.0.1:1", request_timeout_s=1)
    with pytest.raises(Retryable, match=r"127\.0\.0\.1:1"):
        async for _ in records_of(away, ids.TOPIC_EVENTS):
            pass
