"""Put a version up before anything is moved; undone, its instances go after the route."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.base import format_duration
    from schemas.release import CanaryPhase
    from schemas.stages import DeployStage, first_share
    from workflows.calls import Call
    from workflows.instances import kept
    from workflows.outcomes import DONE, Done, Outcome, Stopped
    from workflows.stages.context import Context, StageKind


async def do(context: Context, _: DeployStage) -> Outcome:
    """Have the instances for the first weight ready; then, begun ahead, wait for the turn."""
    if (stopped := await _put_up(context)) is not None:
        return stopped
    answers = context.answers
    if context.start.ahead and not answers.begin:
        context.enter(CanaryPhase.PREPARED, "its turn")
        return await context.until(lambda: answers.begin) or DONE
    return DONE


async def _put_up(context: Context) -> Stopped | None:
    instances, traffic, plan = context.instances, context.traffic, context.start.plan
    if traffic.route is None and (stopped := await traffic.look(context.halt)):
        return stopped
    if not instances.ours or traffic.unchanged:
        return None
    if stopped := await _look_at_stable(context):
        return stopped
    weight = first_weight(context)
    count, within = instances.size(weight), instances.terms.progress_deadline
    text = (
        f"{count} of {count} instances of {plan.service} {plan.version} to be ready, "
        f"for at most {format_duration(within)}"
    )
    context.enter(CanaryPhase.DEPLOYING, text)
    if stopped := context.halt():
        return stopped
    context.decisions.touch()
    return await instances.put_up(weight, context.stop, context.reporter.pending())


async def _look_at_stable(context: Context) -> Stopped | None:
    instances, stable, version = context.instances, context.stable, context.traffic.stable
    stopped = await instances.look(version, context.stop)
    stopped = stopped or await stable.look(version, context.stop)
    # A run of this canary from before a reset may have left it small.
    within = instances.terms.progress_deadline
    return stopped or await stable.grow(within, stop=context.stop)


def first_weight(context: Context) -> float:
    """The first share of the requests that it is to get, percent; a ramp finds its own."""
    return 100.0 if context.traffic.route is None else first_share(context.start.plan.stages)


async def undo(context: Context) -> Done:
    """Take the instances away, or keep them for a look; whoever waits for traffic does not wait.

    A version that serves now is left: the router is asked right before. What can't be taken away
    soon is left to a workflow of its own, so that the next release need not wait.
    """
    instances, plan = context.instances, context.start.plan
    if not instances.ours or context.traffic.unchanged:
        return DONE
    await _grow_stable(context)
    keep = instances.terms.keep_failed
    why = f"release {context.start.release} went back{kept(keep)}"
    if keep:
        await instances.retire(plan.version, workflow.now() + keep, why)
        return DONE
    text = f"the instances of {plan.service} {plan.version} to end"
    context.enter(CanaryPhase.RETIRING, text)
    if (failed := await instances.take_down()) is not None:
        workflow.logger.warning("instances are still there", extra={"error": failed.cause.text})
        await instances.retire(plan.version, workflow.now(), f"{why}; {failed.cause.text}")
    return DONE


async def _grow_stable(context: Context) -> None:
    """What was not ready before the route went back is waited for now; nobody waits for this."""
    count, terms = context.stable.lacks, context.instances.terms
    if count:
        text = f"{count} instances of {context.traffic.stable} to be ready"
        context.enter(CanaryPhase.RETIRING, text)
        await context.stable.grow(terms.progress_deadline)


KIND: Final = StageKind(
    do=do,
    calls=frozenset(
        {Call.READ_ROUTE, Call.COUNT, Call.RECALL, Call.SCALE, Call.PUT_UP, Call.TAKE_DOWN}
    ),
    most_events=18,
    undo=undo,
)
