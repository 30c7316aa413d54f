"""Where a worker can be killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

RELEASE = "release"
"""The history of the release; those of canaries go by the name of their service."""


@dataclass(frozen=True)
class AfterEvent:
    """As soon as a history has this many events."""

    history: str
    number: int
    what: str = ""
    """The event's type in the recorded run."""

    def __str__(self) -> str:
        return f"{self.history} {self.number} {self.what}".rstrip()


@dataclass(frozen=True)
class InActivity:
    """In the n-th call of an activity, just before its effect or between effect and answer."""

    activity: str
    number: int
    when: str
    """`before` or `after`."""

    def __str__(self) -> str:
        return f"{self.when} {self.activity} {self.number}"

    def plain(self) -> dict[str, Any]:
        return asdict(self)


Point = AfterEvent | InActivity


_COMMANDED = {
    "ACTIVITY_TASK_SCHEDULED",
    "ACTIVITY_TASK_CANCEL_REQUESTED",
    "TIMER_STARTED",
    "TIMER_CANCELED",
    "MARKER_RECORDED",
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
    "WORKFLOW_PROPERTIES_MODIFIED",
    "WORKFLOW_EXECUTION_COMPLETED",
}
"""What a workflow task decided: written together with its completion."""


def together(event: str, following: str) -> bool:
    """Whether Temporal writes two events that follow each other in one transaction.

    Nobody ever sees a history that ends between them: to kill a worker after the first is to kill
    it after the second.
    """
    if event == "ACTIVITY_TASK_STARTED":  # kept back until the activity has ended
        return following.startswith("ACTIVITY_TASK_")
    return following in _COMMANDED or following == "WORKFLOW_TASK_SCHEDULED"


def every_point(histories: Mapping[str, list[str]], calls: Mapping[str, int]) -> Iterator[Point]:
    """All points of a recorded run: each state of each history, each side of each activity."""
    for history, events in histories.items():
        for number, (what, following) in enumerate(pairwise([*events, ""]), start=1):
            if not together(what, following):
                yield AfterEvent(history, number, what)
    for activity, count in sorted(calls.items()):
        for number in range(1, count + 1):
            for when in ("before", "after"):
                yield InActivity(activity, number, when)


def kind(point: Point | None) -> str:
    """What sort of point it is: one line of the table."""
    match point:
        case None:
            return "no fault"
        case InActivity(activity=activity, when=when):
            return f"worker killed {when} {activity}"
        case AfterEvent(history=history):
            return f"worker killed after an event of {history}"
