"""Grow the weight as far as a budget of extra failures allows; undone as a weight is."""

from __future__ import annotations

from typing import Any, Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.ramp import BeginRamp, RampState
    from schemas.release import CanaryPhase
    from schemas.stages import RampStage
    from schemas.strategy import Bake
    from schemas.verdict import Reason, Verdict
    from workflows import describe
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import AGAIN, DONE, Outcome, Stopped
    from workflows.portion import Portion
    from workflows.stages.context import Context, StageKind
    from workflows.stages.shift import UNDO_CALLS, shift_to, undo, write_again

ENDS_BY: Final = (CommandKind.SKIP,)


async def do(context: Context, stage: RampStage) -> Outcome:
    """One interval: the weight of the last decision, judged until the next one."""
    if again := await write_again(context):
        return again
    judging = context.judging
    state = judging.ramp or await _begin(context, stage)
    if isinstance(state, Stopped):
        return state
    judging.ramp = state
    if state.full:
        return DONE
    began = judging.ramp_began = judging.ramp_began or workflow.now()
    if state.weight <= 0 or workflow.now() >= began + stage.spec.hold_after:
        return await _give_up(context, stage, describe.undecided(state.sentence, workflow.now()))
    return await _shift(context, state.weight) or await _judge(context, stage, state)


async def _shift(context: Context, weight: float) -> Outcome | None:
    traffic = context.traffic
    if weight == traffic.weight:
        return None
    if context.decisions.now().alerted and traffic.began_at is None:
        return AGAIN  # an alert came while stable was measured
    return await shift_to(context, Portion(weight))


async def _judge(context: Context, stage: RampStage, state: RampState) -> Outcome:
    text = f"the next decision of the ramp: {state.sentence}"
    context.enter(CanaryPhase.BAKING, text, by_judge=True)
    bake = Bake(min=stage.spec.interval, max=stage.spec.interval)
    verdict = await context.judge(bake, lambda: context.answers.skip)
    if isinstance(verdict, Stopped):
        return verdict
    context.answers.skip = False
    if verdict is not None and verdict.reason is Reason.NOT_JUDGED:
        return await _give_up(context, stage, verdict)  # unseen, it may cost more than the budget
    return AGAIN


async def _give_up(context: Context, stage: RampStage, verdict: Verdict) -> Outcome:
    """Waiting must cost nothing of the budget."""
    return await shift_to(context, Portion()) or context.undecided(verdict, stage.on_inconclusive)


async def _begin(context: Context, stage: RampStage) -> Any:
    """The first weight; a failure where the ramp can't end within its budget."""
    plan, stable = context.start.plan, context.traffic.stable
    if stable is None:
        raise RuntimeError("the route must be read before a ramp begins")
    context.enter(CanaryPhase.PREFLIGHT, "an interval of stable's traffic to be measured")
    request = BeginRamp(
        router=plan.router,
        service=plan.service,
        stable=stable,
        spec=plan.judge,
        metrics=plan.metrics,
        ramp=stage.spec,
    )
    summary = f"{plan.service}: measure stable, find the first weight"
    state: RampState | Stopped = await context.call(Call.BEGIN_RAMP, request, summary)
    return state


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.BEGIN_RAMP, Call.SCALE, Call.APPLY_ROUTE, Call.JUDGE}) | UNDO_CALLS,
    most_events=30,
    undo=undo,
    ends_by=ENDS_BY,
)
