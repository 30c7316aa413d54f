"""Where a worker can be killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
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


def every_point(histories: Mapping[str, list[str]], calls: Mapping[str, int]) -> Iterator[Point]:
    """All points of a recorded run: each event of each history, each side of each activity."""
    for history, events in histories.items():
        for number, what in enumerate(events, start=1):
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
