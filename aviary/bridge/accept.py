"""What becomes of records: releases, signals, events about what is not acted upon, dead letters."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from adapters.kafka import DEADLETTER_MAX_BYTES, KafkaEventLog, Writer
from aviary.bridge.alerts import AlertOutcomes, Alerts, Signaller, outcome_of
from aviary.bridge.batch import Item, name, read
from aviary.bridge.dead_letters import DeadLetters
from aviary.bridge.deploys import Deploys, Starter
from aviary.bridge.event_publisher import EventPublisher
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.threads import Threads
from aviary.bridge.tracing import consumed
from schemas import ids
from schemas.catalog import Catalog
from schemas.deciding import DecidingLabels
from schemas.rejection import Rejected, RejectReason

_log = structlog.get_logger("aviary.bridge")

MAX_AGE_S: Final = 86_400
"""Default age, in seconds, from which on a deploy event is not acted upon."""
VALUE_MOST: Final = 1024 * 1024
"""Bytes of a record's value that are looked at; Kafka's own default for a whole record."""
SMALL: Final = 16 * 1024
"""Bytes up to which records are read without a thread: in a few milliseconds."""


class Gateway(Starter, Signaller, Protocol):
    """What the bridge asks of Temporal."""


class Acceptor:
    """Does what records ask for; once it returns, their offsets may be committed.

    Doing a record twice has the effect of doing it once: the release's workflow id, the request ids
    and the identities of alerts see to that.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        gateway: Gateway,
        writer: Writer,
        catalog: Callable[[], Awaitable[Catalog]],
        metrics: BridgeMetrics,
        *,
        max_age_s: int = MAX_AGE_S,
        dead_letter_most: int = DEADLETTER_MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Act through these.

        Args:
            gateway: starts releases and signals canaries.
            writer: writes dead letters, and events about what is not acted upon.
            catalog: gives the newest catalog.
            metrics: counts.
            max_age_s: deploy events older than so many seconds are not acted upon; 0: no limit.
            dead_letter_most: bytes that a dead letter may have.
            clock: seconds since the epoch.
        """
        publisher = EventPublisher(KafkaEventLog(writer))
        self._threads = {topic: Threads(topic) for topic in (ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS)}
        self._deploys = Deploys(
            *(gateway, publisher, catalog, metrics, self._threads[ids.TOPIC_DEPLOYS]),
            max_age_s=max_age_s,
            clock=clock,
        )
        self._alerts = Alerts(gateway, publisher, metrics, clock=clock)
        self._dead_letters = DeadLetters(writer, metrics, dead_letter_most)
        self._deciding = DecidingLabels()
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock

    async def accept(self, records: Sequence[Any]) -> list[Outcome]:
        """Do some records of one partition that follow each other.

        Raises:
            Retryable: Temporal or Kafka is away; do the same records again later.
        """
        hopeless = {n: why for n, each in enumerate(records) if (why := _hopeless(each))}
        rest = [each for n, each in enumerate(records) if n not in hopeless]
        if not rest:
            done: list[Outcome] = []
        elif records[0].topic == ids.TOPIC_DEPLOYS:
            done = [await self._deploy(record) for record in rest]
        else:
            done = await self._alert(rest)
        await self._dead_letters.keep([(records[n], why) for n, why in hopeless.items()])
        left = iter(done)
        outcomes = [
            Outcome.DEAD_LETTER if n in hopeless else next(left) for n in range(len(records))
        ]
        for record, outcome in zip(records, outcomes, strict=True):
            self._metrics.done(record.topic, outcome, self._age(record))
        return outcomes

    async def give_up(self, record: Any, error: Exception) -> None:
        """Keep a record that we fail at each time, so that those behind it are done.

        Raises:
            Retryable: Kafka is away; give it up again later.
        """
        text = f"given up because of a fault: {type(error).__name__}: {error}"
        await self._dead_letters.keep([(record, Rejected(RejectReason.FAULT, text))])
        self._metrics.done(record.topic, Outcome.DEAD_LETTER, self._age(record))

    def _age(self, record: Any) -> float:
        """Seconds since its timestamp; 0 where it has none."""
        return self._clock() - record.timestamp / 1000 if record.timestamp >= 0 else 0.0

    def close(self) -> None:
        """Begin nothing more."""
        for threads in self._threads.values():
            threads.close()

    async def _deploy(self, record: Any) -> Outcome:
        with consumed(record) as span:
            try:
                outcome = await self._deploys.accept(record)
            except Rejected as why:
                await self._dead_letters.keep([(record, why)])
                span.set_attribute("aviary.reason", why.reason.value)
                outcome = Outcome.DEAD_LETTER
            span.set_attribute("aviary.outcome", outcome.value)
        return outcome

    async def _alert(self, records: Sequence[Any]) -> list[Outcome]:
        catalog = await self._catalog()
        deciding = self._deciding(catalog)
        if sum(len(record.value or b"") for record in records) <= SMALL:
            batch = read(records, catalog, deciding)
        else:
            batch = await self._threads[ids.TOPIC_ALERTS].run(read, records, catalog, deciding)
        refused = dict(batch.refused)
        told = await self._alerts.accept(batch.items, catalog)
        # After what a rollback may wait for: it asks Temporal which canaries run.
        everywhere = await self._alerts.everywhere(batch.losses, catalog)
        told.add(await self._alerts.accept(everywhere, catalog))
        items = [*batch.items, *everywhere]
        for loss in batch.lost:
            self._metrics.lost(loss.reason)
            _log.error("alerts_lost", reason=loss.reason, detail=loss.text, service=loss.service)
        refused |= _refused_by_temporal(records, items, told)
        await self._dead_letters.keep(
            [(records[position], why) for position, why in refused.items()]
        )
        return [
            Outcome.DEAD_LETTER if position in refused else outcome_of(record, items, told)
            for position, record in enumerate(records)
        ]


def _hopeless(record: Any) -> Rejected | None:
    """Why a record need not be looked into; None where it must be."""
    if record.fault is not None:
        return Rejected(record.fault.reason, record.fault.text)
    length = len(record.value or b"")
    if length > VALUE_MOST:
        text = f"value: got {length} bytes, expected at most {VALUE_MOST}"
        return Rejected(RejectReason.TOO_LARGE, text)
    return None


def _refused_by_temporal(
    records: Sequence[Any], items: Sequence[Item], told: AlertOutcomes
) -> dict[int, Rejected]:
    by_record = {
        name(item.record): told.refused[item.key] for item in items if item.key in told.refused
    }
    return {n: by_record[name(each)] for n, each in enumerate(records) if name(each) in by_record}
