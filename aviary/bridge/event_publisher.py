"""What the bridge records on `aviary.events`: what it read and did not act upon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from aviary.bridge.recently_seen import RecentlySeen
from schemas.alert import Alert
from schemas.deploy import DeployEvent
from schemas.event_kinds import EventType
from schemas.events import CloudEvent

_SOURCE: Final = "/aviary/bridge"
_MOST: Final = 50
_LONGEST: Final = 500


class EventLog(Protocol):
    """Keeps events."""

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Return once all are durable. Raises `Retryable` or `Terminal`."""
        ...


class EventPublisher:
    """Publishes each event once, as far as it remembers; its id is always the same."""

    def __init__(self, log: EventLog) -> None:
        """Publish to this log."""
        self._log = log
        self._told = RecentlySeen()

    async def publish(self, events: Iterable[CloudEvent]) -> None:
        """Publish those that were not yet; returns once they are durable.

        Raises:
            Retryable: Kafka is away; publishing all again is right.
        """
        new = {event.id: event for event in events if event.id not in self._told}
        if new:
            await self._log.publish(list(new.values()))
            for each in new:
                self._told.add(each)


def stale_deploy(event: DeployEvent, at: datetime, now: float, max_age_s: int) -> CloudEvent:
    """The record of a deploy event that came too late."""
    deploy = event.deploy
    services = {item.service: item.version for item in deploy.services[:_MOST]}
    data: dict[str, Any] = {
        "release": deploy.release,
        "services": services,
        "services_total": len(deploy.services),
        "event": _cut(event.origin),
        "event_time": at.isoformat(),
        "age_s": round(now - at.timestamp()),
        "max_age_s": max_age_s,
    }
    return CloudEvent(
        type=EventType.DEPLOY_STALE,
        source=_SOURCE,
        id=f"deploy-stale/{deploy.release}/{deploy.digest()[:12]}",
        time=datetime.fromtimestamp(now, UTC),
        subject=deploy.release,
        partitionkey=deploy.release,
        data=data,
    )


def alert_event(kind: EventType, service: str, alert: Alert, now: float) -> CloudEvent:
    """The record of an alert that was not acted upon; long labels are cut."""
    labels = {_cut(key): _cut(value) for key, value in list(alert.labels.items())[:_MOST]}
    data: dict[str, Any] = {
        "service": service,
        "alert": _cut(alert.name),
        "status": alert.status,
        "fingerprint": _cut(alert.fingerprint),
        "labels": labels,
        "starts_at": alert.starts_at.isoformat(),
        "ends_at": alert.ends_at.isoformat() if alert.ends_at else None,
    }
    word = kind.split(".")[-2]
    return CloudEvent(
        type=kind,
        source=_SOURCE,
        id=f"alert-{word}/{service}/{_cut(alert.identity)}",
        time=datetime.fromtimestamp(now, UTC),
        subject=service,
        partitionkey=service,
        data=data,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
