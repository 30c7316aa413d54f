"""Give the version a share of the requests; undone, stable has everything again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.observe import SeeBack
    from activities.standing import Stand, Standing
    from schemas.base import format_duration
    from schemas.release import CanaryPhase
    from schemas.stages import ShiftStage
    from schemas.verdict import SampleRatio
    from workflows.calls import Call, never
    from workflows.commands import CommandKind
    from workflows.outcomes import AGAIN, DONE, Done, Failed, Outcome, Stopped
    from workflows.portion import Portion
    from workflows.stages import between
    from workflows.stages.context import Context, StageKind
    from workflows.traffic import is_foreign, is_half_written

ENDS_BY: Final = (CommandKind.KEEP,)
UNDO_CALLS: Final = frozenset(
    {
        Call.READ_ROUTE,
        Call.APPLY_ROUTE,
        Call.LOOK_AT_INSTANCES,
        Call.AWAIT_INSTANCES,
        Call.SEE_BACK,
        Call.RECALL,
        Call.SCALE,
    }
)


async def do(context: Context, stage: ShiftStage) -> Outcome:
    """Write the weight; the router confirms it."""
    context.reporter.step = stage.step
    return await shift_to(context, _portion(stage)) or DONE


def _portion(stage: ShiftStage) -> Portion:
    return Portion(
        stage.weight,
        whom=stage.whom,
        audience=stage.audience,
        kept=stage.kept,
        unlike=stage.unlike,
    )


async def shift_to(context: Context, portion: Portion) -> Outcome | None:
    """Write what the version gets, unless something else is to be done by now.

    Where somebody else has changed the route a person is asked, and it is tried again.
    """
    if stopped := context.halt():
        return stopped
    if (refused := await _fit(context, portion)) is not None:
        return refused
    answers, decisions, apart = context.answers, context.decisions, context.traffic.apart
    context.reporter.pass_through(CanaryPhase.SHIFTING, f"the router to confirm {portion.text}")
    first = decisions.touch()
    refused = await context.traffic.shift(portion, context.halt, overrule=answers.overrule)
    if isinstance(refused, Failed) and is_foreign(refused):
        if first and not is_half_written(refused):
            decisions.untouch()
        answers.overrule = True
        decisions.foreign_change(refused.cause.text)
        return AGAIN
    if refused is None:
        answers.overrule = False
        context.reporter.waits_for = ""
        if apart and not portion.apart:
            context.judging.evidence = None  # of what no user saw
        return await context.stable.shrink(portion.of_all, context.stop)
    return refused


async def _fit(context: Context, portion: Portion) -> Outcome | None:
    """Have as many instances ready as the share needs, before it moves; never fewer."""
    weight = portion.taken
    count = context.instances.lacks(weight)
    if not count:
        return None
    plan = context.start.plan
    text = f"{count} instances of {plan.service} {plan.version} to be ready, for {portion.text}"
    context.reporter.pass_through(CanaryPhase.SHIFTING, text)
    return await context.instances.grow(weight, context.stop, context.reporter.pending())


async def write_again(context: Context) -> Outcome | None:
    """Where somebody else has changed the weight that is judged: once a person says so, again."""
    if not context.answers.overrule:
        return None
    if context.decisions.now().pause is not None:
        stopped = await between.pause(context)
        if isinstance(stopped, Stopped):
            return stopped
    return await shift_to(context, context.traffic.portion) or AGAIN


async def undo(context: Context) -> Done:
    """Give stable everything again: never given up, however long it takes.

    What the service depends on waits for the router's word, and for nothing else here.
    """
    await _regrow(context)
    text = "the router to confirm that stable has all"
    context.enter(CanaryPhase.ROLLING_BACK, text, show_later=True)
    back = asyncio.create_task(context.traffic.give_back())
    before = asyncio.create_task(_look(context, timedelta(0)))  # nothing waits for this
    tuning = context.start.tuning
    try:
        await workflow.wait_condition(
            back.done,
            timeout=tuning.stuck_after.total_seconds(),
            timeout_summary=f"stuck, when {context.start.plan.service} is not back by then",
        )
    except TimeoutError:
        context.enter(CanaryPhase.STUCK, "the router, still tried")
    await back
    _verify(context)
    await _until_healthy(context, await before)
    if context.decisions.now().keep is None:
        await _see_back(context)
        await _until_healthy(context, await _look(context, tuning.stands_within))
    return DONE


async def _regrow(context: Context) -> None:
    """Have stable ready for all requests before it gets them, or as much of it as is in time.

    Where it has kept its size, nothing is waited for.
    """
    stable, traffic, within = context.stable, context.traffic, context.stable.within
    if within is None:
        return
    until = workflow.now() + within
    if traffic.route is None:  # another run of this canary wrote it
        await traffic.look(never)
    await stable.look_again(traffic.stable)
    count, left = stable.lacks, until - workflow.now()
    if not count or left <= timedelta(0):
        return
    text = (
        f"{count} instances of {traffic.stable} to be ready, for at most {format_duration(left)}; "
        "then stable gets all requests"
    )
    context.enter(CanaryPhase.ROLLING_BACK, text, show_later=True)
    await stable.grow(left, unless=lambda: context.decisions.now().keep is not None)


def _verify(context: Context) -> None:
    """The router has confirmed: no traffic by its word."""
    if context.reporter.phase is not CanaryPhase.VERIFYING:
        text = f"requests to stop starting on {context.start.plan.version}"
        context.enter(CanaryPhase.VERIFYING, text)


async def _look(context: Context, within: timedelta) -> Standing | None:
    """What stands behind stable, which may take `within` to have a healthy instance.

    Nothing waits long for this: where it can't be told soon, nothing is known.
    """
    stable = context.traffic.stable
    if stable is None:
        return None
    summary = f"{context.start.plan.service}: has {stable} a healthy instance?"
    request = _stand(context, stable, within)
    found = await context.calls.make(Call.LOOK_AT_INSTANCES, request, summary)
    if isinstance(found, Failed):
        workflow.logger.warning("instances can't be seen", extra={"error": found.cause.text})
        return None
    standing: Standing = found
    return standing


def _stand(context: Context, stable: str, within: timedelta | None) -> Stand:
    plan = context.start.plan
    return Stand(
        router=plan.router,
        service=plan.service,
        target=stable,
        others=(plan.version,),
        within=within,
    )


async def _until_healthy(context: Context, standing: Standing | None) -> None:
    """Where stable has no healthy instance: say so, until it has, or a person decides."""
    plan, decisions = context.start.plan, context.decisions
    while standing is not None and standing.down and decisions.now().keep is None:
        stable = standing.target
        text = (
            f"{stable} to have a healthy instance, for users get errors "
            f"({standing.sentence}); `keep` gives {plan.version} all requests instead"
        )
        context.enter(CanaryPhase.STUCK, text, ends_by=(CommandKind.KEEP,))
        standing = await context.calls.make(
            Call.AWAIT_INSTANCES,
            _stand(context, stable, None),
            f"{plan.service}: wait for a healthy instance of {stable}",
            unless=lambda: decisions.now().keep is not None,
        )
    context.reporter.ends_by = ()


async def _see_back(context: Context) -> None:
    """Believe the router only once no request starts on the canary any more."""
    plan, tuning = context.start.plan, context.start.tuning
    _verify(context)
    while True:
        request = SeeBack(
            router=plan.router,
            service=plan.service,
            version=plan.version,
            quiet=tuning.see_quiet,
            within=tuning.see_within,
        )
        summary = f"{plan.service}: does a request still start on {plan.version}?"
        seen = await context.calls.make(Call.SEE_BACK, request, summary)
        if isinstance(seen, Failed):
            workflow.logger.error("traffic can't be seen", extra={"error": seen.cause.text})
            return
        if seen.sample_ratio is not SampleRatio.MISMATCH:
            return
        text = (
            f"the router: it confirmed stable, but {seen.strays} requests started on {plan.version}"
        )
        context.enter(CanaryPhase.STUCK, text)
        await context.traffic.write_again()


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.SCALE, Call.APPLY_ROUTE}) | UNDO_CALLS,
    most_events=6,
    undo=undo,
    ends_by=ENDS_BY,
)
