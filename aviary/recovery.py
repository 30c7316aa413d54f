"""After a loss of alerts: what fires is asked for, or else what it may concern is paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.errors import AdapterError, Terminal
from adapters.kafka import Headers, Outgoing
from adapters.ports import AlertSource
from aviary.notifications import ServiceOf, records_of
from schemas import ids
from schemas.alert import Alert
from schemas.events import JSON_CONTENT_TYPE
from schemas.loss import Loss, LossReason

_log = structlog.get_logger("aviary.webhook")

TOLD_S: Final = 30.0
"""What was asked for and written so lately is not written again: Alertmanager repeats what was
refused every `group_interval`, which may be a second."""
TOLD_MOST: Final = 50_000
ASK_S: Final = 3.0
"""Alertmanager gives a notification 10 s; Kafka needs its share of them."""


@dataclass(frozen=True)
class Lost:
    """Alerts that did not come with a notification."""

    reason: LossReason
    text: str
    receiver: str | None = None
    """Whom the notification was for, by which Alertmanager knows what else it would have sent."""
    service: str | None = None
    """The one service that all of them are about, if the notification says so."""


@dataclass(frozen=True)
class Recovered:
    """What is to be written for a loss to be made good."""

    records: tuple[Outgoing, ...]
    paused: bool
    """What fires could not be asked."""
    identities: tuple[str, ...] = ()
    """Of the alerts in it."""


class Recovery:
    """Makes losses good."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        source: AlertSource | None,
        service_of: ServiceOf,
        is_known: Callable[[str], bool],
        clock: Callable[[], float],
        *,
        deciding: Callable[[], Container[str]] = frozenset,
        ask_s: float = ASK_S,
    ) -> None:
        """Make losses good by these.

        Args:
            source: knows what fires; None if there is nobody to ask.
            service_of: names the service of an alert by its labels.
            is_known: whether the catalog has a service.
            clock: seconds since the epoch.
            deciding: names of labels that a label set too large keeps.
            ask_s: seconds that an answer may take.
        """
        self._source = source
        self._service_of = service_of
        self._is_known = is_known
        self._clock = clock
        self._deciding = deciding
        self._ask_s = ask_s
        self._asking = asyncio.Lock()
        self._asked = 0
        self._told: dict[str, float] = {}
        self._answers: dict[str | None, tuple[int, Sequence[Alert]]] = {}

    async def after(self, lost: Lost, headers: Headers) -> Recovered:
        """What to write, with these headers: all that fires, or the order to pause."""
        try:
            firing = await self._firing(lost.receiver)
        except AdapterError as error:
            return self.pause(lost, str(error), headers)
        except TimeoutError:
            return self.pause(lost, f"no answer within {self._ask_s:g} s", headers)
        fire, recovered = await asyncio.to_thread(self._recovered, firing, headers)
        _log.warning("alerts_lost", reason=lost.reason, detail=lost.text, fire=fire)
        return recovered

    def _recovered(self, firing: Sequence[Alert], headers: Headers) -> tuple[int, Recovered]:
        """How many of them are about our services, and what is to be written; long for many."""
        ours = [alert for alert in firing if self._is_ours(alert)]
        new = [alert for alert in ours if not self._is_told(alert.identity)]
        records = tuple(records_of(new, self._service_of, headers))
        identities = tuple(each.identity for each in new)
        return len(ours), Recovered(records, paused=False, identities=identities)

    def written(self, recovered: Recovered) -> None:
        """Remember what is durable now."""
        now = self._clock()
        self._told |= dict.fromkeys(recovered.identities, now)
        if len(self._told) > TOLD_MOST:
            self._told = {one: at for one, at in self._told.items() if now - at < TOLD_S}

    def _is_told(self, identity: str) -> bool:
        return 0 <= self._clock() - self._told.get(identity, -TOLD_S) < TOLD_S

    def _is_ours(self, alert: Alert) -> bool:
        service = self._service_of(alert.labels)
        return service is not None and self._is_known(service)

    async def _firing(self, receiver: str | None) -> Sequence[Alert]:
        """All that fires, asked for after this call; those who wait share one answer."""
        source = self._source
        if source is None:
            raise Terminal("AVIARY_ALERTMANAGER_URL is not set")
        mine = self._asked
        async with asyncio.timeout(self._ask_s), self._asking:
            number, answer = self._answers.get(receiver, (0, ()))
            if number > mine:
                return answer
            self._asked += 1
            number = self._asked
            found = await source.firing(receiver, self._deciding())
            self._answers = {receiver: (number, found)}
            return found

    def pause(self, lost: Lost, why: str, headers: Headers) -> Recovered:
        """The order to pause what a loss may concern, and why nothing better could be done."""
        service = lost.service if lost.service and self._is_known(lost.service) else None
        text = f"{lost.text}; what fires could not be asked of Alertmanager: {why}"
        loss = Loss.at(self._clock(), lost.reason, text, service)
        _log.error("alerts_lost", reason=lost.reason, detail=text, pauses=service or "all canaries")
        content = ("content-type", JSON_CONTENT_TYPE.encode())
        key = service.encode() if service else None
        record = Outgoing(ids.TOPIC_ALERTS, loss.wire(), key, (content, *headers))
        return Recovered((record,), paused=True)
