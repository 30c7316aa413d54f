"""What becomes of records: releases, signals, events about what is not acted upon, dead letters."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from adapters.kafka import KafkaEventLog, Writer, dead_letter
from aviary.bridge.alerts import Alerts, Signaller, Told, outcome_of
from aviary.bridge.batch import Item, name, read
from aviary.bridge.deploys import Deploys, Starter
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.tell import Teller
from aviary.bridge.tracing import consumed
from schemas import ids
from schemas.catalog import Catalog
from schemas.deciding import DecidingLabels
from schemas.rejection import Rejected

_log = structlog.get_logger("aviary.bridge")

MAX_AGE_S: Final = 86_400
"""Default age, in seconds, from which on a deploy event is not acted upon."""


class Intake(Starter, Signaller, Protocol):
    """What the bridge asks of Temporal."""


class Acceptor:
    """Does what records ask for; once it returns, their offsets may be committed.

    Doing a record twice has the effect of doing it once: the release's workflow id, the request ids
    and the identities of alerts see to that.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        intake: Intake,
        writer: Writer,
        catalog: Callable[[], Awaitable[Catalog]],
        metrics: BridgeMetrics,
        *,
        max_age_s: int = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Act through these.

        Args:
            intake: starts releases and signals canaries.
            writer: writes dead letters, and events about what is not acted upon.
            catalog: gives the newest catalog.
            metrics: counts.
            max_age_s: deploy events older than so many seconds are not acted upon; 0: no limit.
            clock: seconds since the epoch.
        """
        teller = Teller(KafkaEventLog(writer))
        self._deploys = Deploys(intake, teller, catalog, metrics, max_age_s=max_age_s, clock=clock)
        self._alerts = Alerts(intake, teller, metrics, clock=clock)
        self._writer = writer
        self._deciding = DecidingLabels()
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock

    async def accept(self, records: Sequence[Any]) -> list[Outcome]:
        """Do some records of one partition that follow each other.

        Raises:
            Retryable: Temporal or Kafka is away; do the same records again later.
        """
        if records[0].topic == ids.TOPIC_DEPLOYS:
            outcomes = [await self._deploy(record) for record in records]
        else:
            outcomes = await self._alert(records)
        for record, outcome in zip(records, outcomes, strict=True):
            self._metrics.done(record.topic, outcome, self._clock() - record.timestamp / 1000)
        return outcomes

    async def _deploy(self, record: Any) -> Outcome:
        with consumed(record) as span:
            try:
                outcome = await self._deploys.accept(record)
            except Rejected as why:
                await self._refuse([(record, why)])
                span.set_attribute("aviary.reason", why.reason.value)
                outcome = Outcome.DEAD_LETTER
            span.set_attribute("aviary.outcome", outcome.value)
        return outcome

    async def _alert(self, records: Sequence[Any]) -> list[Outcome]:
        catalog = await self._catalog()
        batch = read(records, catalog, self._deciding(catalog))
        refused = dict(batch.refused)
        items = [*batch.items, *await self._alerts.everywhere(batch.losses, catalog)]
        told = await self._alerts.accept(items, catalog)
        refused |= _refused_by_temporal(records, items, told)
        await self._refuse([(records[position], why) for position, why in refused.items()])
        return [
            Outcome.DEAD_LETTER if position in refused else outcome_of(record, items, told)
            for position, record in enumerate(records)
        ]

    async def _refuse(self, refused: Sequence[tuple[Any, Rejected]]) -> None:
        if not refused:
            return
        await self._writer.send(
            [dead_letter(record, why.reason, why.text) for record, why in refused]
        )
        for record, why in refused:
            self._metrics.dead_letter(record.topic, why.reason)
            _log.warning("dead_letter", record=name(record), reason=why.reason, error=why.text)


def _refused_by_temporal(
    records: Sequence[Any], items: Sequence[Item], told: Told
) -> dict[int, Rejected]:
    by_record = {
        name(item.record): told.refused[item.key] for item in items if item.key in told.refused
    }
    return {n: by_record[name(each)] for n, each in enumerate(records) if name(each) in by_record}
