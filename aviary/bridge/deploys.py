"""Deploy events into releases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from aviary.bridge.batch import name
from aviary.bridge.event_publisher import EventPublisher, stale_deploy
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.bridge.threads import Threads
from aviary.deploy_plan import plan_event
from schemas.catalog import Catalog
from schemas.deploy import DeployEvent, parse_deploy
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleasePlan

_log = structlog.get_logger("aviary.bridge")
_FEW: Final = 20
_SMALL: Final = 300
"""Services of a release, and of the catalog, that are planned without a thread: in a millisecond,
or a few where a name is wrong and the nearest is looked for."""
_NO_TIMESTAMP: Final = -1
"""What Kafka keeps of a record whose producer gave it no time."""
_SHORT: Final = 16 * 1024
"""Bytes of an event that is read without a thread: in a few milliseconds."""


class Starter(Protocol):
    """Starts releases."""

    async def start(self, plan: ReleasePlan, digest: str, request_id: str) -> bool:
        """Start a release; False where it is known, and was asked for with the same digest.

        Raises:
            Retryable: Temporal did not say yes; the same call again has one effect.
            Rejected: the release is known with another digest, or will never be taken.
        """
        ...


class Deploys:
    """Starts the release that a deploy event asks for."""

    def __init__(  # noqa: PLR0913 - its parts
        self,
        starter: Starter,
        publisher: EventPublisher,
        catalog: Callable[[], Awaitable[Catalog]],
        metrics: BridgeMetrics,
        threads: Threads,
        *,
        max_age_s: int,
        clock: Callable[[], float],
    ) -> None:
        """Act through these; `max_age_s` 0 means that no event is too old."""
        self._starter = starter
        self._publisher = publisher
        self._catalog = catalog
        self._metrics = metrics
        self._threads = threads
        self._max_age_s = max_age_s
        self._clock = clock

    async def accept(self, record: Any) -> Outcome:
        """Do one record.

        Raises:
            Retryable: Temporal or Kafka is away; do the same record again later.
            Rejected: it can never be acted upon.
        """
        event, digest = await self._read(record)
        at = _time(event, record, self._clock())
        if self._is_stale(at):
            now = self._clock()
            await self._publisher.publish([stale_deploy(event, at, now, self._max_age_s)])
            self._metrics.stale(record.topic)
            _log.warning("deploy_stale", release=event.deploy.release, event_time=at.isoformat())
            return Outcome.STALE
        plan = await self._planned(event, name(record))
        new = await self._starter.start(plan, digest, name(record))
        _log.info("release_started" if new else "release_known", release=plan.release)
        return Outcome.STARTED if new else Outcome.DUPLICATE

    async def _read(self, record: Any) -> tuple[DeployEvent, str]:
        if record.size <= _SHORT:
            return _event(record)
        return await self._threads.run(_event, record)

    def _is_stale(self, at: datetime) -> bool:
        return self._max_age_s > 0 and self._clock() - at.timestamp() > self._max_age_s

    async def _planned(self, event: DeployEvent, record: str) -> ReleasePlan:
        catalog = await self._catalog()
        if len(event.deploy.services) <= _FEW and len(catalog.services) <= _SMALL:
            return plan_event(event, record, catalog)
        # In a thread: planning ten thousand services must not hold up an alert.
        return await self._threads.run(plan_event, event, record, catalog)


def _event(record: Any) -> tuple[DeployEvent, str]:
    event = parse_deploy(record.value, record.headers)
    return event, event.deploy.digest()


def _time(event: DeployEvent, record: Any, now: float) -> datetime:
    """When the event says that it was, or else when Kafka got it; now, where neither is known.

    Raises:
        Rejected: neither is a time.
    """
    if event.time is not None:
        return event.time
    if record.timestamp == _NO_TIMESTAMP:
        return datetime.fromtimestamp(now, UTC)
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        text = (
            f"record timestamp: {error}, got {record.timestamp}, expected milliseconds since 1970"
        )
        raise Rejected(RejectReason.UNPARSABLE, text) from error
