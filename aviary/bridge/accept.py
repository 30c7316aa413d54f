"""What becomes of one record: a release, a signal, or a dead letter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import structlog

from adapters.kafka import Outgoing, dead_letter
from aviary.bridge.metrics import BridgeMetrics, Outcome
from schemas import ids
from schemas.alert import Alert, WebhookPayload, find_service
from schemas.catalog import Catalog
from schemas.deploy import DeployEvent, parse_deploy
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleasePlan
from workflows.planning import PlanError, PlanReason, plan_release

_log = structlog.get_logger("aviary.bridge")

_PLAN_REASONS: Final = {
    PlanReason.UNKNOWN_SERVICE: RejectReason.UNKNOWN_SERVICE,
    PlanReason.UNKNOWN_STRATEGY: RejectReason.UNKNOWN_STRATEGY,
    PlanReason.DUPLICATE_SERVICE: RejectReason.INVALID_DATA,
}
_ANY_ENVIRONMENT: Final = "default"


class Intake(Protocol):
    """What the bridge asks of Temporal."""

    async def start(self, plan: ReleasePlan, request_id: str) -> bool: ...

    async def signal(self, service: str, alert: Alert, request_id: str) -> bool: ...


class Writer(Protocol):
    """Writes dead letters."""

    async def send(self, records: list[Outgoing]) -> None: ...


class Acceptor:
    """Does what a record asks for; once it returns, the record's offset may be committed.

    Doing a record twice has the effect of doing it once: the release's workflow id and the request
    ids (`topic/partition/offset`) see to that.
    """

    def __init__(
        self,
        intake: Intake,
        dead_letters: Writer,
        catalog: Callable[[], Catalog],
        metrics: BridgeMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Act through these.

        Args:
            intake: starts releases and signals canaries.
            dead_letters: writes what can't be acted upon.
            catalog: gives the newest catalog; is called in a thread, and may block.
            metrics: counts.
            clock: seconds since the epoch.
        """
        self._intake = intake
        self._dead_letters = dead_letters
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock

    async def accept(self, record: Any) -> Outcome:
        """Do one record.

        Raises:
            Retryable: Temporal or Kafka is away; do the same record again later.
        """
        try:
            act = self._deploy if record.topic == ids.TOPIC_DEPLOYS else self._alerts
            outcome = await act(record)
        except Rejected as why:
            await self._dead_letters.send([dead_letter(record, why.reason, why.text)])
            self._metrics.dead_letter(record.topic, why.reason)
            _log.warning("dead_letter", record=_name(record), reason=why.reason, error=why.text)
            outcome = Outcome.DEAD_LETTER
        self._metrics.done(record.topic, outcome, self._clock() - record.timestamp / 1000)
        return outcome

    async def _deploy(self, record: Any) -> Outcome:
        # In a thread: planning ten thousand services must not hold up an alert.
        plan = await asyncio.to_thread(self._plan, record)
        new = await self._intake.start(plan, _name(record))
        _log.info("release_started" if new else "release_known", release=plan.release)
        return Outcome.STARTED if new else Outcome.DUPLICATE

    def _plan(self, record: Any) -> ReleasePlan:
        event = parse_deploy(record.value, record.headers)
        catalog = self._catalog()
        _check_environment(event, catalog)
        try:
            return plan_release(catalog, event.deploy, source=event.origin)
        except PlanError as error:
            raise Rejected(_PLAN_REASONS[error.reason], error.text) from error
        except Exception as error:
            # A fault of ours that this record brings out each time: kept, but not in the way.
            _log.exception("planning_fault", record=_name(record))
            text = f"no plan because of a fault: {type(error).__name__}: {error}"
            raise Rejected(RejectReason.UNPLANNABLE, text) from error

    async def _alerts(self, record: Any) -> Outcome:
        alerts = WebhookPayload.parse(record.value).to_alerts()
        catalog = await asyncio.to_thread(self._catalog)
        known, unknown = _by_service(alerts, catalog)
        signalled = False
        for index, (service, alert) in known:
            request_id = _name(record) if index == 0 else f"{_name(record)}/{index}"
            if await self._intake.signal(service, alert, request_id):
                signalled = True
                _log.info("alert_signalled", service=service, alert=alert.name, status=alert.status)
            else:
                self._metrics.unmatched()
                _log.info("alert_unmatched", service=service, alert=alert.name)
        if unknown:
            raise Rejected(RejectReason.UNKNOWN_SERVICE, "; ".join(unknown))
        return Outcome.SIGNALLED if signalled else Outcome.UNMATCHED


def _name(record: Any) -> str:
    """The same for every delivery of one record, and for no other."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def _check_environment(event: DeployEvent, catalog: Catalog) -> None:
    ours = catalog.environment
    if event.environment is not None and ours not in {_ANY_ENVIRONMENT, event.environment}:
        where = "data.subject.content.environment.id"
        text = f"{where}: got {event.environment!r}, expected the catalog's environment {ours!r}"
        raise Rejected(RejectReason.OTHER_ENVIRONMENT, text)


def _by_service(
    alerts: Iterable[Alert], catalog: Catalog
) -> tuple[list[tuple[int, tuple[str, Alert]]], list[str]]:
    """Alerts with their place and service, and what is wrong with those that have none."""
    names = catalog.alert_labels.service
    known, unknown = [], []
    for index, alert in enumerate(alerts):
        service = find_service(alert.labels, names, catalog.services)
        if service is None:
            labels = ", ".join(sorted(alert.labels)) or "none"
            expected = "expected one of " + ", ".join(names)
            unknown.append(f"alerts[{index}].labels: {expected}, got {labels}")
        elif service not in catalog.services:
            unknown.append(
                f"alerts[{index}].labels: {service!r} is no service of the catalog, "
                f"expected one in {' or '.join(names)}"
            )
        else:
            known.append((index, (service, alert)))
    return known, unknown
