"""What `data` of each event on `aviary.events` holds, and the JSON Schema of it all.

Within a version of a type fields are only ever added: whoever reads events ignores those it does
not know. The models here refuse them, so that a test notices what nobody wrote down.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.json_schema import models_json_schema

from schemas.alert import AlertStatus
from schemas.base import Model, ReleaseId, ServiceName, Version
from schemas.cdevents_out import CdEvent
from schemas.decisions import DecisionRecord
from schemas.event_kinds import CDEventType, EventType
from schemas.events import CloudEvent
from schemas.evidence_series import EvidenceSeries
from schemas.measured import MeasuredBake
from schemas.release import CanaryPhase, Cause
from schemas.verdict import Verdict

Weight = Annotated[float, Field(ge=0, le=100, description="Percent of the service's requests.")]


DependsOn = Annotated[
    dict[ServiceName, tuple[ServiceName, ...]],
    Field(description="Of each service, those of this release that must hold before it."),
]

Groups = Annotated[
    tuple[tuple[ServiceName, ...], ...],
    Field(default=(), description="Services that need each other: each group moves in step."),
]


class OfRelease(Model):
    """What every event of a release says."""

    release: ReleaseId
    environment: str


class ReleaseQueued(OfRelease):
    """Others have its services, or are ahead of it."""

    labels: dict[str, str]
    waits_for: str = Field(description="In words.")
    services: dict[ServiceName, Version] = Field(
        default_factory=dict, description="Versions, in no order; each service waits."
    )
    stages: tuple[tuple[ServiceName, ...], ...] = ()
    depends_on: DependsOn = Field(default_factory=dict)
    groups: Groups


class ReleaseStarted(OfRelease):
    """It has its services, and begins."""

    labels: dict[str, str]
    cause: None = None
    services: dict[ServiceName, Version] = Field(description="Versions; each service waits.")
    stages: tuple[tuple[ServiceName, ...], ...] = Field(
        description="Sets of services that may go at once, dependencies first."
    )
    depends_on: DependsOn = Field(default_factory=dict)
    groups: Groups


class ReleaseMoved(OfRelease):
    """It entered the phase that the type names."""

    labels: dict[str, str]
    cause: Cause | None = Field(description="Why it goes back; none while it goes forward.")
    services: dict[ServiceName, Version] = Field(
        default_factory=dict, description="Versions, where it goes back."
    )
    links: int | None = Field(
        default=None,
        description="Length of the release's hash chain, this event included: of its last alone.",
    )


class ReleaseSaid(OfRelease):
    """It was paused or resumed."""

    text: str = Field(description="Who, and why.")


class DecisionMade(OfRelease):
    """A release, or the canary of a service, heard something, and did something."""

    service: ServiceName | None = Field(description="Null: the release itself.")
    version: Version | None
    decision: DecisionRecord


class EvidenceMeasured(OfRelease, MeasuredBake):
    """What the judge of a service counted in one bake; of long bakes, points stand for several."""

    service: ServiceName
    version: Version
    series: EvidenceSeries | None = Field(
        description="Null where nothing was counted, or it is longer than an event should be."
    )


class ServiceMoved(OfRelease):
    """All that is known of one service: it takes the place of what an event before it said."""

    service: ServiceName
    version: Version
    phase: CanaryPhase
    weight: Weight = Field(description="What the new version has, by the router's word.")
    whom: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="Name of the audience whose requests the weight is a share of; empty: "
        "everybody's.",
    )
    step: int | None = Field(default=None, description="Index from 0 of the current step.")
    steps: int = Field(default=0, ge=0)
    stable: Version | None = Field(default=None, description="The version beside it.")
    waits_for: str = Field(default="", description="In words.")
    verdict: Verdict | None = Field(default=None, description="The last one.")
    cause: Cause | None = Field(default=None, description="Why it goes back, or must.")
    paused: bool = False


class DriftFound(OfRelease):
    """A canary had traffic, or a version was up, and nobody looked after it."""

    version: Version
    weight: Weight
    stable: Version | None = Field(
        description="The version beside it; none of one that was only up."
    )
    text: str


class DeployStale(Model):
    """A deploy event that came too late."""

    release: ReleaseId
    services: dict[ServiceName, Version] = Field(description="The first 50.")
    services_total: int = Field(ge=0)
    event: str = Field(description="Source and id of the deploy event.")
    event_time: datetime
    age_s: int = Field(description="Seconds.")
    max_age_s: int = Field(description="Seconds: AVIARY_DEPLOY_MAX_AGE_S.")


class AlertUnused(Model):
    """An alert that was not acted upon."""

    service: ServiceName
    alert: str
    status: AlertStatus
    fingerprint: str
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None


_RELEASE: Final[Mapping[str, type[Model]]] = {
    EventType.RELEASE_QUEUED: ReleaseQueued,
    EventType.RELEASE_STARTED: ReleaseStarted,
    EventType.RELEASE_PAUSED: ReleaseSaid,
    EventType.RELEASE_RESUMED: ReleaseSaid,
}
_OTHERS: Final[Mapping[str, type[Model]]] = {
    "release": ReleaseMoved,
    "canary": ServiceMoved,
    "decision": DecisionMade,
    "evidence": EvidenceMeasured,
    "drift": DriftFound,
    "deploy": DeployStale,
    "alert": AlertUnused,
}
_OURS = {kind.value: _RELEASE.get(kind, _OTHERS[kind.split(".")[2]]) for kind in EventType}

DATA: Final[Mapping[str, type[Model]]] = MappingProxyType(
    {**_OURS, **dict.fromkeys((kind.value for kind in CDEventType), CdEvent)}
)
"""The model of each type's `data`."""


def events_schema() -> dict[str, Any]:
    """The JSON Schema of every event on `aviary.events`, for those who read them."""
    models: set[type[Model]] = {CloudEvent, *DATA.values()}
    places, document = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda one: one.__name__)]
    )
    envelope = document["$defs"].pop("CloudEvent")
    document["$defs"].pop("EventType")  # every type is named below
    envelope["properties"] |= {"type": {"type": "string"}, "data": {"type": "object"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_open(envelope),
        "title": "Aviary events",
        "description": "One record of the topic aviary.events.",
        "required": ["specversion", "type", "source", "id", "time", "partitionkey", "data"],
        "oneOf": [
            {
                "title": kind,
                "properties": {
                    "type": {"const": kind},
                    "data": places[(model, "serialization")],
                },
            }
            for kind, model in DATA.items()
        ],
        "$defs": _open(document["$defs"]),
    }


def _open(value: Any) -> Any:
    """Allow unknown fields: readers must, since fields may be added."""
    if isinstance(value, dict):
        return {
            key: _open(each)
            for key, each in value.items()
            if not (key == "additionalProperties" and each is False)
        }
    return [_open(each) for each in value] if isinstance(value, list) else value
