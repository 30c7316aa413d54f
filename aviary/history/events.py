"""Temporal's histories as plain data: payloads decoded, activities put together. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

_PREFIX = "EVENT_TYPE_"


class Ended(StrEnum):
    """How an activity ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    OPEN = "open"
    """It has not, or its workflow ended first."""


@dataclass
class Call:
    """One activity call of a workflow, put together from its events."""

    name: str
    input: Any
    scheduled_at: datetime
    now: datetime
    """The workflow's own time when it called."""
    ended: Ended = Ended.OPEN
    ended_at: datetime | None = None
    stopped_at: datetime | None = None
    """When its workflow told it to stop; it may have answered, or failed, after that."""
    result: Any = None
    attempt: int = 1
    failure: str = ""
    """Why it failed; for one that succeeded at last, why the attempt before did not."""


@dataclass(frozen=True)
class Event:
    """One event, with the attributes of its kind."""

    id: int
    at: datetime
    kind: str
    """Temporal's name without prefix, such as WORKFLOW_EXECUTION_SIGNALED."""
    of: Any
    """The attributes: a protobuf message."""


@dataclass
class RecordedEvents:
    """One history: its events, and the activity calls among them by the id of their first event."""

    events: list[Event]
    calls: dict[int, Call] = field(default_factory=dict)

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        """The events of some kinds, in order."""
        return (event for event in self.events if event.kind in kinds)

    def called(self, name: str) -> Iterator[Call]:
        """The calls of one activity, in order."""
        return (call for call in self.calls.values() if call.name == name)


def read(history: WorkflowHistory) -> RecordedEvents:
    """Read a history."""
    events = [_event(event) for event in history.events]
    recorded = RecordedEvents(events)
    times = _workflow_times(events)
    for event in events:
        if event.kind == "ACTIVITY_TASK_SCHEDULED":
            recorded.calls[event.id] = Call(
                name=event.of.activity_type.name,
                input=first(event.of.input),
                scheduled_at=event.at,
                now=times.get(event.of.workflow_task_completed_event_id, event.at),
            )
        elif event.kind.startswith("ACTIVITY_TASK_"):
            _go_on(recorded.calls.get(event.of.scheduled_event_id), event)
    return recorded


def _event(event: HistoryEvent) -> Event:
    kind = EventType.Name(event.event_type).removeprefix(_PREFIX)
    attributes = getattr(event, event.WhichOneof("attributes") or "")
    return Event(id=event.event_id, at=moment(event.event_time), kind=kind, of=attributes)


def _workflow_times(events: Sequence[Event]) -> dict[int, datetime]:
    """`workflow.now()` by the id of the completed workflow task: the time when it started."""
    started = {event.id: event.at for event in events if event.kind == "WORKFLOW_TASK_STARTED"}
    return {
        event.id: started[event.of.started_event_id]
        for event in events
        if event.kind == "WORKFLOW_TASK_COMPLETED" and event.of.started_event_id in started
    }


def _go_on(call: Call | None, event: Event) -> None:
    if call is None:
        return
    match event.kind:
        case "ACTIVITY_TASK_STARTED":
            call.attempt = max(event.of.attempt, 1)
            call.failure = innermost(event.of.last_failure)
        case "ACTIVITY_TASK_COMPLETED":
            call.ended, call.ended_at = Ended.COMPLETED, event.at
            call.result = first(event.of.result)
        case "ACTIVITY_TASK_FAILED" | "ACTIVITY_TASK_TIMED_OUT":
            call.ended, call.ended_at = Ended.FAILED, event.at
            call.failure = innermost(event.of.failure)
        case "ACTIVITY_TASK_CANCEL_REQUESTED":
            call.stopped_at = event.at
        case "ACTIVITY_TASK_CANCELED":
            call.ended, call.ended_at = Ended.CANCELED, event.at


def moment(stamp: Timestamp) -> datetime:
    """A protobuf time as ours."""
    return stamp.ToDatetime(tzinfo=UTC)


def innermost(failure: Failure) -> str:
    """The message of the failure that says what happened."""
    while failure.HasField("cause"):
        failure = failure.cause
    return str(failure.message)


def first(payloads: Payloads) -> Any:
    """The first of some payloads as plain data; None without one."""
    return decoded(payloads.payloads[0]) if payloads.payloads else None


def decoded(payload: Payload) -> Any:
    """A payload as plain data; None for one that is no JSON, such as an encrypted one."""
    if not payload.metadata.get("encoding", b"").startswith(b"json/"):
        return None
    return json.loads(payload.data)


def dicts_in(value: Any) -> Iterable[dict[str, Any]]:
    """All objects anywhere in plain data, outer ones first."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from dicts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from dicts_in(inner)
