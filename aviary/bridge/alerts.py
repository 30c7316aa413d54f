"""Alerts into signals: each canary that an alert concerns is told once, in as few as will do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from aviary.bridge.batch import Item, Reach, chunks, ended_unseen, lost_item, request_id
from aviary.bridge.event_publisher import EventPublisher, alert_event
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.recently_seen import RecentlySeen
from aviary.bridge.tracing import delivered
from schemas.alert import Alert, AlertStatus
from schemas.catalog import Catalog
from schemas.event_kinds import EventType
from schemas.loss import Loss
from schemas.rejection import Rejected

_log = structlog.get_logger("aviary.bridge")

FAN_OUT: Final = 8
"""Canaries that are told at the same time, for one batch."""
PACE_S: Final = 0.2
"""Between two batches to one canary, so that a storm is gathered: Temporal advises 5 signals/s."""


class Signaller(Protocol):
    """Knows canaries, and tells them."""

    async def canary(self, service: str) -> str | None:
        """The run id of a service's canary; None where none runs. Raises `Retryable`."""
        ...

    async def running(self) -> Sequence[str]:
        """The services whose canaries run. Raises `Retryable`."""
        ...

    async def signal(self, service: str, alerts: Sequence[Alert], request_id: str) -> bool:
        """Send some alerts to a service's canary in one signal; False where none runs.

        Raises:
            Retryable: Temporal did not say yes; the same call again has one effect.
            Rejected: Temporal will never take it.
        """
        ...


