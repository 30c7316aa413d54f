"""What a canary knows, is told and says of itself. Handlers record; `workflows.canary` acts."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.ramp import RampState
    from schemas.alert import Alert
    from schemas.alert_policy import AlertAction
    from schemas.fitting import fitted
    from schemas.ids import (
        QUERY_STATUS,
        SIGNAL_ALERT,
        SIGNAL_ALERTS,
        SIGNAL_FINALIZE,
        SIGNAL_ORDER_END,
        SIGNAL_ORDER_ROLLBACK,
    )
    from schemas.outside import cut
    from schemas.release import (
        CAUSE_BYTES,
        CanaryInput,
        CanaryPhase,
        CanaryReport,
        CanaryState,
        CanaryStatus,
        Cause,
        CauseKind,
        Command,
        EndOrder,
    )
    from workflows import describe, pages
    from workflows.alerts import SeenAlerts, alerts_in, decide
    from workflows.attributes import RUNNING, Attributes, listed
    from workflows.commands import CommandKind, Commands
    from workflows.judging import Judging
    from workflows.outbox import Reports
    from workflows.reset import resets
    from workflows.traffic import Traffic


_FAILURE_MOST = 500
"""Of a failure, in what is shown of a wait, in characters."""
ALERT_BYTES = 16 * 1024
"""Of an alert, in the cause that it is."""


class Inbox(Commands):
    """The state of one canary, and the handlers that change it."""

    def __init__(self, start: CanaryInput) -> None:
        self._start = start
        self._plan = start.plan
        self._steps = start.plan.strategy.full_steps
        self._traffic = Traffic(start.release, start.plan, start.tuning, self._note_failure)
        self._failure = ""
        """Why what it waits for has failed so far, in words."""
        self._doubt: str | None = None
        """Why the bake before a gate was inconclusive."""
        self._reports = Reports()
        self._sequence = 0
        # One that is begun to finalize is past every cause to go back, its first message's as well.
        self._phase = CanaryPhase.FINALIZING if start.promote else CanaryPhase.PREFLIGHT
        self._waits_for = ""
        self._ends_by: tuple[CommandKind, ...] = ()
        self._asks_alerts = False
        self._asks_again = False
        """An alert came since preflight last asked, before there was traffic."""
        self._let_by = False
        self._kept: str | None = None
        """What a person said who keeps the new version although it went back."""
        self._step: int | None = None
        self._judging = Judging(start.plan, self._traffic, start.tuning.judge_late)
        self._attributes = Attributes(known=start.tuning.search_attributes, state=RUNNING)
        self._alerts = SeenAlerts()
        self._trouble: Cause | None = None
        self._abort = start.restore
        self._traffic.touched = start.restore is not None
        self._pause_text: str | None = None
        self._approved = False
        self._skip = False
        self._finalize = False
        self._progress = (-1, 0)
        """Step, and which part of it, the ramp first: an earlier run may have been further."""
        if start.resume is not None:
            self._take_over(start.resume)

    # --- from one run to the next ---

    def _take_over(self, state: CanaryState) -> None:
        self._traffic.take_over(state)
        self._judging.evidence = state.evidence
        self._judging.verdict = state.verdict
        self._judging.ramp = RampState.model_validate(state.ramp) if state.ramp else None
        self._judging.ramp_began = state.ramp_began
        self._alerts = SeenAlerts(state.alerts, state.alerts_seen)
        self._phase = state.phase
        self._step = state.step
        self._progress = state.progress
        self._sequence = state.sequence
        self._trouble = state.trouble
        self._pause_text = state.pause_text
        self._approved = state.approved
        self._doubt = state.doubt
        self._skip = state.skip
        self._finalize = state.finalize

    def _hand_over(self) -> CanaryState:
        ramp = self._judging.ramp
        return CanaryState(
            phase=self._phase,
            step=self._step,
            progress=self._progress,
            sequence=self._sequence,
            route=self._traffic.route,
            weight=self._traffic.weight,
            before=self._traffic.before,
            touched=self._traffic.touched,
            first=self._traffic.first,
            began_at=self._traffic.began_at,
            confirmed_at=self._traffic.confirmed_at,
            evidence=self._judging.evidence,
            ramp=ramp.model_dump(mode="json") if ramp else None,
            ramp_began=self._judging.ramp_began,
            verdict=self._judging.verdict,
            alerts=self._alerts.identities,
            alerts_seen=self._alerts.count,
            trouble=self._trouble,
            pause_text=self._pause_text,
            approved=self._approved,
            doubt=self._doubt,
            skip=self._skip,
            finalize=self._finalize,
        )

    # --- what it says ---

    def _tell(self, *, by_judge: bool = False, show_later: bool = False) -> None:
        """Report to the release, and show at the top of the workflow's page.

        Args:
            by_judge: the activity that judges next delivers it, at no cost to this history.
            show_later: in the next workflow task, so that this one takes less.
        """
        report = self._report()
        self._sequence += 1
        if by_judge and self._judging.watched:
            self._judging.report = self._reports.pending(report)
        else:
            self._reports.put(report)
        if show_later:
            self._showing = asyncio.create_task(self._show_once_delivered())
        else:
            self._show(report)

    def _report(self) -> CanaryReport:
        return CanaryReport(
            service=self._plan.service,
            sequence=self._sequence,
            phase=self._phase,
            weight=self._phase.weight(self._traffic.weight, stable=self._traffic.unchanged),
            step=self._step,
            steps=len(self._steps),
            stable=self._traffic.before or self._traffic.stable,
            waits_for=self._awaited(),
            verdict=self._judging.verdict,
            cause=self._trouble,
            paused=self._pause_text is not None,
            ends_by=self._ends_by,
            at=workflow.now(),
        )

    def _awaited(self) -> str:
        """What it waits for now, why in vain so far, and a pause that it has not come to yet."""
        now = self._waits_for
        if self._failure:
            now = (
                f"{now or 'an answer'}; {describe.LAST_FAILURE}{cut(self._failure, _FAILURE_MOST)}"
            )
        over = {CanaryPhase.PAUSED, *describe.GOING_BACK}
        if self._pause_text is None or self._phase in over:
            return now
        return "; then ".join(filter(None, (now, f"resume: {self._pause_text}")))

    def _note_failure(self, text: str) -> None:
        """Keep why a call fails that is tried again; it is told once for each reason."""
        known, self._failure = self._failure, text
        if text and text != known:
            self._tell()

    async def _show_once_delivered(self) -> None:
        await self._reports.delivered()
        self._show(self._report())

    def _show(self, report: CanaryReport) -> None:
        """On the workflow's page, and in the lists that the UI filters."""
        parent = workflow.info().parent
        workflow.set_current_details(
            pages.canary(self._start, report, parent.run_id if parent else "")
        )
        state = listed(report.phase)
        verdict = report.verdict if state != RUNNING else None
        self._attributes.enter(state, verdict=verdict, cause=report.cause)

    @property
    def _place(self) -> str:
        return f"{(self._step or 0) + 1} of {len(self._steps)}"

    # --- what comes in ---

    @workflow.signal(
        name=SIGNAL_ALERT, description="Not for people: from the bridge, an alert on this service."
    )
    def alert(self, alert: Alert | None = None) -> None:
        """Act on an alert, once; the catalog says how."""
        if alert is not None:
            self._take_alert(alert)

    @workflow.signal(
        name=SIGNAL_ALERTS, description="Not for people: from the bridge, a list of alerts."
    )
    def alerts(self, value: Any = None) -> None:
        """Act on each alert of a batch; one that is malformed hides none of the others."""
        alerts, wrong = alerts_in(value)
        for error in wrong:
            workflow.logger.warning("dropped a malformed alert", extra={"error": error})
        for alert in alerts:
            self._take_alert(alert)

    def _take_alert(self, alert: Alert) -> None:
        if alert.lost and self._traffic.began_at is None:
            return  # and not remembered either: the next loss of that hour may be of what matters
        if not self._alerts.is_new(alert):
            return
        self._asks_again |= self._traffic.began_at is None
        decided = decide(
            alert, self._plan, began_at=self._traffic.began_at, stable=self._traffic.stable
        )
        workflow.logger.info(
            "alert",
            extra={"alert": alert.name, "action": decided.action, "why": decided.text},
        )
        if decided.action is AlertAction.ROLLBACK:
            alert = fitted(alert, ALERT_BYTES)
            self._in_trouble(self._cause(CauseKind.ALERT, decided.text, alert=alert))
        elif decided.action is AlertAction.PAUSE and self._pause_text is None:
            self._pause_text = decided.text
            self._tell()

    @workflow.signal(
        name=SIGNAL_ORDER_ROLLBACK, description="Not for people: from the release, roll back now."
    )
    def order_rollback(self, value: Any = None) -> None:
        """The release's order, which a canary obeys while holding, too; whatever comes with it."""
        if self._abort is None:
            default = self._cause(CauseKind.RELEASE, "the release goes back")
            self._abort = Cause.of(value, default)

    @workflow.signal(
        name=SIGNAL_FINALIZE, description="Not for people: from the release, become stable."
    )
    def finalize(self, _: Any = None) -> None:
        """The release's order, once all of its services hold."""
        self._finalize = True

    @workflow.signal(
        name=SIGNAL_ORDER_END, description="Not for people: from the release, after a reset of it."
    )
    def order_end(self, order: EndOrder | None = None) -> None:
        """The order of a release that was reset, if it is this canary's."""
        if order is None or order.release != self._start.release:
            return
        if order.cause is None:
            self._finalize = True
        elif self._abort is None:
            self._abort = fitted(order.cause, CAUSE_BYTES)

    @workflow.query(name=QUERY_STATUS, description="Where this canary is, and why. No input.")
    def status(self, _: Any = None) -> CanaryStatus:
        """Where this canary is."""
        return CanaryStatus(
            **dict(self._report()),
            release=self._start.release,
            version=self._plan.version,
            route=self._traffic.route,
            alerts_seen=self._alerts.count,
        )

    def _refusal(self, kind: CommandKind, _: Command) -> str | None:
        where = describe.phase(self._phase, self._step, len(self._steps))
        return describe.canary_refusal(
            kind,
            self._phase,
            paused=self._pause_text is not None,
            ends_by=(CommandKind.APPROVE, CommandKind.SKIP) if self._asks_alerts else self._ends_by,
            at=f"{self._plan.service} is {where}",
        )

    def _obey(self, kind: CommandKind, command: Command) -> str:
        said = describe.command(kind, command)
        service = self._plan.service
        match kind:
            case CommandKind.PAUSE:
                self._pause_text = said
                self._tell()
                answer = f"{service} goes no further than {self._traffic.weight:g} %"
            case CommandKind.RESUME:
                self._pause_text = None
                self._tell()
                answer = f"{service} goes on"
            case CommandKind.APPROVE | CommandKind.SKIP if self._asks_alerts:
                self._let_by = True
                answer = f"{service} goes on, whatever fires"
            case CommandKind.APPROVE:
                self._approved = True
                answer = f"the gate of {service} is open"
            case CommandKind.SKIP:
                self._skip = True
                answer = f"the bake of {service} ends"
            case CommandKind.KEEP:
                self._kept = said
                if self._trouble is not None:
                    text = f"{said} rather than going back because {self._trouble.text}"
                    self._trouble = self._trouble.model_copy(update={"text": text})
                    self._abort = self._trouble
                answer = f"{service} gets all requests on {self._plan.version}, and keeps it"
            case CommandKind.ROLLBACK:
                self._in_trouble(self._cause(CauseKind.COMMAND, said, by=command.by))
                answer = f"{service} goes back, and the release with it"
        workflow.logger.info("command", extra={"command": kind, "by": command.by})
        return answer

    # --- trouble ---

    def _in_trouble(self, cause: Cause) -> None:
        """Go back at once; while holding, tell the release, which takes the dependents first."""
        final = self._phase in {CanaryPhase.FINALIZING, CanaryPhase.FINALIZED}
        # One that was reset may not have come to where it was told to finalize.
        if final or self._trouble or (self._finalize and resets() > 0):
            return
        self._trouble = cause
        if self._phase is CanaryPhase.HOLDING:
            self._tell()
        else:
            self._abort = cause

    def _cause(self, kind: CauseKind, text: str, **more: Any) -> Cause:
        return Cause(kind=kind, service=self._plan.service, text=text, at=workflow.now(), **more)
