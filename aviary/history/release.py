"""What a release's own history tells of it and of its canaries. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from activities.announce import PUBLISH
from aviary.history.canary import closed, reports_in
from aviary.history.decided import RecordedDecisions, records_in
from aviary.history.events import Event, RecordedEvents, first, innermost
from aviary.history.said import command_of, external
from schemas.admission import Answer, Answered
from schemas.chain import ENDS, ChainEnd
from schemas.decisions import DecisionRecord
from schemas.event_kinds import MomentKind
from schemas.ids import SIGNAL_ADMISSION, SIGNAL_FINALIZE, SIGNAL_ORDER_ROLLBACK
from schemas.release import (
    CanaryInput,
    CanaryReport,
    Cause,
    CauseKind,
    ReleaseInput,
    ReleasePhase,
    ReleaseStatus,
)
from schemas.timeline import CanaryRun, Moment

_LOST = {
    "CHILD_WORKFLOW_EXECUTION_FAILED": "failed",
    "CHILD_WORKFLOW_EXECUTION_CANCELED": "canceled",
    "CHILD_WORKFLOW_EXECUTION_TIMED_OUT": "timed out",
    "CHILD_WORKFLOW_EXECUTION_TERMINATED": "terminated",
}
_ENDED = {**_LOST, "CHILD_WORKFLOW_EXECUTION_COMPLETED": "completed"}
_PHASES = {phase.about.event.value: phase for phase in ReleasePhase}
_ORDER = tuple(ReleasePhase)


@dataclass(frozen=True)
class Entered:
    """When a release entered a phase, and why."""

    phase: ReleasePhase
    at: datetime
    cause: Cause | None = None


class ReleaseReader:
    """Reads the history of a release.

    Args:
        recorded: its history.
        asked: its decisions as it has them now; None when it was not asked.
    """

    def __init__(
        self, recorded: RecordedEvents, asked: Sequence[DecisionRecord] | None = None
    ) -> None:
        self._recorded = recorded
        self._decided = RecordedDecisions(recorded, (), asked)
        self._began = next(recorded.of_kind("WORKFLOW_EXECUTION_STARTED"))
        self.plan = ReleaseInput.model_validate(first(self._began.of.input)).plan

    @property
    def started_at(self) -> datetime:
        """When its workflow began."""
        return self._began.at

    @property
    def result(self) -> ReleaseStatus | None:
        """What it ended with; None while it runs, or where it was ended from outside."""
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_COMPLETED"):
            return ReleaseStatus.model_validate(first(event.of.result))
        return None

    @property
    def closed(self) -> tuple[str, datetime] | None:
        """How its workflow ended, in Temporal's word, and when; None while it runs."""
        return closed(self._recorded)

    def phases(self) -> list[Entered]:
        """The phases it went through, in order.

        The events it published say it in so many words. Where a broker is away they are not in the
        history yet, so that what it did counts as well; the earlier sign of a phase is its begin.
        """
        found: dict[ReleasePhase, Entered] = {}
        for one in (*self._published(), *self._acted(), *self._ended()):
            known = found.get(one.phase)
            if known is None:
                found[one.phase] = one
            else:
                at = min(known.at, one.at)
                found[one.phase] = Entered(one.phase, at, known.cause or one.cause)
        return sorted(found.values(), key=lambda one: (one.at, _ORDER.index(one.phase)))

    def events(self) -> list[dict[str, Any]]:
        """What it published on `aviary.events`, in order, each once."""
        return published(self._recorded)

    @property
    def audit(self) -> ChainEnd | None:
        """Where the hash chain of its events ends; None before it does."""
        ends = (one for one in reversed(self.events()) if one.get("type") in ENDS)
        last = next(ends, None)
        if last is None or last.get("chaindigest") is None:
            return None
        return ChainEnd(links=last["chainlink"] + 1, head=last["chaindigest"])

    def _published(self) -> Iterator[Entered]:
        for event in self.events():
            phase = _PHASES.get(event.get("type", ""))
            if phase is not None:
                at = datetime.fromisoformat(event["time"])
                yield Entered(phase, at, _cause(event["data"].get("cause")))

    def _acted(self) -> Iterator[Entered]:
        for event in self._recorded.of_kind("START_CHILD_WORKFLOW_EXECUTION_INITIATED"):
            yield Entered(ReleasePhase.RUNNING, event.at)
        for event in self._recorded.of_kind("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED"):
            if event.of.signal_name == SIGNAL_ORDER_ROLLBACK:
                yield Entered(ReleasePhase.ROLLING_BACK, event.at, _cause(first(event.of.input)))
            elif event.of.signal_name == SIGNAL_FINALIZE:
                yield Entered(ReleasePhase.FINALIZING, event.at)

    def _ended(self) -> Iterator[Entered]:
        result = self.result
        if result is not None and result.finished_at is not None:
            yield Entered(result.phase, result.finished_at, result.cause)

    # --- its canaries ---

    def runs(self) -> dict[str, list[CanaryRun]]:
        """The runs of its canaries, by service, in order."""
        runs: dict[str, CanaryRun] = {}
        services: dict[str, str] = {}
        for event in self._recorded.of_kind("CHILD_WORKFLOW_EXECUTION_STARTED", *_ENDED):
            run_id = event.of.workflow_execution.run_id
            if event.kind == "CHILD_WORKFLOW_EXECUTION_STARTED":
                services[run_id] = _service(event.of.workflow_execution.workflow_id)
                runs[run_id] = CanaryRun(run_id=run_id, started_at=event.at)
            elif run_id in runs:
                update = {"ended_at": event.at, "ended": _ENDED[event.kind]}
                runs[run_id] = runs[run_id].model_copy(update=update)
        found: dict[str, list[CanaryRun]] = {name: [] for name in self.plan.services}
        for run_id, run in runs.items():
            found[services[run_id]].append(run)
        return found

    def reports(self) -> Iterator[CanaryReport]:
        """What its canaries told it."""
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_SIGNALED"):
            yield from reports_in(first(event.of.input))

    def decisions(self, service: str) -> Iterator[DecisionRecord]:
        """What the canaries of a service had recorded at their ends."""
        for event in self._recorded.of_kind("CHILD_WORKFLOW_EXECUTION_COMPLETED"):
            if _service(event.of.workflow_execution.workflow_id) == service:
                yield from records_in(first(event.of.result))

    # --- moments ---

    def moments(self) -> Iterator[Moment]:
        """Everything that is not a canary's to tell."""
        yield self._started()
        yield from self._admission()
        yield from self._phases()
        yield from self._canaries()
        yield from self._commands()
        yield from self._interventions()

    @property
    def lacks_decisions(self) -> bool:
        """Whether something was said to it of which its history has no record yet."""
        return any(one.did is None for one in self._commands())

    def _commands(self) -> Iterator[Moment]:
        for event in self._recorded.of_kind(
            "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED"
        ):
            if event.kind != "WORKFLOW_EXECUTION_SIGNALED" or not external(event):
                yield from command_of(event, None, self._decided)

    def _started(self) -> Moment:
        services = [f"{one.service} {one.version}" for one in self.plan.services.values()]
        text = f"release {self.plan.release} started: {', '.join(services)}"
        text += f"; asked for by {self.plan.source}" if self.plan.source else ""
        return Moment(at=self.started_at, kind=MomentKind.STARTED, text=text)

    def _admission(self) -> Iterator[Moment]:
        answers = [
            (event.at, first(event.of.input))
            for event in self._recorded.of_kind("WORKFLOW_EXECUTION_SIGNALED")
            if event.of.signal_name == SIGNAL_ADMISSION
        ]
        last = ""
        for at, data in sorted(answers, key=lambda one: one[0]):
            if data is None:
                continue
            answer = Answer.model_validate(data)
            if answer.answered is Answered.QUEUED and answer.text and answer.text != last:
                last = answer.text
                yield Moment(at=at, kind=MomentKind.QUEUED, text=f"waits for {last}")
            elif answer.answered is Answered.ADMITTED:
                text = "its turn: all its services are its own"
                yield Moment(at=at, kind=MomentKind.ADMITTED, text=text)
                return

    def _phases(self) -> Iterator[Moment]:
        for one in self.phases():
            kind = one.phase.about.moment
            if kind is None or (one.phase is ReleasePhase.SOAKING and not self.plan.soak):
                continue
            why = f": {one.cause.text}" if one.cause else ""
            text = one.phase.about.entered.format(release=self.plan.release, why=why)
            by = one.cause.by if one.cause and kind is MomentKind.ROLLBACK else ""
            yield Moment(at=one.at, kind=kind, text=text, cause=one.cause, by=by)

    def _canaries(self) -> Iterator[Moment]:
        starts: dict[int, CanaryInput] = {}
        for event in self._recorded.events:
            match event.kind:
                case "START_CHILD_WORKFLOW_EXECUTION_INITIATED":
                    starts[event.id] = CanaryInput.model_validate(first(event.of.input))
                case "CHILD_WORKFLOW_EXECUTION_STARTED":
                    yield _begun(event.at, starts[event.of.initiated_event_id])
                case "START_CHILD_WORKFLOW_EXECUTION_FAILED":
                    service = _service(event.of.workflow_id)
                    text = f"{service} is busy: another release has a canary of it"
                    yield Moment(at=event.at, kind=MomentKind.BUSY, service=service, text=text)
                case lost if lost in _LOST:
                    yield _lost(event)

    def _interventions(self) -> Iterator[Moment]:
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_CANCEL_REQUESTED"):
            reason, by = event.of.cause, event.of.identity
            text = "the release was cancelled" + (f": {reason}" if reason else "")
            kind = MomentKind.CANCELLED
            yield Moment(at=event.at, kind=kind, text=text, by=by, reason=reason)
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_TERMINATED"):
            reason, by = event.of.reason, event.of.identity
            text = "the release was terminated" + (f": {reason}" if reason else "")
            kind = MomentKind.TERMINATED
            yield Moment(at=event.at, kind=kind, text=text, by=by, reason=reason)
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_FAILED"):
            text = f"the release failed: {innermost(event.of.failure)}"
            yield Moment(at=event.at, kind=MomentKind.FAILED, text=text)


