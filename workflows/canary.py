"""The canary of one service: its stages, one after the other, and the way back.

The workflow id `canary/<service>` is the lock of the service, and the address of alerts about it.
Handlers only record; `workflows.canary_plan` decides what is next; `run` carries it out.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.ramp import RampState
    from schemas.alert import Alert, AlertStatus
    from schemas.alert_policy import AlertAction
    from schemas.blame import Accusation, Exposed
    from schemas.decisions import OUTCOME_MOST, DecisionRecord, Did, Heard
    from schemas.fitting import fitted
    from schemas.hooks import HookMoment, LateAnswer, NotTaken, Untaken
    from schemas.ids import (
        CANARY_WORKFLOW,
        QUERY_EXPOSED,
        QUERY_STATUS,
        REFUSED,
        SIGNAL_ACCUSED,
        SIGNAL_ALERT,
        SIGNAL_ALERTS,
        SIGNAL_BEGIN,
        SIGNAL_FINALIZE,
        SIGNAL_GO_ON,
        SIGNAL_HOOK_ANSWER,
        SIGNAL_ORDER_END,
        SIGNAL_ORDER_ROLLBACK,
    )
    from schemas.outside import NAME_MOST, cut
    from schemas.release import (
        CAUSE_ALERT_BYTES,
        CAUSE_BYTES,
        CanaryInput,
        CanaryOutcome,
        CanaryPhase,
        CanaryState,
        CanaryStatus,
        Cause,
        CauseKind,
        Command,
        EndOrder,
    )
    from schemas.route import Route
    from workflows import describe
    from workflows.alerts import Decision, SeenAlerts, alerts_in, decide
    from workflows.blaming import BlameEvents, Blaming
    from workflows.calls import Calls
    from workflows.canary_plan import (
        Action,
        AskRelease,
        Do,
        End,
        HandOver,
        Interrupt,
        Keep,
        Pause,
        Undo,
        Way,
    )
    from workflows.canary_reporter import CanaryReporter
    from workflows.commands import CommandKind, Commands
    from workflows.decisions import Decisions
    from workflows.hooks import Hooks
    from workflows.instances import Instances
    from workflows.judging import Judging
    from workflows.lease import Lease
    from workflows.outbox import Reports
    from workflows.outcomes import INTERRUPTED, Outcome
    from workflows.stable_size import StableSize
    from workflows.stages import STAGES, between
    from workflows.stages.context import Answers, Context
    from workflows.stages.preflight import ENDS_BY as LETS_BY
    from workflows.traffic import Traffic
    from workflows.untold import Untold
    from workflows.waiting import run_to_end

_ANSWER = (
    "The answer of a hook that said it would come later. Input is JSON: "
    '{"id": "msg_…", "verdict": "yes" or "no", "reason": "why"}'
)
_UNFIT = Untaken(why=NotTaken.UNFIT, text=f"expected {_ANSWER}")
_DID = {
    CommandKind.PAUSE: Did.PAUSED,
    CommandKind.RESUME: Did.RESUMED,
    CommandKind.APPROVE: Did.APPROVED,
    CommandKind.SKIP: Did.SKIPPED,
    CommandKind.KEEP: Did.KEPT,
}


@workflow.defn(name=CANARY_WORKFLOW)
class CanaryWorkflow(Commands):
    """One canary, from before its first request until it is finalized or rolled back."""

    @workflow.init
    def __init__(self, start: CanaryInput) -> None:
        self._start = start
        self._plan = plan = start.plan
        resume = start.resume
        self._reports = Reports()
        calls = Calls(plan, start.tuning, self._note_failure)
        self._traffic = Traffic(start.release, plan, start.tuning, calls, self._note_failure)
        self._instances = Instances(start.release, plan, start.tuning, calls)
        self._stable = StableSize(start, calls, self._instances)
        self._judging = Judging(plan, self._traffic, calls, start.tuning.judge_late)
        self._alerts = SeenAlerts(resume.alerts, resume.alerts_seen) if resume else SeenAlerts()
        self._answers = Answers()
        if resume is not None:
            self._take_over(resume)
        self._decisions = Decisions(start, self._traffic, self._reports)
        self._reporter = CanaryReporter(
            start, self._traffic, self._judging, self._decisions, self._reports
        )
        self._hooks = Hooks(
            start, self._reporter.steps, self._traffic, self._instances, calls, self._decisions
        )
        self._blaming = Blaming(
            start.release,
            plan,
            calls,
            self._decisions,
            BlameEvents(self._act, self._blamed, self._spared, self._goes_on),
            resume,
        )
        self._lease = Lease(start.release, plan, self._traffic, calls, self._lost)
        self._told_back = False
        self._context = Context(
            start=start,
            calls=calls,
            traffic=self._traffic,
            instances=self._instances,
            stable=self._stable,
            judging=self._judging,
            decisions=self._decisions,
            reporter=self._reporter,
            alerts=self._alerts,
            hooks=self._hooks,
            blaming=self._blaming,
            answers=self._answers,
        )

    # --- what it does ---

    @workflow.run
    async def run(self, _: CanaryInput) -> CanaryOutcome:
        """Release one version of one service.

        Returns:
            How it ended. Trouble never raises: a canary that goes back is an outcome.
        """
        self._reports.start()
        self._blaming.go_on_when_quiet()
        if self._plan.lease is not None:
            self._keeping = asyncio.create_task(self._lease.keep())
        while True:
            await run_to_end(asyncio.create_task(self._carry_out()), self._cancelled)
            if not isinstance(self._decisions.now().under_way, HandOver):
                break
            if self._decisions.goes_on:
                workflow.continue_as_new(
                    self._start.model_copy(update={"resume": self._hand_over()})
                )
            self._decisions.end(INTERRUPTED)
        await run_to_end(asyncio.create_task(self._finish()), self._cancelled)
        return self._outcome()

    async def _carry_out(self) -> None:
        """Do what is next, until there is nothing left, or another run is to go on."""
        while True:
            action = self._decisions.next_action()
            if isinstance(action, End):
                self._end(action)
                return
            if action is None or isinstance(action, Interrupt):
                raise RuntimeError("an action was begun beside another")
            self._decisions.begin(action)
            self._tell_back()
            outcome = await self._do(action)
            if outcome is None:
                return
            self._decisions.end(outcome)

    async def _do(self, action: Action) -> Outcome | None:
        """Carry out one action; None when another run is to go on."""
        context = self._context
        match action:
            case Do(index):
                stage = self._plan.stages[index]
                return await STAGES[stage.kind].do(context, stage)
            case Undo(index):
                undo = STAGES[self._plan.stages[index].kind].undo
                if undo is None:
                    raise RuntimeError("a stage with an effect has no undo")
                return await undo(context)
            case Pause():
                return await between.pause(context)
            case Keep():
                return await between.keep(context)
            case AskRelease():
                return await between.ask_release(context)
            case HandOver():
                return await context.until(self._all_is_said, context.halt)

    def _tell_back(self) -> None:
        """Tell hooks that it goes back: beside the route write, which never waits for them."""
        state = self._decisions.now()
        if state.way is Way.BACK and not self._told_back and (state.at or state.touched):
            self._told_back = True
            self._hooks.tell(HookMoment.BEFORE_ROLLBACK)

    def _all_is_said(self) -> bool:
        """No message is lost: for one that comes too late the server refuses the run's end."""
        heard = workflow.all_handlers_finished() and not self._blaming.asking
        return self._reports.all_delivered and heard

    def _end(self, end: End) -> None:
        if end.phase is CanaryPhase.FINALIZED and self._traffic.first:
            service, version = self._plan.service, self._plan.version
            self._decisions.explain(
                f"{version} stays, as the first version of {service}: nothing is to go back to"
            )
        self._reporter.enter(end.phase)
        state = self._decisions.now()
        if end.phase is CanaryPhase.FINALIZED and self._traffic.before != self._plan.version:
            self._hooks.tell(HookMoment.AFTER_FINALIZED)
            self._hooks.tell(HookMoment.CONTRACT)
        elif end.phase is CanaryPhase.ROLLED_BACK and (state.at or state.touched):
            self._hooks.tell(HookMoment.AFTER_ROLLED_BACK)

    async def _finish(self) -> None:
        await workflow.wait_condition(lambda: self._all_is_said() and self._hooks.all_begun)

    def _outcome(self) -> CanaryOutcome:
        state = self._decisions.now()
        cause = state.cause if state.way is Way.BACK else None
        return CanaryOutcome(
            summary=describe.canary_summary(self._plan, self._reporter.phase, cause),
            service=self._plan.service,
            phase=self._reporter.phase,
            cause=cause,
            version=self._traffic.stable,
            before=self._instances.before,
            watched_until=self._reporter.watched_until,
            exposed=self._exposed() if self._traffic.exposure else None,
            decisions=self._decisions.records[-OUTCOME_MOST:],
            measured=self._judging.untold.measured,
        )

    # --- from one run to the next ---

    def _take_over(self, state: CanaryState) -> None:
        self._traffic.take_over(state)
        self._instances.take_over(state)
        self._stable.take_over(state)
        self._judging.evidence = state.evidence
        self._judging.untold = Untold(state.measured, state.measured_number)
        self._judging.limited = state.limited
        self._judging.verdict = state.verdict
        self._judging.ramp = RampState.model_validate(state.ramp) if state.ramp else None
        self._judging.ramp_began = state.ramp_began
        self._answers = Answers(
            approved=state.approved,
            skip=state.skip,
            asks_alerts=self._plan.stages[state.at].kind == "preflight",
            let_by=state.let_by,
            overrule=state.overrule,
            begin=state.begin,
            doubt=state.doubt,
        )

    def _hand_over(self) -> CanaryState:
        traffic, judging, answers = self._traffic, self._judging, self._answers
        state, ramp = self._decisions.now(), self._judging.ramp
        return CanaryState(
            phase=self._reporter.phase,
            step=self._reporter.step,
            at=state.at,
            sequence=self._reporter.sequence,
            route=traffic.route,
            weight=traffic.weight,
            apart=traffic.apart,
            whom=traffic.whom,
            unlike=traffic.unlike,
            limited=judging.limited,
            before=traffic.before,
            touched=tuple(sorted(state.touched)),
            first=traffic.first,
            began_at=traffic.began_at,
            confirmed_at=traffic.confirmed_at,
            exposure=traffic.exposure,
            victim_of=tuple(self._blaming.victim_of),
            victim_pause=self._blaming.victim_pause,
            evidence=judging.evidence,
            ramp=ramp.model_dump(mode="json") if ramp else None,
            ramp_began=judging.ramp_began,
            verdict=judging.verdict,
            alerts=self._alerts.identities,
            alerts_seen=self._alerts.count,
            alerted=state.alerted,
            cause=state.cause,
            pause=state.pause,
            go_on=state.go_on,
            hooks=self._hooks.states,
            approved=answers.approved,
            doubt=answers.doubt,
            skip=answers.skip,
            let_by=answers.let_by,
            overrule=answers.overrule,
            begin=answers.begin,
            orders=self._instances.orders,
            instances=self._instances.ready,
            stable_instances=self._instances.stable,
            stable_order=self._stable.order,
            stable_ordered=self._stable.ordered,
            finalize=state.finalize,
            decisions=self._decisions.records,
            measured=judging.untold.measured,
            measured_number=judging.untold.number,
        )

    # --- what comes in ---

    def _lost(self, route: Route) -> None:
        self._traffic.lost(route)
        self._in_trouble(self._cause(CauseKind.LEASE, route.taken_back))

    def _cancelled(self) -> None:
        self._in_trouble(self._cause(CauseKind.CANCELLED, "the canary was cancelled"))

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
        began_at = self._traffic.began_at
        if alert.lost and began_at is None:
            return  # and not remembered either: the next loss of that hour may be of what matters
        if not self._alerts.is_new(alert):
            return
        self._decisions.alerted()
        decided = decide(alert, self._plan, began_at=began_at, stable=self._traffic.stable)
        workflow.logger.info(
            "alert",
            extra={"alert": alert.name, "action": decided.action, "why": decided.text},
        )
        if alert.status is AlertStatus.RESOLVED:
            self._blaming.ended(alert)
        if self._blaming.take(alert, decided):
            self._reporter.tell()
        else:
            self._act(alert, decided)

    def _act(self, alert: Alert, decided: Decision) -> None:
        """Do what the catalog says, whoever's doing it is."""
        match decided.action:
            case AlertAction.ROLLBACK:
                self._blamed(alert, decided.text)
            case AlertAction.PAUSE:
                self._spared(alert, decided.text)
            case AlertAction.RECORD:
                self._note(Heard.ALERT, Did.RECORDED, decided.text, **_of(alert))

    def _blamed(self, alert: Alert, text: str, ranked: tuple[str, ...] = ()) -> None:
        """Go back for an alert."""
        cause = self._cause(CauseKind.ALERT, text, alert=fitted(alert, CAUSE_ALERT_BYTES))
        if self._decisions.trouble(cause, ranked=ranked, **_of(alert)) is Did.TOLD:
            self._reporter.tell()

    def _spared(self, alert: Alert | None, text: str, ranked: tuple[str, ...] = ()) -> None:
        """Pause for an alert, or for a limit that was crossed."""
        pause = self._decisions.now().pause
        paused = pause is None or pause in self._blaming.pauses
        did = Did.PAUSED if paused else Did.KNOWN
        heard = Heard.VERDICT if alert is None else Heard.ALERT
        self._note(heard, did, text, ranked=ranked, **({} if alert is None else _of(alert)))
        if paused:
            self._decisions.pause(text)
            self._reporter.tell()

    def _goes_on(self, text: str) -> None:
        """The alert that it paused for, as a victim, has ended."""
        self._note(Heard.ALERT, Did.RESUMED, text)
        self._decisions.pause(None)
        self._reporter.tell()

    @workflow.signal(
        name=SIGNAL_ACCUSED,
        description="Not for people: from another release's canary, that this one is the culprit.",
    )
    def accused(self, about: Accusation | None = None) -> None:
        """Go back for an alert on another service, whose canary found out whose doing it is."""
        asks = self._plan.alerts.blame_within.total_seconds() > 0
        if about is None or about.release != self._start.release or not asks:
            return
        if self._traffic.began_at is None:
            return
        if about.alert is not None:
            self._blamed(about.alert, about.sentence)
        else:
            self._in_trouble(self._cause(CauseKind.VERDICT, about.sentence))

    @workflow.signal(
        name=SIGNAL_ORDER_ROLLBACK, description="Not for people: from the release, roll back now."
    )
    def order_rollback(self, value: Any = None) -> None:
        """The release's order, which a canary obeys while holding, too; whatever comes with it."""
        default = self._cause(CauseKind.RELEASE, "the release goes back")
        self._decisions.ordered_back(Cause.of(value, default))

    @workflow.signal(
        name=SIGNAL_FINALIZE, description="Not for people: from the release, become stable."
    )
    def finalize(self, _: Any = None) -> None:
        """The release's order, once all of its services hold."""
        self._decisions.ordered_final()

    @workflow.signal(
        name=SIGNAL_GO_ON,
        description="Not for people: from the release, all of its group have come so far.",
    )
    def go_on(self, point: int = 0) -> None:
        """The release's word that ends a wait in step."""
        self._decisions.let_on(point)

    @workflow.signal(
        name=SIGNAL_BEGIN, description="Not for people: from the release, its turn has come."
    )
    def begin(self, _: Any = None) -> None:
        """The release's word that ends the wait of a version that was put up ahead."""
        self._answers.begin = True

    @workflow.signal(
        name=SIGNAL_ORDER_END, description="Not for people: from the release, after a reset of it."
    )
    def order_end(self, order: EndOrder | None = None) -> None:
        """The order of a release that was reset, if it is this canary's."""
        if order is None or order.release != self._start.release:
            return
        if order.cause is None:
            self._decisions.ordered_final()
        else:
            self._decisions.ordered_back(fitted(order.cause, CAUSE_BYTES))

    @workflow.signal(name=SIGNAL_HOOK_ANSWER, description=_ANSWER)
    def hook_answer_signal(self, value: Any = None) -> None:
        """Take the answer of a hook that said `later`."""
        untaken = self._hear(value)
        if untaken is not None:
            workflow.logger.warning("an answer is of no use", extra={"why": untaken.text})

    @workflow.update(name=SIGNAL_HOOK_ANSWER, description=_ANSWER)
    async def hook_answer(self, value: Any = None) -> str:
        """Likewise; answers what happens."""
        untaken = self._hear(value)
        return untaken.text if untaken else "the hook has answered"

    @hook_answer.validator
    def _check_hook_answer(self, value: Any = None) -> None:
        late = LateAnswer.of(value)
        untaken = self._hooks.refuses(late) if late else _UNFIT
        if untaken is not None:
            raise ApplicationError(untaken.text, untaken, type=REFUSED)

    def _hear(self, value: Any) -> Untaken | None:
        late = LateAnswer.of(value)
        return self._hooks.heard(late) if late else _UNFIT

    @workflow.query(name=QUERY_STATUS, description="Where this canary is, and why. No input.")
    def status(self, _: Any = None) -> CanaryStatus:
        """Where this canary is."""
        report = {**dict(self._reporter.report()), "decisions": self._decisions.records}
        return CanaryStatus(
            **report,
            release=self._start.release,
            version=self._plan.version,
            route=self._traffic.route,
            alerts_seen=self._alerts.count,
            hooks=self._hooks.asked,
        )

    @workflow.query(
        name=QUERY_EXPOSED, description="Which weights the version had, and when. No input."
    )
    def exposed(self, _: Any = None) -> Exposed:
        """For whoever looks for a culprit."""
        return self._exposed()

    def _exposed(self) -> Exposed:
        traffic = self._traffic
        return Exposed(
            release=self._start.release,
            service=self._plan.service,
            version=self._plan.version,
            before=traffic.before,
            changes=traffic.exposure,
        )

    def _refusal(self, kind: CommandKind, _: Command) -> str | None:
        reporter = self._reporter
        where = describe.phase(reporter.phase, reporter.step, reporter.steps)
        return describe.canary_refusal(
            kind,
            reporter.phase,
            paused=self._decisions.now().pause is not None,
            ends_by=LETS_BY if self._answers.asks_alerts else reporter.ends_by,
            at=f"{self._plan.service} is {where}",
        )

    @property
    def goes_back(self) -> bool:
        """Whether there is a reason to go back; while holding, its release says when."""
        return self._decisions.now().cause is not None

    @property
    def goes_back_for_alert(self) -> bool:
        """Whether that reason is an alert."""
        cause = self._decisions.now().cause
        return cause is not None and cause.kind is CauseKind.ALERT

    def _obey(self, kind: CommandKind, command: Command) -> str:
        said = describe.command(kind, command)
        service = self._plan.service
        match kind:
            case CommandKind.PAUSE:
                self._decisions.pause(said)
                answer = f"{service} goes no further than {self._traffic.weight:g} %"
            case CommandKind.RESUME:
                self._decisions.pause(None)
                answer = f"{service} goes on"
            case CommandKind.APPROVE | CommandKind.SKIP if self._answers.asks_alerts:
                self._answers.let_by = True
                answer = f"{service} goes on, whatever fires"
            case CommandKind.APPROVE:
                self._answers.approved = True
                answer = f"the gate of {service} is open"
            case CommandKind.SKIP:
                self._answers.skip = True
                checks = self._reporter.phase is CanaryPhase.CHECKING
                answer = f"the {'hook' if checks else 'bake'} of {service} "
                answer += "is not waited for" if checks else "ends"
            case CommandKind.KEEP:
                self._decisions.keep(said)
                answer = f"{service} gets all requests on {self._plan.version}, and keeps it"
            case CommandKind.ROLLBACK:
                answer = f"{service} goes back, and the release with it"
        workflow.logger.info("command", extra={"command": kind, "by": command.by})
        if kind is CommandKind.ROLLBACK:
            self._in_trouble(self._cause(CauseKind.COMMAND, said, by=command.by), name=kind)
        else:
            self._note(Heard.COMMAND, _DID[kind], said, name=kind, by=command.by)
        if kind in {CommandKind.PAUSE, CommandKind.RESUME}:
            self._reporter.tell()
        return answer

    def _ignored(self, kind: CommandKind, command: Command, why: str) -> None:
        self._note(Heard.COMMAND, Did.RECORDED, why, name=kind, by=command.by)

    def _in_trouble(self, cause: Cause, **of: Any) -> None:
        if self._decisions.trouble(cause, **of) is Did.TOLD:
            self._reporter.tell()

    def _cause(self, kind: CauseKind, text: str, **more: Any) -> Cause:
        return Cause(kind=kind, service=self._plan.service, text=text, at=workflow.now(), **more)

    def _note(self, heard: Heard, did: Did, text: str, **more: Any) -> None:
        record = DecisionRecord(at=workflow.now(), heard=heard, did=did, text=text, **more)
        self._decisions.note(record)

    def _note_failure(self, text: str) -> None:
        self._reporter.note_failure(text)


def _of(alert: Alert) -> dict[str, Any]:
    """What a record says of an alert."""
    return {"name": alert.name, "identity": cut(alert.identity, NAME_MOST)}
