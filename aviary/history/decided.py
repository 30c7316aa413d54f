"""What was decided about what was heard, as it was recorded: read, and never repeated. Pure.

A history has the record in several places, and none has all of it: the newest few decisions go
with each report, more with the outcome, and most with what one run hands to the next. What was
heard of which no place can have the record yet is told as heard, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from aviary.history.events import Event, RecordedEvents, first
from schemas.alert import Alert
from schemas.decisions import DECISIONS_MOST, NEWEST, OUTCOME_MOST, DecisionRecord, Did, Heard
from schemas.outside import NAME_MOST, cut
from schemas.release import CanaryReport

_SAME = timedelta(milliseconds=1)
"""A record's time is that of the workflow task which heard; the two are rounded otherwise."""
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_WORDS = {
    Did.BACK: "it goes back",
    Did.TOLD: "its release is told, and orders the way back",
    Did.KNOWN: "nothing more to do: it was so already",
    Did.OVERRULED: "it is written over, past the point of no return",
    Did.TOO_LATE: "too late: it is past the point of no return",
}
_FIELDS = DecisionRecord.model_fields.keys()
NOT_RECORDED = "what that did is not recorded yet"


def words(did: Did) -> str:
    """What was done, for a table."""
    return _WORDS.get(did, did.value.replace("_", " "))


def consequence(did: Did | None) -> str:
    """What was done, where the recorded sentence does not say it; with the sign before it."""
    if did is None:
        return f" ({NOT_RECORDED})"
    return f": {_WORDS[did]}" if did in _WORDS else ""


def recorded_text(record: DecisionRecord) -> str:
    """What was decided, as it was recorded; with all suspects, where there were several."""
    suspects = "; ".join(f"{at}. {one}" for at, one in enumerate(record.ranked, start=1))
    return record.text + consequence(record.did) + (f" [{suspects}]" if suspects else "")


class RecordedDecisions:
    """The record of one run of a canary or release, from wherever its history has some of it.

    Args:
        recorded: the history of the run.
        reports: what the run told its release; nothing of a release.
        asked: the record as the run itself has it now; None when it was not asked.
    """

    def __init__(
        self,
        recorded: RecordedEvents,
        reports: Sequence[CanaryReport],
        asked: Sequence[DecisionRecord] | None = None,
    ) -> None:
        self._tasks = [one for one in recorded.events if one.kind == "WORKFLOW_TASK_STARTED"]
        self._known: dict[DecisionRecord, None] = {}
        self._whole: list[tuple[datetime, datetime]] = []
        for kept, event in _handed_over(recorded):
            self._add(kept, DECISIONS_MOST, event.at)
        for report in reports:
            self._add(report.decisions, NEWEST, report.at)
        for event in recorded.of_kind("WORKFLOW_EXECUTION_COMPLETED"):
            self._add(records_in(first(event.of.result)), OUTCOME_MOST, _NEVER)
        if asked is not None:
            self._add(asked, DECISIONS_MOST, _NEVER)

    @property
    def records(self) -> list[DecisionRecord]:
        """All that are known, in order."""
        return sorted(self._known, key=lambda one: one.at)

    def of_alert(self, alert: Alert) -> DecisionRecord | None:
        """What an alert did; None where that is not known."""
        identity = cut(alert.identity, NAME_MOST)
        alerts = (one for one in self._known if one.heard is Heard.ALERT)
        return next((one for one in alerts if one.identity == identity), None)

    def of_command(self, name: str, by: str, event: Event) -> DecisionRecord | None:
        """What a command did; None where that is not known."""
        at = self._heard_at(event)
        if at is None:
            return None
        said = (name, cut(by, NAME_MOST))
        commands = (one for one in self._known if one.heard is Heard.COMMAND)
        of_it = (one for one in commands if (one.name, one.by) == said)
        return next((one for one in of_it if abs(one.at - at) <= _SAME), None)

    def is_whole(self, event: Event) -> bool:
        """Whether what this event did is recorded, if it did anything."""
        at = self._heard_at(event) or _NEVER
        return any(since < at and (at < until or until == _NEVER) for since, until in self._whole)

    def _heard_at(self, event: Event) -> datetime | None:
        """The time, by the workflow's clock, at which it heard of an event; None: not yet."""
        if event.kind == "WORKFLOW_EXECUTION_UPDATE_ACCEPTED":  # written by the task that heard it
            return next((task.at for task in reversed(self._tasks) if task.id < event.id), None)
        return next((task.at for task in self._tasks if task.id > event.id), None)

    def _add(self, records: Sequence[DecisionRecord], most: int, until: datetime) -> None:
        """Take a part of the record as it was at a time; a full one may lack what is older."""
        self._known |= dict.fromkeys(records)
        self._whole.append((records[0].at if len(records) >= most else _EVER, until))


def _handed_over(
    recorded: RecordedEvents,
) -> Iterator[tuple[tuple[DecisionRecord, ...], Event]]:
    """What an earlier run handed to this one, and this one to the next."""
    kinds = ("WORKFLOW_EXECUTION_STARTED", "WORKFLOW_EXECUTION_CONTINUED_AS_NEW")
    for event in recorded.of_kind(*kinds):
        state = (first(event.of.input) or {}).get("resume")
        if state:
            yield records_in(state), event


def records_in(state: object) -> tuple[DecisionRecord, ...]:
    """The `decisions` of a document; what a newer version adds to one is not an error here."""
    found = state.get("decisions") if isinstance(state, dict) else None
    return tuple(
        DecisionRecord.model_validate({k: v for k, v in one.items() if k in _FIELDS})
        for one in found or ()
    )
