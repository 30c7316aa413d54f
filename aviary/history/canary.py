"""What one run of a canary did, from its own history. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from activities.judge import JUDGE, JudgeRequest
from activities.preflight import PREFLIGHT
from activities.ramp import BEGIN_RAMP
from activities.traffic import APPLY, READ
from aviary.history.decided import RecordedDecisions, consequence, recorded_text
from aviary.history.events import Call, Ended, Event, RecordedEvents, dicts_in, first
from aviary.history.said import command_of, external
from schemas.alert import Alert
from schemas.decisions import DecisionRecord, Heard
from schemas.event_kinds import MomentKind
from schemas.ids import SIGNAL_ALERT, SIGNAL_ALERTS
from schemas.release import CanaryReport, CanaryState, ServicePlan
from schemas.route import Route
from schemas.stages import MirrorStage, PreviewStage, ShiftStage
from schemas.timeline import Judging, Moment
from schemas.verdict import Verdict, VerdictKind
from workflows.alerts import alerts_in

_REPORT = {"service", "sequence", "phase", "weight", "at"}
_TO_DO = {
    READ: "the route could not be read",
    APPLY: "the router refused",
    PREFLIGHT: "the alerts could not be asked for",
    BEGIN_RAMP: "the ramp could not begin",
    JUDGE: "judging failed",
}
_CONTINUED = "WORKFLOW_EXECUTION_CONTINUED_AS_NEW"
_CLOSED = {
    "WORKFLOW_EXECUTION_COMPLETED": "completed",
    "WORKFLOW_EXECUTION_FAILED": "failed",
    "WORKFLOW_EXECUTION_CANCELED": "canceled",
    "WORKFLOW_EXECUTION_TERMINATED": "terminated",
    "WORKFLOW_EXECUTION_TIMED_OUT": "timed out",
    _CONTINUED: "continued",
}


def closed(recorded: RecordedEvents) -> tuple[str, datetime] | None:
    """How a workflow ended, and when; None while it runs."""
    for event in recorded.of_kind(*_CLOSED):
        return _CLOSED[event.kind], event.at
    return None


def next_run(recorded: RecordedEvents) -> str | None:
    """The run that went on when this one's history had become long."""
    for event in recorded.of_kind(_CONTINUED):
        return str(event.of.new_execution_run_id)
    return None


