"""CloudEvents 1.0: what Aviary publishes on `aviary.events`, and how a workflow builds it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from schemas.base import Model

JSON_CONTENT_TYPE: Final = "application/json"
STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"
RELEASE_SOURCE: Final = "/aviary/release/"
"""Begins the source of every event that a release tells."""


class EventType(StrEnum):
    """Every type of event that Aviary publishes."""

    RELEASE_QUEUED = "dev.aviary.release.queued.v1"
    RELEASE_STARTED = "dev.aviary.release.started.v1"
    RELEASE_SOAKING = "dev.aviary.release.soaking.v1"
    RELEASE_FINALIZING = "dev.aviary.release.finalizing.v1"
    RELEASE_FINALIZED = "dev.aviary.release.finalized.v1"
    RELEASE_ROLLINGBACK = "dev.aviary.release.rollingback.v1"
    RELEASE_ROLLEDBACK = "dev.aviary.release.rolledback.v1"
    RELEASE_PAUSED = "dev.aviary.release.paused.v1"
    RELEASE_RESUMED = "dev.aviary.release.resumed.v1"
    CANARY_PREFLIGHT = "dev.aviary.canary.preflight.v1"
    CANARY_SHIFTED = "dev.aviary.canary.shifted.v1"
    CANARY_BAKING = "dev.aviary.canary.baking.v1"
    CANARY_GATED = "dev.aviary.canary.gated.v1"
    CANARY_PAUSED = "dev.aviary.canary.paused.v1"
    CANARY_HOLDING = "dev.aviary.canary.holding.v1"
    CANARY_FINALIZED = "dev.aviary.canary.finalized.v1"
    CANARY_ROLLINGBACK = "dev.aviary.canary.rollingback.v1"
    CANARY_ROLLEDBACK = "dev.aviary.canary.rolledback.v1"
    CANARY_STUCK = "dev.aviary.canary.stuck.v1"
    CANARY_CHANGED = "dev.aviary.canary.changed.v1"
    CANARY_JUDGED = "dev.aviary.canary.judged.v1"
    DRIFT_FOUND = "dev.aviary.drift.found.v1"
    DEPLOY_STALE = "dev.aviary.deploy.stale.v1"
    ALERT_STALE = "dev.aviary.alert.stale.v1"
    ALERT_UNMATCHED = "dev.aviary.alert.unmatched.v1"


class CDEventType(StrEnum):
    """The CDEvents that Aviary publishes beside its own events (`schemas.cdevents_out`)."""

    SERVICE_UPGRADED = "dev.cdevents.service.upgraded.0.2.0"
    SERVICE_ROLLEDBACK = "dev.cdevents.service.rolledback.0.2.0"
    INCIDENT_DETECTED = "dev.cdevents.incident.detected.0.2.0"


RELEASE_EVENTS: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "queued": EventType.RELEASE_QUEUED,
        "running": EventType.RELEASE_STARTED,
        "soaking": EventType.RELEASE_SOAKING,
        "finalizing": EventType.RELEASE_FINALIZING,
        "finalized": EventType.RELEASE_FINALIZED,
        "rolling_back": EventType.RELEASE_ROLLINGBACK,
        "rolled_back": EventType.RELEASE_ROLLEDBACK,
    }
)
"""The event that tells of a release's entering a phase (`schemas.release.ReleasePhase`)."""

CANARY_EVENTS: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "preflight": EventType.CANARY_PREFLIGHT,
        "baking": EventType.CANARY_BAKING,
        "gated": EventType.CANARY_GATED,
        "paused": EventType.CANARY_PAUSED,
        "holding": EventType.CANARY_HOLDING,
        "finalized": EventType.CANARY_FINALIZED,
        "rolling_back": EventType.CANARY_ROLLINGBACK,
        "rolled_back": EventType.CANARY_ROLLEDBACK,
        "stuck": EventType.CANARY_STUCK,
    }
)
"""The event that tells of a canary's entering a phase (`schemas.release.CanaryPhase`).

Waiting, shifting, verifying, finalizing and skipped tell nothing by themselves: `shifted` follows a
weight that the router confirmed, `judged` a verdict.
"""


class CloudEvent(Model):
    """An event that Aviary publishes.

    Ids are deterministic (`<workflow id>/<sequence>`), so that a repeated publication is
    recognised; the source names the release, so that source and id together never repeat.
    """

    specversion: Literal["1.0"] = "1.0"
    type: EventType | CDEventType
    source: str = Field(min_length=1)
    id: str = Field(min_length=1)
    time: AwareDatetime
    subject: str | None = Field(default=None, min_length=1)
    datacontenttype: Literal["application/json"] = JSON_CONTENT_TYPE
    partitionkey: str = Field(
        min_length=1,
        description="CloudEvents' partitioning extension: the Kafka key (the release id).",
    )
    data: dict[str, Any] = Field(default_factory=dict)

    def wire(self) -> bytes:
        """The event in CloudEvents' JSON format (structured mode)."""
        return self.model_dump_json(exclude_none=True).encode()


def event(  # noqa: PLR0913 - the attributes of an event
    workflow: str,
    sequence: int,
    type: EventType,  # noqa: A002 - CloudEvents' own word
    *,
    release: str,
    subject: str,
    time: AwareDatetime,
    data: Mapping[str, Any] | None = None,
) -> CloudEvent:
    """Build one event; pure, so that a workflow may call it and a replay builds the same.

    Args:
        workflow: id of the workflow that tells it, `release/<id>` or `canary/<service>`.
        sequence: number of the event within that workflow, growing from 0.
        type: what happened.
        release: id of the release; the Kafka key.
        subject: what it happened to: the release id, or the service.
        time: when it happened (in a workflow: `workflow.now()`).
        data: what consumers want to know, ready for JSON.

    Raises:
        ValueError: the sequence is negative.
    """
    if sequence < 0:
        raise ValueError(f"sequence: got {sequence}, expected 0 or more")
    return CloudEvent(
        type=type,
        source=f"{RELEASE_SOURCE}{release}",
        id=f"{workflow}/{sequence}",
        time=time,
        subject=subject,
        partitionkey=release,
        data=dict(data or {}),
    )
