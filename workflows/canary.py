"""The canary of one service: shift, bake, gate, hold; back to stable when anything is wrong.

The workflow id `canary/<service>` is the lock of the service, and the address of alerts about it.
Handlers only record; `run` acts.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.preflight import Firing
    from activities.ramp import RampState
    from schemas.base import format_duration
    from schemas.catalog import Bake, FullStep, OnInconclusive
    from schemas.ids import (
        CANARY_WORKFLOW,
    )
    from schemas.judging import RampSpec
    from schemas.release import (
        CanaryInput,
        CanaryOutcome,
        CanaryPhase,
        Cause,
        CauseKind,
    )
    from schemas.verdict import Reason, Verdict, VerdictKind
    from workflows import describe
    from workflows.calls import ask_preflight, begin_ramp, decided
    from workflows.commands import CommandKind
    from workflows.going_back import GoingBack
    from workflows.judging import BakeFailed, TooLong
    from workflows.reset import resets
    from workflows.standing import find_first
    from workflows.traffic import run_to_end

_BEFORE_HOLD = {
    CanaryPhase.PREFLIGHT,
    CanaryPhase.SHIFTING,
    CanaryPhase.BAKING,
    CanaryPhase.GATED,
    CanaryPhase.PAUSED,
}


@workflow.defn(name=CANARY_WORKFLOW)
class CanaryWorkflow(GoingBack):
    """One canary, from before its first request until it is finalized or rolled back."""

    @workflow.init
    def __init__(self, start: CanaryInput) -> None:
        super().__init__(start)
        self._too_long = False

    # --- what it tells ---

    @workflow.run
    async def run(self, _: CanaryInput) -> CanaryOutcome:
        """Release one version of one service.

        Returns:
            How it ended. Trouble never raises: a canary that goes back is an outcome.
        """
        self._reports.start()
        if self._abort is None:
            await self._go_forward()
        if self._too_long:
            await self._go_on_in_another_run()
        if self._abort is not None:
            await run_to_end(asyncio.create_task(self._go_back(self._abort)))
        await run_to_end(asyncio.create_task(self._reports.delivered()))
        await workflow.wait_condition(workflow.all_handlers_finished)
        return CanaryOutcome(
            summary=describe.canary_summary(self._plan, self._phase, self._abort),
            service=self._plan.service,
            phase=self._phase,
            cause=self._abort,
            version=self._traffic.stable,
        )

    async def _go_forward(self) -> None:
        """Release until finalized, or until there is a cause to go back."""
        self._forward = forward = asyncio.create_task(self._release())
        while not forward.done() and self._abort is None:
            try:
                await workflow.wait_condition(partial(self._stirs, forward))
                if self._hurried:
                    forward = self._hurry(forward)
                elif self._left_alone:
                    await self._decide_alone()
            except asyncio.CancelledError:
                self._in_trouble(self._cause(CauseKind.CANCELLED, "the canary was cancelled"))
        if self._phase in {CanaryPhase.FINALIZING, CanaryPhase.FINALIZED}:
            self._abort = None
            await run_to_end(forward)
        elif forward.done():
            error = forward.exception()
            self._too_long = isinstance(error, TooLong) and self._abort is None
            if not self._too_long:
                self._abort = self._abort or self._cause_of(error)
        else:
            forward.cancel()

    async def _go_on_in_another_run(self) -> None:
        """Hand over to a run with an empty history; returns only when there is a cause to go back.

        No message is lost: one that comes too late for this run makes the server refuse its end.
        """
        try:
            await self._reports.delivered()
            await workflow.wait_condition(workflow.all_handlers_finished)
        except asyncio.CancelledError:
            self._in_trouble(self._cause(CauseKind.CANCELLED, "the canary was cancelled"))
        if self._abort is None:
            state = self._hand_over()
            workflow.continue_as_new(self._start.model_copy(update={"resume": state}))

    def _stirs(self, forward: asyncio.Task[None]) -> bool:
        """Whether there is something to decide on the way forward."""
        return forward.done() or self._abort is not None or self._left_alone or self._hurried

    def _hurry(self, forward: asyncio.Task[None]) -> asyncio.Task[None]:
        """Finalize from wherever it is."""
        forward.cancel()
        self._left = forward
        self._forward = asyncio.create_task(self._become_stable())
        return self._forward

    async def _decide_alone(self) -> None:
        """In trouble, and the release is gone: back, unless it had begun to finalize."""
        parent = workflow.info().parent
        if parent is not None:
            asking = asyncio.create_task(decided(parent.workflow_id))
            await run_to_end(asking)
            self._finalize = self._abort is None and asking.result()
        if not self._finalize:
            self._abort = self._abort or self._trouble

    @property
    def _hurried(self) -> bool:
        """Told to finalize on the way to holding: it has held before, and then was reset."""
        return self._finalize and resets() > 0 and self._phase in _BEFORE_HOLD

    @property
    def _left_alone(self) -> bool:
        """In trouble while holding, with no release left that could order the rollback."""
        return self._trouble is not None and self._reports.orphaned and not self._finalize

    def _cause_of(self, error: BaseException | None) -> Cause:
        if isinstance(error, BakeFailed):
            return self._judged(error.verdict)
        if isinstance(error, FailureError):
            return self._cause(CauseKind.ERROR, describe.failure(error))
        if error is None:
            raise RuntimeError("a canary ended without being finalized")
        raise error  # a bug: fail the workflow task, which is retried until it is mended

    async def _release(self) -> None:
        if not self._start.promote:
            await self._bring_to_hold()
        await self._become_stable()

    async def _become_stable(self) -> None:
        self._enter(CanaryPhase.FINALIZING)
        await self._traffic.make_stable()
        self._enter(CanaryPhase.FINALIZED)

    async def _bring_to_hold(self) -> None:
        if self._start.resume is None:
            await self._traffic.look()
            if await self._preflight():
                await self._traffic.look()  # a wait may have been long
            while self._traffic.route is None:
                await (self._await_route() if self._start.routed else self._deploy_first())
            await self._traffic.take()
        if not self._traffic.unchanged:
            if self._plan.strategy.ramp is not None and self._progress < (0, 0):
                await self._ramp(self._plan.strategy.ramp)
            for index, step in enumerate(self._steps):
                for part, do in enumerate((self._shift, self._bake, self._gate)):
                    if (index, part) >= self._progress:
                        self._progress = (index, part)
                        await do(index, step)
        await self._hold()

    # --- its parts ---

    async def _preflight(self) -> bool:
        """Wait until no alert holds the version back, or a person lets it go on all the same.

        Returns:
            Whether it waited: the route may have changed meanwhile.
        """
        firing: Firing | None = None
        self._asks_alerts = True
        while firing is None or firing.count:
            self._asks_again = False
            asked = asyncio.create_task(self._ask_preflight(firing))
            try:
                await workflow.wait_condition(lambda: asked.done() or self._let_by)  # noqa: B023
            finally:
                asked.cancel()
            if self._let_by:
                break
            firing = await asked
            self._alerts.remember(firing.identities)
            if firing.count:
                text = f"alerts on {self._plan.service} to end: {firing.sentence}"
                text += "; `skip` or `approve` goes on all the same"
                self._enter(
                    CanaryPhase.PREFLIGHT, text, ends_by=(CommandKind.APPROVE, CommandKind.SKIP)
                )
        self._asks_alerts = False
        return self._sequence > 0

    async def _ask_preflight(self, known: Firing | None) -> Firing:
        stable, told = self._traffic.stable, self._note_failure
        return await ask_preflight(self._plan, self._start.tuning, stable, known, told)

    async def _await_route(self) -> None:
        """It was there when the release began: that it is missing makes no first deployment."""
        text = f"its route, which {self._plan.service} had when the release began, to be there"
        self._enter(CanaryPhase.PREFLIGHT, text)
        await find_first(self._plan, None, self._note_failure)
        await self._traffic.look()

    async def _deploy_first(self) -> None:
        """A service without a route: no canary is possible, and all goes to the new version."""
        plan, tuning = self._plan, self._start.tuning
        text = (
            f"{plan.version} to have a healthy instance: {plan.service} has no route yet, so this "
            f"is its first deployment, if none comes within {format_duration(tuning.absent_for)}"
        )
        self._enter(CanaryPhase.PREFLIGHT, text)
        found = await find_first(plan, tuning.absent_for, self._note_failure)
        self._stop_if_going_back()
        if self._pause_text is not None:  # looked at anew when it goes on: pauses may be long
            self._enter(CanaryPhase.PAUSED, f"resume: {self._pause_text}")
            await workflow.wait_condition(lambda: self._pause_text is None)
        elif self._asks_again:
            await self._preflight()
        elif found.route is None:
            await self._traffic.begin_first()
        else:
            await self._traffic.look()

    async def _shift(self, index: int, step: FullStep) -> None:
        await self._pause_if_told()
        self._step = index
        await self._shift_to(step.weight)

    async def _shift_to(self, weight: float, *, overrule: bool = False) -> None:
        self._stop_if_going_back()
        if self._asks_again and self._traffic.began_at is None:
            await self._preflight()
            self._stop_if_going_back()
        self._phase = CanaryPhase.SHIFTING
        self._waits_for = f"the router to confirm {weight:g} %"
        change = await self._traffic.shift(weight, overrule=overrule)
        self._waits_for = ""
        if change is not None:  # a person decides whether it is written over
            self._pause_text = self._pause_text or f"{change}; going on writes over that"
            await self._pause_if_told()
            await self._shift_to(weight, overrule=True)

    async def _ramp(self, spec: RampSpec) -> None:
        """Grow the weight as far as the budget of extra failures allows, until it is accepted."""
        state = await self._begin_ramp(spec)
        began = self._judging.ramp_began = self._judging.ramp_began or workflow.now()
        ends = began + spec.hold_after
        while not state.full:
            await self._pause_if_told()
            if state.weight <= 0 or workflow.now() >= ends:
                await self._shift_to(0)  # waiting must cost nothing of the budget
                await self._undecided(describe.undecided(state.sentence, workflow.now()))
                return
            if state.weight != self._traffic.weight:
                await self._shift_to(state.weight)
            text = f"the next decision of the ramp: {state.sentence}"
            self._enter(CanaryPhase.BAKING, text, by_judge=True)
            bake = Bake(min=spec.interval, max=spec.interval)
            verdict = await self._judging.judge(bake, self._is_skipped)
            self._skip = False
            if verdict is not None and verdict.reason is Reason.NOT_JUDGED:
                await self._shift_to(0)  # unseen, it may cost more than the budget
                await self._undecided(verdict)
                return
            state = self._judging.ramp or state

    async def _begin_ramp(self, spec: RampSpec) -> RampState:
        """Where the ramp is: at its beginning, or where an earlier run of the canary was."""
        if self._judging.ramp is None:
            self._enter(CanaryPhase.PREFLIGHT, "an interval of stable's traffic to be measured")
            self._judging.ramp = await begin_ramp(
                self._plan, self._traffic, spec, self._note_failure
            )
        return self._judging.ramp

    def _is_skipped(self) -> bool:
        return self._skip

    async def _bake(self, _: int, step: FullStep) -> None:
        if step.bake.max == timedelta(0):
            return
        ends = (self._traffic.confirmed_at or workflow.now()) + step.bake.max
        text = f"the bake of step {self._place}, until {ends:%H:%M:%S} UTC at the latest"
        self._enter(CanaryPhase.BAKING, text, by_judge=True)
        after = self._steps[min((self._step or 0) + 1, len(self._steps) - 1)]
        verdict = await self._judging.judge(
            step.bake, self._is_skipped, exposure=after.weight / 100
        )
        self._skip = False
        self._doubt = None
        if verdict is not None and verdict.kind is VerdictKind.INCONCLUSIVE:
            if step.gate is not None and not self._falls_back:
                self._doubt = verdict.sentence  # the gate that comes next asks, once for both
            else:
                await self._undecided(verdict)

    async def _undecided(self, verdict: Verdict) -> None:
        """Never on by silence: back, or a person's yes."""
        if self._falls_back:
            raise BakeFailed(verdict)
        await self._wait_for_approval(verdict.sentence)

    @property
    def _falls_back(self) -> bool:
        return self._plan.strategy.on_inconclusive is OnInconclusive.ROLL_BACK

    async def _gate(self, _: int, step: FullStep) -> None:
        if step.gate is None:
            return
        text = step.gate.text or f"the gate of step {self._place}"
        if self._doubt is not None:
            text += f"; and to go on although the bake was inconclusive: {self._doubt}"
        await self._wait_for_approval(text)
        self._doubt = None

    async def _wait_for_approval(self, text: str) -> None:
        self._enter(CanaryPhase.GATED, f"approval: {text}")
        await self._judging.judge(None, lambda: self._approved)
        self._approved = False  # not before: a run that goes on may have heard it at its start

    async def _pause_if_told(self) -> None:
        if self._pause_text is not None:
            self._enter(CanaryPhase.PAUSED, f"resume: {self._pause_text}")
            await self._judging.judge(None, lambda: self._pause_text is None)

    async def _hold(self) -> None:
        known = "; this version is stable already" if self._traffic.unchanged else ""
        self._enter(CanaryPhase.HOLDING, f"the rest of the release{known}")
        try:
            await self._judging.judge(None, lambda: self._finalize)
        except (BakeFailed, ActivityError) as error:
            # The release's to act on: dependents go back first, and nothing once it is finalized.
            self._in_trouble(self._cause_of(error))
        await workflow.wait_condition(lambda: self._finalize)

    def _judged(self, verdict: Verdict) -> Cause:
        return self._cause(CauseKind.VERDICT, verdict.sentence, verdict=verdict)
