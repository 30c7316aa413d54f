"""A release: its services go out in dependency order, and come back in reverse.

`workflows.plan` decides; this workflow carries it out, and keeps what the decision needs: where
each service is. Handlers only record; `run` acts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.admission import Answer, Busy, Revert
    from schemas.ids import (
        QUERY_STATUS,
        RELEASE_WORKFLOW,
        SIGNAL_ADMISSION,
        SIGNAL_REPORT,
        SIGNAL_REVERT,
        canary_workflow_id,
    )
    from schemas.release import (
        CanaryOutcome,
        CanaryPhase,
        CanaryReport,
        Cause,
        CauseKind,
        Command,
        ReleaseInput,
        ReleasePhase,
        ReleaseStatus,
    )
    from schemas.verdict import Verdict
    from workflows import describe, pages, plan
    from workflows.admission_client import AdmissionClient
    from workflows.attributes import Attributes
    from workflows.calls import decided
    from workflows.canary_orders import CanaryEvents, CanaryOrders
    from workflows.cell import here
    from workflows.commands import CommandKind, Commands
    from workflows.outbox import Announcer
    from workflows.readiness import Readiness
    from workflows.release_decisions import ReleaseDecisions
    from workflows.release_events import ReleaseEvents
    from workflows.report_call import write_report
    from workflows.reset import Reset
    from workflows.reverting import RevertRequests
    from workflows.service_states import ServiceStates
    from workflows.waiting import run_to_end


@workflow.defn(name=RELEASE_WORKFLOW)
class ReleaseWorkflow(Commands):
    """One release, from the deploy event until it is finalized or rolled back."""

    @workflow.init
    def __init__(self, start: ReleaseInput) -> None:
        self._start = start
        self._plan = start.plan
        self._states = ServiceStates(start.plan)
        self._announcer = Announcer()
        self._events = ReleaseEvents(start.plan, self._announcer)
        self._phase = ReleasePhase.QUEUED
        self._attributes = Attributes(known=start.tuning.search_attributes)
        self._admission = AdmissionClient(start.plan, start.tuning)
        self._readiness = Readiness(start.plan, start.tuning)
        self._reset = Reset(self._note_change)
        self._told_queued = False
        self._cause: Cause | None = None
        self._paused = False
        self._said: deque[str] = deque(maxlen=pages.SAID)
        self._decisions = ReleaseDecisions(self._events.decided)
        self._soaked = False
        self._forced: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders = CanaryOrders(
            start,
            self._states,
            readiness=self._readiness,
            admission=self._admission,
            reset=self._reset,
            events=CanaryEvents(self._note_change, self._busy, self._closed, self._lost),
        )
        self._started_at = workflow.now()
        self._reverts = RevertRequests(self._states, self._started_at)
        self._finished_at: datetime | None = None
        self._changed = True

    # --- what it tells ---

    @workflow.run
    async def run(self, _: ReleaseInput) -> ReleaseStatus:
        """Release all services of the plan.

        Returns:
            How it ended. Trouble never raises: a release that goes back is an outcome.
        """
        self._announcer.start()
        self._attributes.begin(self._plan)
        self._background(self._have_turn())
        while not self._phase.closed:
            try:
                await workflow.wait_condition(lambda: self._changed)
            except asyncio.CancelledError:
                self._go_back(self._because(CauseKind.CANCELLED, "the release was cancelled"))
            self._changed = False
            if self._reset.news():
                self._begin_anew()
            self._queue()
            reverted = self._reverts.cause(workflow.now())
            if reverted is not None:
                self._go_back(reverted)
            self._events.services(self._states.statuses())
            for action in self._next_actions():
                self._carry_out(action)
            workflow.set_current_details(self._page())
        await run_to_end(asyncio.create_task(self._finish()))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.status()

    def _page(self) -> str:
        return pages.release(
            self.status(),
            self._plan,
            at=workflow.now(),
            said=tuple(self._said),
            runs=self._orders.runs,
        )

    async def _finish(self) -> None:
        await asyncio.gather(self._admission.leave(), self._announcer.finish())
        if self._start.tuning.report:
            await write_report(self._plan.release)  # from the events, too: they come first

    # --- its turn ---

    async def _have_turn(self) -> None:
        """Ask for all services before any is touched, and keep them until the end."""
        await self._admission.come(
            lambda: self._phase is not ReleasePhase.QUEUED, self._note_change
        )
        if self._admission.admitted:
            self._background(self._readiness.come(self._note_change))
        await self._admission.stay(lambda: self._phase.closed)

    def _note_change(self) -> None:
        self._changed = True

    @workflow.signal(
        name=SIGNAL_ADMISSION, description="Not for people: from the admission, whose turn it is."
    )
    def admission(self, answer: Answer | None = None) -> None:
        """Take the admission's word."""
        if answer is not None:
            self._admission.hear(answer)
            self._changed = True

    @workflow.signal(
        name=SIGNAL_REVERT, description="Not for people: from a later release that waits for this."
    )
    def revert(self, revert: Revert | None = None) -> None:
        """Go back, if that is what the later release asks for."""
        if revert is not None:
            self._reverts.take(revert)
            self._changed = True

    def _queue(self) -> None:
        """Begin, wait or go back, as the admission said."""
        if self._reset.deciding:
            return
        cause = self._admission.cause or self._readiness.cause
        if cause is not None:
            self._go_back(cause)
        if self._phase is not ReleasePhase.QUEUED:
            return
        if self._admission.admitted and self._readiness.done:
            self._states.notes.clear()
            self._enter(ReleasePhase.RUNNING)
        elif self._waits_for and not self._told_queued:
            self._told_queued = True
            self._events.queued(self._waits_for)

    @property
    def _waits_for(self) -> str:
        """What a queued release waits for: its turn, then whatever a service lacks."""
        return self._readiness.waits_for if self._admission.admitted else self._admission.waits_for

    def _next_actions(self) -> tuple[plan.Action, ...]:
        waits = self._phase is ReleasePhase.QUEUED or self._reset.deciding
        return () if waits else plan.next_actions(self._view())

    def _view(self) -> plan.View:
        return plan.View(
            depends_on=self._states.depends_on,
            phases=self._states.phases,
            max_parallel=self._plan.max_parallel,
            paused=self._paused or bool(self._states.pausing),
            aborting=self._phase is ReleasePhase.ROLLING_BACK,
            soaked=self._soaked,
            finalizing=self._phase is ReleasePhase.FINALIZING,
            ordered=frozenset(self._orders.ordered),
            forced=frozenset(self._forced),
            away=self._states.away,
            groups=self._states.groups,
            points=self._states.points,
            told=self._orders.let_on,
            pausing=self._states.pausing,
            ahead=self._orders.ahead,
            told_begin=frozenset(self._orders.told_begin),
        )

    def _carry_out(self, action: plan.Action) -> None:
        match action:
            case plan.Start(service):
                self._states.set_phase(service, CanaryPhase.PREFLIGHT)
                self._background(self._orders.run(service))
            case plan.Begin(service):
                if self._orders.knows(service):  # it is being started otherwise: asked again then
                    self._orders.told_begin.add(service)
                    self._background(self._orders.begin(service))
            case plan.GoOn(service, point):
                if self._orders.knows(service):  # it is being started otherwise: asked again then
                    self._orders.let_on[service] = point
                    self._background(self._orders.go_on(service, point))
            case plan.Skip(service):
                self._states.set_phase(service, CanaryPhase.SKIPPED)
                self._changed = True
            case plan.RollBack(service):
                self._orders.ordered.add(service)
                cause = self._cause or self._because(CauseKind.RELEASE, "the release goes back")
                self._background(self._orders.back(service, cause))
            case plan.Finalize(service):
                self._orders.ordered.add(service)
                self._background(self._orders.final(service))
            case plan.Soak() | plan.BeginFinalize() | plan.Finish():
                self._carry_out_whole(action)

    def _carry_out_whole(self, action: plan.Soak | plan.BeginFinalize | plan.Finish) -> None:
        match action:
            case plan.Soak():
                if self._phase is ReleasePhase.RUNNING:
                    self._enter(ReleasePhase.SOAKING)
                    self._background(self._soak())
            case plan.BeginFinalize():
                self._enter(ReleasePhase.FINALIZING)
            case plan.Finish(rolled_back=back):
                self._enter(ReleasePhase.ROLLED_BACK if back else ReleasePhase.FINALIZED)

    async def _soak(self) -> None:
        if self._plan.soak:
            await workflow.sleep(self._plan.soak, summary="soak: all services hold together")
        self._soaked = True
        self._changed = True

    # --- its canaries ---

    def _begin_anew(self) -> None:
        """After a reset: go back, or on with finalizing, as if every canary were lost."""
        for service, phase in self._states.phases.items():
            if not phase.closed:
                self._lost_sight_of(service)
        if self._phase.forward and not self._reset.deciding:
            self._reset.deciding = True
            self._background(self._decide_anew())

    async def _decide_anew(self) -> None:
        """Back, unless it had begun to finalize before the reset: then on with that.

        Nothing is begun meanwhile, and another cause to go back waits: a way is for all services.
        """
        final = await decided(workflow.info().workflow_id, before_reset=True)
        self._reset.deciding = False
        if final:
            self._cause = None
            self._enter(ReleasePhase.FINALIZING)
        else:
            self._go_back(self._cause or self._reset.cause())

    def _lost_sight_of(self, service: str) -> None:
        """It may have traffic, and its canary must be ordered again."""
        self._orders.forget(service)
        self._states.lost(service)
        self._changed = True

    async def _busy(self, service: str) -> None:
        """Another release's canary is there, which the admission did not know of."""
        if self._plan.admission.busy is Busy.REJECT:
            self._states.set_phase(service, CanaryPhase.SKIPPED)
            text = f"{service} is busy: another release has a canary of it"
            self._go_back(self._because(CauseKind.BUSY, text, service))
            return
        self._states.notes[service] = f"another canary of {service} to end"
        self._note_change()
        self._background(self._admission.claim())
        await self._admission.until_ended(
            canary_workflow_id(service, here()),
            lambda: self._phase is ReleasePhase.ROLLING_BACK,
            f"another canary of {service} is there",
        )
        # Planned again: begun when the release still goes on, skipped when it goes back.
        self._states.notes.pop(service, None)
        self._orders.told_begin.discard(service)
        self._states.set_phase(service, CanaryPhase.WAITING)
        self._note_change()

    def _closed(self, service: str, outcome: CanaryOutcome) -> None:
        if outcome.phase is CanaryPhase.ROLLED_BACK and self._phase is ReleasePhase.FINALIZING:
            # One that was reset, and went back before it heard. Its others may be finalized.
            self._lost_sight_of(service)
            return
        self._events.evidence(service, outcome.decisions, outcome.measured)
        self._states.close(service, outcome)
        self._changed = True
        if outcome.phase is CanaryPhase.ROLLED_BACK or outcome.cause is not None:
            text = f"{service} went back"
            self._go_back(outcome.cause or self._because(CauseKind.ERROR, text, service))

    def _lost(self, service: str, text: str) -> None:
        """A canary ended without a word (terminated): another run of it mends its traffic."""
        self._go_back(
            self._because(CauseKind.ERROR, f"the canary of {service} was lost: {text}", service)
        )
        self._lost_sight_of(service)

    @workflow.signal(name=SIGNAL_REPORT, description="Not for people: from a canary, where it is.")
    def canary_report(self, report: CanaryReport | None = None) -> None:
        """Keep the newest report of a service, tell the world, and act on trouble."""
        if report is None or not self._states.take(report):
            return
        self._changed = True
        self._events.canary(report)
        if report.phase is CanaryPhase.IN_STEP:
            self._orders.let_on_anew(report.service)
        if self._phase is ReleasePhase.FINALIZING and not report.phase.final:
            self._orders.order_anew(report.service)
        if report.cause is not None:
            self._go_back(report.cause)

    # --- going back ---

    def _go_back(self, cause: Cause) -> None:
        """Start nothing more, and take back what was touched; too late once finalizing."""
        if not self._phase.forward:
            return
        self._cause = cause
        if self._reset.deciding:
            return
        self._decisions.went_back(cause)
        self._enter(ReleasePhase.ROLLING_BACK)

    def _because(self, kind: CauseKind, text: str, service: str | None = None) -> Cause:
        return Cause(kind=kind, service=service, text=text, at=workflow.now())

    def _enter(self, phase: ReleasePhase) -> None:
        self._phase = phase
        self._changed = True
        if phase.closed:
            self._finished_at = workflow.now()
        self._attributes.enter(phase.value, verdict=self._verdict(), cause=self._cause)
        self._events.release(phase, self._cause)

    def _verdict(self) -> Verdict | None:
        """The one it goes back for; else the last that a canary reported."""
        return self._cause.verdict if self._cause else self._states.verdict

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what people ask and say ---

    @workflow.query(name=QUERY_STATUS, description="Where every service is, and why. No input.")
    def status(self, _: Any = None) -> ReleaseStatus:
        """Where the release is."""
        took = (self._finished_at or workflow.now()) - self._started_at
        status = ReleaseStatus(
            summary=describe.release_summary(self._plan, self._phase, self._cause, took),
            release=self._plan.release,
            phase=self._phase,
            paused=self._paused,
            services=self._states.statuses(),
            waits_for=self._waits_for if self._phase is ReleasePhase.QUEUED else "",
            cause=self._cause,
            started_at=self._started_at,
            finished_at=self._finished_at,
            labels=self._plan.labels,
            reverts=self._plan.reverts,
            decisions=self._decisions.records,
            audit=self._events.end,
        )
        return status.fitting()

    def _refusal(self, kind: CommandKind, command: Command) -> str | None:
        return self._states.refusal(kind, command, self._phase, paused=self._paused)

    @property
    def goes_back(self) -> bool:
        """Whether there is a reason to go back."""
        return self._cause is not None

    @property
    def goes_back_for_alert(self) -> bool:
        """Whether that reason is an alert."""
        return self._cause is not None and self._cause.kind is CauseKind.ALERT

    def _ignored(self, kind: CommandKind, command: Command, why: str) -> None:
        self._decisions.ignored(kind, command, why)

    def _obey(self, kind: CommandKind, command: Command) -> str:
        answer = self._carry_out_command(kind, command)
        self._decisions.obeyed(kind, command, answer)
        return answer

    def _carry_out_command(self, kind: CommandKind, command: Command) -> str:
        said = describe.command(kind, command)
        workflow.logger.info("command", extra={"command": kind, "by": command.by})
        self._said.append(f"{workflow.now():%H:%M:%S} {said}")
        match kind:
            case CommandKind.ROLLBACK:
                return self._told_back(said, command)
            case CommandKind.PAUSE | CommandKind.RESUME:
                self._paused = kind is CommandKind.PAUSE
                self._events.paused(paused=self._paused, text=said)
        targets = self._states.targets(kind, command)
        for service in targets:
            self._background(self._orders.signal(service, kind, command))
        self._changed = True
        return f"{said}: {', '.join(targets) or 'nothing moves yet'}"

    def _told_back(self, said: str, command: Command) -> str:
        if self._phase is ReleasePhase.ROLLING_BACK and command.service is not None:
            self._forced.add(command.service)
            self._changed = True
            named = ", ".join(self._states.groups[command.service]) or command.service
            return f"{named} goes back now, out of order"
        self._go_back(
            Cause(
                kind=CauseKind.COMMAND,
                service=command.service,
                text=said,
                at=workflow.now(),
                by=command.by,
            )
        )
        return "the release goes back"
