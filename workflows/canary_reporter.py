"""Where a canary is, and who is told: its release, its page, the lists of the Temporal UI."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.report_delivery import PendingReport
    from schemas.outside import cut
    from schemas.phase_facts import RUNNING
    from schemas.release import CanaryInput, CanaryPhase, CanaryReport
    from schemas.stages import GateStage, Stage, point_at, steps_in
    from workflows import describe, pages
    from workflows.attributes import Attributes
    from workflows.commands import CommandKind
    from workflows.decisions import Decisions
    from workflows.judging import Judging
    from workflows.outbox import Reports
    from workflows.traffic import Traffic

_FAILURE_MOST = 500
"""Of a failure, in what is shown of a wait, in characters."""


class CanaryReporter:
    """Keeps the phase of a canary and what it waits for, and reports each change.

    Args:
        start: what the canary was started with.
        traffic: its route.
        judging: its verdicts.
        decisions: what it does, and has decided.
        reports: what goes to its release.
    """

    def __init__(
        self,
        start: CanaryInput,
        traffic: Traffic,
        judging: Judging,
        decisions: Decisions,
        reports: Reports,
    ) -> None:
        self._start = start
        self._traffic = traffic
        self._judging = judging
        self._decisions = decisions
        self._reports = reports
        self._attributes = Attributes(known=start.tuning.search_attributes, state=RUNNING)
        resume = start.resume
        self.phase = CanaryPhase.FINALIZING if start.promote else CanaryPhase.PREFLIGHT
        if resume is not None:
            self.phase = resume.phase
        self.step = resume.step if resume else None
        """Index from 0 of the step that it is at."""
        self.steps = steps_in(start.plan.stages)
        self.sequence = resume.sequence if resume else 0
        self.waits_for = ""
        self.ends_by: tuple[CommandKind, ...] = ()
        """Commands that end what it waits for, beside those that its phase is known for."""
        self.watched_until: datetime | None = None
        """Past its end: how long an alert takes the release back."""
        self._failure = ""
        """Why what it waits for has failed so far, in words."""

    @property
    def place(self) -> str:
        """`2 of 4`."""
        return f"{(self.step or 0) + 1} of {self.steps}"

    def enter(
        self,
        phase: CanaryPhase,
        waits_for: str = "",
        *,
        by_judge: bool = False,
        show_later: bool = False,
        ends_by: tuple[CommandKind, ...] = (),
    ) -> None:
        """Enter a phase, or wait for something else in it.

        Args:
            phase: which.
            waits_for: in words.
            by_judge: the activity that judges next delivers the report, at no cost to this history.
            show_later: in the next workflow task, so that this one takes less.
            ends_by: commands that end the wait.
        """
        if phase is not CanaryPhase.STUCK:
            self._failure = ""  # of another wait
        self.pass_through(phase, waits_for)
        self.ends_by = ends_by
        self.tell(by_judge=by_judge, show_later=show_later)

    def pass_through(self, phase: CanaryPhase, waits_for: str) -> None:
        """Enter a phase that is over too soon to be told; who asks is answered."""
        self.phase = phase
        self.waits_for = waits_for

    def tell(self, *, by_judge: bool = False, show_later: bool = False) -> None:
        """Report to the release, and show at the top of the workflow's page; see `enter`."""
        report = self.report()
        self.sequence += 1
        if by_judge and self._judging.watched:
            self._judging.report = self._reports.pending(report)
        else:
            self._reports.put(report)
            self._judging.untold.told(self._decisions.records)
        if show_later:
            self._showing = asyncio.create_task(self._show_once_delivered())
        else:
            self._show(report)

    def report(self) -> CanaryReport:
        """Where it is now."""
        state, traffic = self._decisions.now(), self._traffic
        return CanaryReport(
            service=self._start.plan.service,
            sequence=self.sequence,
            phase=self.phase,
            weight=self.phase.weight(traffic.weight, stable=traffic.unchanged),
            copied=0.0 if self.phase.closed else traffic.portion.copied,
            whom=traffic.whom if traffic.weight else "",
            step=self.step,
            steps=self.steps,
            stable=traffic.before or traffic.stable,
            waits_for=self._awaited(state.pause),
            verdict=self._judging.verdict,
            cause=state.cause,
            paused=state.pause is not None,
            point=point_at(state.stages, state.at),
            ends_by=self.ends_by,
            picks=self._picks(state.stages[state.at]),
            decisions=self._judging.untold.decisions(self._decisions.records),
            measured=self._judging.untold.measured,
            at=workflow.now(),
        )

    def pending(self) -> PendingReport | None:
        """Where it is now, for an activity that tells of it; None when nobody would hear it."""
        return self._reports.pending(self.report())

    def note_failure(self, text: str) -> None:
        """Keep why a call fails that is tried again; it is told once for each reason."""
        known, self._failure = self._failure, text
        if text and text != known:
            self.tell()

    def _picks(self, stage: Stage) -> tuple[str, ...]:
        """The versions of which a person is to pick one."""
        asks = isinstance(stage, GateStage) and stage.picks and self.phase is CanaryPhase.GATED
        stable = self._traffic.stable
        return (stable, self._start.plan.version) if asks and stable is not None else ()

    def _awaited(self, pause: str | None) -> str:
        """What it waits for now, why in vain so far, and a pause that it has not come to yet."""
        now = self.waits_for
        if self._failure:
            now = (
                f"{now or 'an answer'}; {describe.LAST_FAILURE}{cut(self._failure, _FAILURE_MOST)}"
            )
        if pause is None or self.phase is CanaryPhase.PAUSED or self.phase.goes_back:
            return now
        return "; then ".join(filter(None, (now, f"resume: {pause}")))

    async def _show_once_delivered(self) -> None:
        await self._reports.delivered()
        self._show(self.report())

    def _show(self, report: CanaryReport) -> None:
        """On the workflow's page, and in the lists that the UI filters."""
        parent = workflow.info().parent
        workflow.set_current_details(
            pages.canary(self._start, report, parent.run_id if parent else "")
        )
        state = report.phase.about.listed_as
        verdict = report.verdict if state != RUNNING else None
        self._attributes.enter(state, verdict=verdict, cause=report.cause)
