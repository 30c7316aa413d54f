"""CDEvents beside Aviary's own events, for tools that know only those.

CDEvents 0.4.1 or 0.5.0 (https://cdevents.dev): a service was upgraded or rolled back, an incident
was detected. `service.deployed` does not occur: a canary always has a stable version beside it.
The CloudEvents binding: a CDEvent's type, id, source and time are the CloudEvent's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel

from schemas.base import Model
from schemas.event_kinds import CDEventType, EventType
from schemas.events import CloudEvent
from schemas.release import CauseKind

SERVICES: Final = "/aviary/services"
"""Source of the services that subjects name."""


class CdVersion(StrEnum):
    """A version of CDEvents that can be published."""

    V0_4 = "0.4.1"
    V0_5 = "0.5.0"
    """The context names it `specversion`, and a subject has no `type` any more."""


_NEWER: Final[Mapping[CDEventType, CDEventType]] = {
    CDEventType.SERVICE_UPGRADED: CDEventType.SERVICE_UPGRADED_0_5,
    CDEventType.SERVICE_ROLLEDBACK: CDEventType.SERVICE_ROLLEDBACK_0_5,
    CDEventType.INCIDENT_DETECTED: CDEventType.INCIDENT_DETECTED_0_5,
}
"""Types of 0.5 for those of 0.4."""
_OF_SERVICES: Final[Mapping[str, CDEventType]] = {
    EventType.CANARY_FINALIZED: CDEventType.SERVICE_UPGRADED,
    EventType.CANARY_ROLLEDBACK: CDEventType.SERVICE_ROLLEDBACK,
}
_INCIDENTS: Final = frozenset({CauseKind.ALERT.value, CauseKind.VERDICT.value})


class _Camel(Model):
    """Field names as CDEvents writes them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class CdContext(_Camel):
    """What every CDEvent says of itself."""

    version: Literal[CdVersion.V0_4] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Of the specification, where it is 0.4.",
    )
    specversion: Literal[CdVersion.V0_5] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="Of the specification, from 0.5 on.",
    )
    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: CDEventType
    timestamp: AwareDatetime
    chain_id: str = Field(min_length=1, description="The release's id.")


class CdReference(_Camel):
    """Something that has an id, and is known by it at its source."""

    id: str = Field(min_length=1)
    source: str | None = Field(default=None, min_length=1, exclude_if=lambda value: value is None)


class CdContent(_Camel):
    """What CDEvents says of a service or an incident."""

    description: str | None = Field(default=None, exclude_if=lambda value: value is None)
    environment: CdReference
    service: CdReference | None = Field(default=None, exclude_if=lambda value: value is None)
    artifact_id: str | None = Field(
        default=None,
        min_length=1,
        description="The version that serves now, or that the incident is about: a package URL.",
        exclude_if=lambda value: value is None,
    )


class CdSubject(_Camel):
    """What it happened to."""

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: Literal["service", "incident"] | None = Field(
        default=None, exclude_if=lambda value: value is None, description="Until 0.4."
    )
    content: CdContent


class CdCustom(_Camel):
    """What Aviary adds."""

    release: str
    version: str | None = Field(default=None, description="The version that was released.")
    cause: str | None = Field(default=None, description="Kind of the cause of an incident.")


class CdEvent(_Camel):
    """A CDEvent: `data` of its CloudEvent."""

    context: CdContext
    subject: CdSubject
    custom_data: CdCustom
    custom_data_content_type: Literal["application/json"] = "application/json"


def with_cdevents(
    events: Iterable[CloudEvent], version: CdVersion = CdVersion.V0_4
) -> tuple[CloudEvent, ...]:
    """Return the events, each followed by the CDEvent that says the same, where there is one."""
    return tuple(
        each for event in events for each in (event, cdevent(event, version)) if each is not None
    )


def cdevent(event: CloudEvent, version: CdVersion = CdVersion.V0_4) -> CloudEvent | None:
    """Return the CDEvent that says what one of Aviary's events says; None if none does.

    Pure: its id is the event's with `/cdevent` after it, so that a repetition is recognised. An
    event that lacks what CDEvents demands, such as that of a service which was never touched, has
    none.
    """
    if event.type in _OF_SERVICES:
        return _service(event, _OF_SERVICES[event.type], version)
    if event.type == EventType.RELEASE_ROLLINGBACK:
        return _incident(event, version)
    return None


def _service(event: CloudEvent, kind: CDEventType, spec: CdVersion) -> CloudEvent | None:
    """A service became another version, or became again what it was."""
    service, data = event.subject, event.data
    now = data.get("stable" if kind is CDEventType.SERVICE_ROLLEDBACK else "version")
    if not service or not isinstance(now, str):
        return None
    subject = CdSubject(
        id=service,
        source=SERVICES,
        type="service",
        content=CdContent(environment=_environment(data), artifact_id=artifact(service, now)),
    )
    custom = CdCustom(release=_release(event), version=data.get("version"))
    return _wrap(event, kind, subject, custom, spec)


def _incident(event: CloudEvent, spec: CdVersion) -> CloudEvent | None:
    """A release goes back because of what was measured or alerted, and not by a person's word."""
    cause = event.data.get("cause") or {}
    if cause.get("kind") not in _INCIDENTS:
        return None
    service = cause.get("service")
    version = (event.data.get("services") or {}).get(service)
    subject = CdSubject(
        id=f"{_release(event)}/incident",
        source=event.source,
        type="incident",
        content=CdContent(
            description=cause.get("text", ""),
            environment=_environment(event.data),
            service=CdReference(id=service, source=SERVICES) if service else None,
            artifact_id=artifact(service, version) if service and version else None,
        ),
    )
    custom = CdCustom(release=_release(event), version=version, cause=cause["kind"])
    return _wrap(event, CDEventType.INCIDENT_DETECTED, subject, custom, spec)


def artifact(service: str, version: str) -> str:
    """The version of a service as a package URL (purl) of no particular registry."""
    return f"pkg:generic/{quote(service, safe='')}@{quote(version, safe='')}"


def _environment(data: Mapping[str, Any]) -> CdReference:
    return CdReference(id=data.get("environment") or "default")


def _release(event: CloudEvent) -> str:
    return event.partitionkey


def _wrap(
    event: CloudEvent, kind: CDEventType, subject: CdSubject, custom: CdCustom, spec: CdVersion
) -> CloudEvent:
    newer = spec is CdVersion.V0_5
    if newer:
        kind, subject = _NEWER[kind], subject.model_copy(update={"type": None})
    context = CdContext(
        version=None if newer else CdVersion.V0_4,
        specversion=CdVersion.V0_5 if newer else None,
        id=f"{event.id}/cdevent",
        source=event.source,
        type=kind,
        timestamp=event.time,
        chain_id=_release(event),
    )
    data = CdEvent(context=context, subject=subject, custom_data=custom)
    return CloudEvent(
        type=kind,
        source=context.source,
        id=context.id,
        time=context.timestamp,
        subject=subject.id,
        partitionkey=event.partitionkey,
        data=data.model_dump(mode="json"),
    )
