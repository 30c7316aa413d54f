"""CDEvents beside Aviary's own events, for tools that know only those.

CDEvents 0.4.1 (https://cdevents.dev): a service was upgraded or rolled back, an incident was
detected. `service.deployed` does not occur: a canary always has a stable version beside it.
The CloudEvents binding: a CDEvent's type, id, source and time are the CloudEvent's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from schemas.events import CDEventType, CloudEvent, EventType
from schemas.release import CauseKind

SPEC_VERSION: Final = "0.4.1"
SERVICES: Final = "/aviary/services"
"""Source of the services that subjects name."""

_OF_SERVICES: Final[Mapping[str, CDEventType]] = {
    EventType.CANARY_FINALIZED: CDEventType.SERVICE_UPGRADED,
    EventType.CANARY_ROLLEDBACK: CDEventType.SERVICE_ROLLEDBACK,
}
_INCIDENTS: Final = frozenset({CauseKind.ALERT.value, CauseKind.VERDICT.value})


def with_cdevents(events: Iterable[CloudEvent]) -> tuple[CloudEvent, ...]:
    """Return the events, each followed by the CDEvent that says the same, where there is one."""
    return tuple(each for event in events for each in (event, cdevent(event)) if each is not None)


def cdevent(event: CloudEvent) -> CloudEvent | None:
    """Return the CDEvent that says what one of Aviary's events says; None if none does.

    Pure: its id is the event's with `/cdevent` after it, so that a repetition is recognised.
    What lacks the fields that CDEvents demands (from an older release) has none either.
    """
    if event.type in _OF_SERVICES:
        return _service(event, _OF_SERVICES[event.type])
    if event.type == EventType.RELEASE_ROLLINGBACK:
        return _incident(event)
    return None


def _service(event: CloudEvent, kind: CDEventType) -> CloudEvent | None:
    """A service became another version, or became again what it was."""
    service, data = event.subject, event.data
    back = kind is CDEventType.SERVICE_ROLLEDBACK
    now = data.get("stable" if back else "version")
    if not service or not isinstance(now, str):
        return None
    content = {"environment": _environment(data), "artifactId": artifact(service, now)}
    subject = {"id": service, "source": SERVICES, "type": "service", "content": content}
    custom = {"release": data.get("release"), "version": data.get("version"), "now": now}
    return _wrap(event, kind, subject, custom)


def _incident(event: CloudEvent) -> CloudEvent | None:
    """A release goes back because of what was measured or alerted, and not by a person's word."""
    cause = event.data.get("cause") or {}
    if cause.get("kind") not in _INCIDENTS:
        return None
    service, versions = cause.get("service"), event.data.get("services") or {}
    content: dict[str, Any] = {
        "description": cause.get("text", ""),
        "environment": _environment(event.data),
    }
    if service:
        content["service"] = {"id": service, "source": SERVICES}
    if service and service in versions:
        content["artifactId"] = artifact(service, versions[service])
    identity = f"{event.data.get('release')}/incident"
    subject = {"id": identity, "source": event.source, "type": "incident", "content": content}
    custom = {"release": event.data.get("release"), "cause": cause["kind"]}
    return _wrap(event, CDEventType.INCIDENT_DETECTED, subject, custom)


def artifact(service: str, version: str) -> str:
    """The version of a service as a package URL (purl) of no particular registry."""
    return f"pkg:generic/{quote(service, safe='')}@{quote(version, safe='')}"


def _environment(data: Mapping[str, Any]) -> dict[str, str]:
    return {"id": data.get("environment") or "default"}


def _wrap(
    event: CloudEvent, kind: CDEventType, subject: dict[str, Any], custom: dict[str, Any]
) -> CloudEvent:
    identity = f"{event.id}/cdevent"
    context = {
        "version": SPEC_VERSION,
        "id": identity,
        "source": event.source,
        "type": kind.value,
        "timestamp": event.time.isoformat(),
        "chainId": event.partitionkey,
    }
    return CloudEvent(
        type=kind,
        source=event.source,
        id=identity,
        time=event.time,
        subject=subject["id"],
        partitionkey=event.partitionkey,
        data={
            "context": context,
            "subject": subject,
            "customData": custom,
            "customDataContentType": "application/json",
        },
    )