class CanaryReader:
    """Reads the history of one run.

    Args:
        plan: the service's plan, as the release has it.
        run_id: of the canary.
        recorded: its history.
        asked: its decisions as the run itself has them now; None when it was not asked.
    """

    def __init__(
        self,
        plan: ServicePlan,
        run_id: str,
        recorded: RecordedEvents,
        asked: Sequence[DecisionRecord] | None = None,
    ) -> None:
        self._plan = plan
        self.run_id = run_id
        self._recorded = recorded
        self._asked = asked
        started = first(next(recorded.of_kind("WORKFLOW_EXECUTION_STARTED")).of.input) or {}
        self._restores = bool(started.get("restore"))
        """Whether this run only takes back what a lost one left."""
        resume = started.get("resume")
        self._resumed = CanaryState.model_validate(resume) if resume else None

    @functools.cached_property
    def stable(self) -> str | None:
        """The version that served before, as the router said it."""
        for call in self._recorded.called(READ):
            if call.ended is Ended.COMPLETED and call.result is not None:
                return Route.model_validate(call.result).stable
        return self._resumed.route.stable if self._resumed and self._resumed.route else None

    def moments(self) -> Iterator[Moment]:
        """Everything but the phases, which its reports tell."""
        yield from self._traffic()
        yield from self._verdicts()
        yield from self._failures()
        yield from self._alerts()
        yield from self._commands()
        yield from self._foreign_changes()
        yield from self._interventions()

    def reports(self) -> Iterator[CanaryReport]:
        """What it told its release, however that travelled."""
        for event in self._recorded.of_kind("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED"):
            yield from reports_in(first(event.of.input))
        for call in self._recorded.calls.values():
            yield from reports_in(call.input)

    def judgings(self) -> Iterator[Judging]:
        """Each call of the judge."""
        for call in self._recorded.called(JUDGE):
            request = JudgeRequest.model_validate(call.input)
            result = call.result if call.ended is Ended.COMPLETED else None
            end = closed(self._recorded)
            yield Judging(
                service=self._plan.service,
                run_id=self.run_id,
                stable=request.stable,
                canary=request.canary,
                weight=request.weight,
                began_at=request.started_at if request.bake else call.scheduled_at,
                ended_at=call.ended_at or ((call.stopped_at or end[1]) if end else None),
                stopped=call.stopped_at is not None,
                bake_min=request.bake.min if request.bake else None,
                bake_max=request.bake.max if request.bake else None,
                verdict=Verdict.model_validate(result["verdict"]) if result else None,
                evidence_series=result.get("evidence_series") if result else None,
                lane=result.get("lane") if result else None,
            )

    # --- traffic ---

    def _traffic(self) -> Iterator[Moment]:
        known = self._resumed.step if self._resumed else None
        step = -1 if known is None else known
        for call in self._recorded.called(APPLY):
            if call.ended is not Ended.COMPLETED or call.ended_at is None:
                continue
            route = Route.model_validate(call.result["route"])
            step = self._step(step, route)
            yield self._applied(call, call.ended_at, route, step)

    def _applied(self, call: Call, at: datetime, route: Route, step: int) -> Moment:
        """One confirmed write. Before any of its own, a canary clears what an earlier one left."""
        service, version = self._plan.service, self._plan.version
        steps = len(self._plan.strategy.full_steps)
        whom = ""
        if route.canary == version:
            kind, weight = MomentKind.SHIFTED, route.weight
            given = (
                f"{weight:g} %" if route.mirror is None else f"copies of {route.mirror.share:g} %"
            )
            stages = self._given
            stage = stages[step] if 0 <= step < len(stages) else None
            whom = stage.whom if isinstance(stage, ShiftStage) else ""
            text = f"{service} {version} gets {given} of {whom or 'the requests'}"
            if self._plan.strategy.ramp is None and not weight and route.mirror is None:
                text = f"{service} {version} can be asked for, and no user gets it"
            if self._plan.strategy.ramp is None and step >= 0:
                text += f" (step {step + 1} of {steps})"
        elif route.stable == version:
            kind, weight = MomentKind.SHIFTED, 100.0
            text = f"{service} {version} is the stable version now"
        else:
            kind, weight = MomentKind.RESTORED, 0.0
            text = f"{service} {route.stable} has all requests"
            text += " again" if step >= 0 or self._restores else ": an earlier canary was cleared"
        if call.attempt > 1:
            text += f", at attempt {call.attempt}"
            text += f" ({call.failure})" if call.failure else ""
        known = step if route.canary == version and step >= 0 else None
        return self._moment(at, kind, text, weight=weight, whom=whom, step=known)

    def _step(self, before: int, route: Route) -> int:
        """The step that a weight is of: the next one that has it."""
        for index, stage in enumerate(self._given):
            if index > before and route.canary is not None and _is_of(stage, route):
                return index
        return before

    @property
    def _given(self) -> list[PreviewStage | MirrorStage | ShiftStage]:
        """What each step gives the version."""
        kinds = (PreviewStage, MirrorStage, ShiftStage)
        return [one for one in self._plan.stages if isinstance(one, kinds)]

    # --- judging ---

    def _verdicts(self) -> Iterator[Moment]:
        for call in self._recorded.called(JUDGE):
            if call.ended is not Ended.COMPLETED or call.ended_at is None:
                continue
            verdict = Verdict.model_validate(call.result["verdict"])
            # Watching without a bake ends without a verdict, unless it is a FAIL.
            if verdict.final and (verdict.kind is VerdictKind.FAIL or call.input.get("bake")):
                yield self._moment(
                    call.ended_at,
                    MomentKind.JUDGED,
                    verdict.sentence,
                    verdict=verdict,
                    weight=call.input.get("weight"),
                )

    def _failures(self) -> Iterator[Moment]:
        for call in self._recorded.calls.values():
            if call.name in _TO_DO and call.ended is Ended.FAILED and call.ended_at is not None:
                text = f"{self._plan.service}: {_TO_DO[call.name]}: {call.failure}"
                yield self._moment(call.ended_at, MomentKind.FAILED, text)

    # --- from outside ---

    @functools.cached_property
    def decided(self) -> RecordedDecisions:
        """What it recorded of its decisions."""
        return RecordedDecisions(self._recorded, [*self.reports()], self._asked)

    @property
    def lacks_decisions(self) -> bool:
        """Whether something was heard of which the history has no record yet."""
        told = (*self._alerts(), *self._commands())
        return any(one.did is None for one in told)

    def _alerts(self) -> Iterator[Moment]:
        seen = set(self._resumed.alerts if self._resumed else ())
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_SIGNALED"):
            if event.of.signal_name not in {SIGNAL_ALERT, SIGNAL_ALERTS}:
                continue
            for alert in alerts_in(first(event.of.input))[0]:
                if alert.identity not in seen:
                    seen.add(alert.identity)
                    yield from self._alerted(event, alert)

    def _alerted(self, event: Event, alert: Alert) -> Iterator[Moment]:
        """An alert, and what it did; nothing of one that was no news, of which there is no record.

        Such are those that preflight was told to let by.
        """
        record = self.decided.of_alert(alert)
        if record is not None:
            text = recorded_text(record)
            yield self._moment(event.at, MomentKind.ALERT, text, alert=alert, did=record.did)
        elif not self.decided.is_whole(event):
            text = f"alert {alert.name} came for {self._plan.service}{consequence(None)}"
            yield self._moment(event.at, MomentKind.ALERT, text, alert=alert)

    def _commands(self) -> Iterator[Moment]:
        for event in self._recorded.of_kind(
            "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED"
        ):
            if event.kind != "WORKFLOW_EXECUTION_SIGNALED" or not external(event):
                yield from command_of(event, self._plan.service, self.decided)

    def _foreign_changes(self) -> Iterator[Moment]:
        for record in self.decided.records:
            if record.heard is Heard.FOREIGN_CHANGE:
                text = f"{self._plan.service}: {record.text}{consequence(record.did)}"
                yield self._moment(record.at, MomentKind.CHANGED, text, did=record.did)

    def _interventions(self) -> Iterator[Moment]:
        service = self._plan.service
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_CANCEL_REQUESTED"):
            if not event.of.external_workflow_execution.workflow_id:
                text = f"the canary of {service} was cancelled"
                yield self._moment(event.at, MomentKind.CANCELLED, text, by=event.of.identity)
        for event in self._recorded.of_kind("WORKFLOW_EXECUTION_TERMINATED"):
            text = f"the canary of {service} was terminated"
            reason, by = event.of.reason, event.of.identity
            text += f": {reason}" if reason else ""
            yield self._moment(event.at, MomentKind.TERMINATED, text, by=by, reason=reason)

    def _moment(self, at: datetime, kind: MomentKind, text: str, **more: Any) -> Moment:
        return Moment(at=at, kind=kind, service=self._plan.service, text=text, **more)


def reports_in(value: Any) -> Iterator[CanaryReport]:
    """All reports of canaries anywhere in plain data."""
    for found in dicts_in(value):
        if found.keys() >= _REPORT:
            # What a newer version adds to a report is not an error here.
            known = {key: value for key, value in found.items() if key in CanaryReport.model_fields}
            yield CanaryReport.model_validate(known)


def _is_of(stage: PreviewStage | MirrorStage | ShiftStage, route: Route) -> bool:
    """Whether a route gives a version what a step does."""
    if isinstance(stage, ShiftStage):
        return (stage.weight, stage.audience) == (route.weight, route.audience)
    copied = stage.share if isinstance(stage, MirrorStage) else None
    return not route.weight and copied == (route.mirror and route.mirror.share)
