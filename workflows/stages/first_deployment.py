"""A service without a route: wait for the one that it had, or give it its first."""

from __future__ import annotations

from typing import Any, Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.standing import First
    from schemas.base import format_duration
    from schemas.release import CanaryPhase
    from schemas.stages import FirstDeploymentStage
    from workflows.calls import Call
    from workflows.outcomes import AGAIN, DONE, Done, Outcome, Stopped
    from workflows.stages.context import Context, StageKind


async def do(context: Context, _: FirstDeploymentStage) -> Outcome:
    """Wait until there is a route, or none for long and a healthy instance: then all goes there."""
    traffic = context.traffic
    found = await (_await_route(context) if context.start.routed else _await_instance(context))
    if isinstance(found, Stopped):
        return found
    if found.route is not None:
        if stopped := await traffic.look(context.halt):
            return stopped
        return await traffic.take(context.halt) or DONE
    state = context.decisions.now()
    if state.pause is not None or state.alerted:
        return AGAIN  # looked at anew when it goes on: that may take long
    if stopped := context.halt():
        return stopped
    context.decisions.touch()
    return await traffic.begin_first(context.halt) or DONE


async def undo(context: Context) -> Done:
    """There is nothing to go back to: what was given stays, and is told as that.

    Where the router's answer was lost, it is looked whether it was.
    """
    if context.traffic.route is None:
        await context.traffic.find_first()
    return DONE


async def _await_route(context: Context) -> Any:
    """It was there when the release began: that it is missing makes no first deployment."""
    service = context.start.plan.service
    text = f"its route, which {service} had when the release began, to be there"
    context.enter(CanaryPhase.PREFLIGHT, text)
    return await _find(context, None, "is its route back?")


async def _await_instance(context: Context) -> Any:
    plan, absent_for = context.start.plan, context.start.tuning.absent_for
    text = (
        f"{plan.version} to have a healthy instance: {plan.service} has no route yet, so this "
        f"is its first deployment, if none comes within {format_duration(absent_for)}"
    )
    context.enter(CanaryPhase.PREFLIGHT, text)
    return await _find(context, absent_for, f"no route; is {plan.version} healthy?")


async def _find(context: Context, absent_for: Any, why: str) -> Any:
    """Wait until the route is there, or is believed to be none and the version is healthy."""
    plan = context.start.plan
    request = First(
        router=plan.router, service=plan.service, version=plan.version, absent_for=absent_for
    )
    return await context.call(Call.FIND_FIRST, request, f"{plan.service}: {why}")


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.FIND_FIRST, Call.READ_ROUTE, Call.REGISTER_ROUTE, Call.APPLY_ROUTE}),
    most_events=18,
    undo=undo,
)