def published(recorded: RecordedEvents) -> list[dict[str, Any]]:
    """The events in the history of a release, in order, each once: some are tried by themselves."""
    events: dict[str, dict[str, Any]] = {}
    for call in recorded.called(PUBLISH):
        for event in (call.input or {}).get("events", ()):
            events.setdefault(event["id"], event)
    return list(events.values())


def _begun(at: datetime, start: CanaryInput) -> Moment:
    service, version = start.plan.service, start.plan.version
    text = f"the canary of {service} {version} began"
    if start.restore is not None:
        text = f"another run of the canary of {service} began, to take its traffic back"
    elif start.promote:
        text = f"another run of the canary of {service} began, to finalize it"
    return Moment(at=at, kind=MomentKind.BEGUN, service=service, text=text, cause=start.restore)


def _lost(event: Event) -> Moment:
    service = _service(event.of.workflow_execution.workflow_id)
    text = f"the canary of {service} ended without a word ({_LOST[event.kind]})"
    return Moment(at=event.at, kind=MomentKind.LOST, service=service, text=text)


def _service(workflow_id: str) -> str:
    return workflow_id.rpartition("/")[2]


def _cause(value: Any) -> Cause | None:
    if value is None:
        return None
    unknown = Cause(kind=CauseKind.ERROR, text=str(value), at=datetime.min.replace(tzinfo=UTC))
    return Cause.of(value, unknown)
