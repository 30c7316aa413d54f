"""CloudEvents 1.0: what Aviary publishes on `aviary.events`, and how a workflow builds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from schemas.base import Model
from schemas.event_kinds import CDEventType, EventType

JSON_CONTENT_TYPE: Final = "application/json"
STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"
RELEASE_SOURCE: Final = "/aviary/release/"
"""Begins the source of every event that a release tells."""


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
    chainlink: int | None = Field(
        default=None,
        ge=0,
        description="Number of the event in its release's hash chain, from 0; only what a release "
        "itself tells has one.",
    )
    chainprevious: str | None = Field(
        default=None, description="SHA-256 of the link before it, in hex; zeros in the first."
    )
    chainreset: bool | None = Field(
        default=None,
        description="True of the first link after a release was reset: links of the run before may "
        "have followed the same one.",
    )
    chaindigest: str | None = Field(
        default=None, description="SHA-256 of this link, in hex: of all that stands in it."
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