@dataclass
class AlertOutcomes:
    """What became of the alerts of one batch, by their keys."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    refused: dict[str, Rejected] = field(default_factory=dict)

    def reached(self, item: Item, outcome: Outcome) -> None:
        """Note that a canary has it; being told now says more than having been told."""
        if self.outcomes.get(item.key) is not Outcome.SIGNALLED:
            self.outcomes[item.key] = outcome

    def add(self, other: AlertOutcomes) -> None:
        """Take in what became of other alerts."""
        self.outcomes |= other.outcomes
        self.refused |= other.refused


class Alerts:
    """Tells canaries of alerts.

    What it remembers saves signals and events, and decides nothing: a canary knows its alerts by
    their identity as well.
    """

    def __init__(
        self,
        signaller: Signaller,
        publisher: EventPublisher,
        metrics: BridgeMetrics,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Act through these; `clock` gives seconds since the epoch."""
        self._signaller = signaller
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock
        self._reach = Reach()
        self._met = RecentlySeen()
        self._sent = RecentlySeen()
        self._acted = RecentlySeen()
        self._passed = RecentlySeen()
        self._slots = asyncio.Semaphore(FAN_OUT)
        self._next: dict[str, float] = {}

    async def everywhere(self, losses: Sequence[tuple[Any, Loss]], catalog: Catalog) -> list[Item]:
        """What tells each canary that runs of losses that may concern any service.

        Raises:
            Retryable: Temporal did not say which canaries run.
        """
        if not losses:
            return []
        async with self._slots:
            running = await self._signaller.running()
        return [
            lost_item(record, loss, service, catalog, index)
            for record, loss in losses
            for index, service in enumerate(running)
        ]

    async def accept(self, items: Sequence[Item], catalog: Catalog) -> AlertOutcomes:
        """Do the alerts of one batch.

        Raises:
            Retryable: Temporal or Kafka is away; do the same batch again later.
        """
        now = self._clock()
        stale = ended_unseen(items, now, acted=self._acted, passed=self._passed)
        became = AlertOutcomes(outcomes=dict.fromkeys(stale, Outcome.STALE))
        fresh = [item for item in items if item.key not in stale]
        await self._deliver_all(self._by_target(fresh, catalog), became)
        events = []
        for item in items:
            outcome = became.outcomes.setdefault(item.key, Outcome.UNMATCHED)
            kind = _EVENTS.get(outcome)
            if kind is not None and item.key not in became.refused:
                events.append(alert_event(kind, item.service, item.alert, now))
        await self._publisher.publish(events)
        for item in items:
            if item.key not in became.refused:
                self._note(item, became.outcomes[item.key])
        return became

    def _by_target(self, items: Iterable[Item], catalog: Catalog) -> dict[str, list[Item]]:
        targets: dict[str, list[Item]] = {}
        for item in items:
            for service in self._reach(catalog, item.service):
                targets.setdefault(service, []).append(item)
        return targets

    async def _deliver_all(self, targets: Mapping[str, list[Item]], became: AlertOutcomes) -> None:
        # All are tried before a failure is let out: one canary must not wait for another's trouble.
        failures = await asyncio.gather(
            *(self._deliver(target, items, became) for target, items in targets.items()),
            return_exceptions=True,
        )
        for failure in failures:
            if failure is not None:
                raise failure

    async def _deliver(self, target: str, items: Sequence[Item], became: AlertOutcomes) -> None:
        canary = None
        if any((target, item.key) in self._met for item in items):
            async with self._slots:
                canary = await self._signaller.canary(target)
            if canary is None:
                return
        new: dict[str, Item] = {}
        for item in items:
            if canary is not None and (target, canary, item.key) in self._sent:
                became.reached(item, Outcome.REPEATED)
            else:
                new.setdefault(item.key, item)
        if new:
            await self._pace(target)
        for chunk in chunks(new.values()):
            if not await self._signal(target, canary, chunk, became):
                self._next.pop(target, None)  # nobody was told, nobody needs the pause
                return

    async def _signal(
        self, target: str, canary: str | None, chunk: Sequence[Item], became: AlertOutcomes
    ) -> bool:
        """Send one signal; False if no canary runs, or not any more.

        What is heard of for the first time goes without asking which canary runs: a rollback must
        not wait for the answer. Who it reached is not known then (asking afterwards may name the
        next canary), so that a first repeat costs a signal as well, and no other does.
        """
        with delivered(target, chunk):
            return await self._send(target, canary, chunk, became)

    async def _send(
        self, target: str, canary: str | None, chunk: Sequence[Item], became: AlertOutcomes
    ) -> bool:
        alerts = [item.alert for item in chunk]
        try:
            async with self._slots:
                there = await self._signaller.signal(target, alerts, request_id(chunk))
        except Rejected as why:
            became.refused |= {item.key: why for item in chunk}
            return True
        if not there:
            return False
        self._metrics.signal()
        for item in chunk:
            self._met.add((target, item.key))
            if canary is not None:
                self._sent.add((target, canary, item.key))
            if item.alert.status is AlertStatus.FIRING:
                self._acted.add(item.occurrence)
            became.reached(item, Outcome.SIGNALLED)
        _log.info("alerts_signalled", service=target, alerts=len(chunk), first=chunk[0].alert.name)
        return True

    async def _pace(self, target: str) -> None:
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next.get(target, now))
        self._next[target] = turn + PACE_S
        await asyncio.sleep(turn - now)

    def _note(self, item: Item, outcome: Outcome) -> None:
        if outcome is Outcome.UNMATCHED:
            self._metrics.unmatched()
        elif outcome is Outcome.STALE:
            self._metrics.stale(item.record.topic)
        else:
            return
        if item.alert.status is AlertStatus.FIRING:
            self._passed.add(item.occurrence)
        _log.info(f"alert_{outcome}", service=item.service, alert=item.alert.name)


_EVENTS: Final[dict[Outcome, EventType]] = {
    Outcome.UNMATCHED: EventType.ALERT_UNMATCHED,
    Outcome.STALE: EventType.ALERT_STALE,
}
_RANK: Final = (Outcome.SIGNALLED, Outcome.REPEATED, Outcome.STALE, Outcome.UNMATCHED)


def outcome_of(record: Any, items: Iterable[Item], became: AlertOutcomes) -> Outcome:
    """What became of a record: of its alerts, what says most."""
    found = {became.outcomes[item.key] for item in items if item.record is record}
    return next((outcome for outcome in _RANK if outcome in found), Outcome.UNMATCHED)
