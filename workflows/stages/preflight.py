"""Read the route, and wait until no alert holds the version back, or a person lets it by."""

from __future__ import annotations

from typing import Any, Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.preflight import Firing, Preflight
    from schemas.release import CanaryPhase, Cause, CauseKind
    from schemas.stages import PreflightStage
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import DONE, Failed, Outcome, Stopped
    from workflows.stages.context import Context, StageKind

ENDS_BY: Final = (CommandKind.APPROVE, CommandKind.SKIP)


async def do(context: Context, _: PreflightStage) -> Outcome:
    """Look at the route, then at the alerts, and at the route again after a wait."""
    traffic = context.traffic
    if traffic.route is None and (stopped := await traffic.look(context.halt)):
        return stopped
    if context.start.plan.takes_back is not None:
        return _newer(context) or await traffic.take(context.halt) or DONE
    context.answers.asks_alerts = True
    stopped = await _until_quiet(context)
    context.answers.asks_alerts = False
    if stopped:
        return stopped
    waited = context.reporter.sequence > 0
    if waited and (stopped := await traffic.look(context.halt)):  # it may have been long
        return stopped
    return await traffic.take(context.halt) or DONE


def _newer(context: Context) -> Failed | None:
    """Why a revert moves nothing: another version than it takes back is stable by now.

    It asks for no alerts: what fires may be the very reason for it.
    """
    plan, stable = context.start.plan, context.traffic.stable
    if stable in {plan.takes_back, plan.version}:
        return None
    found = f"{stable} is stable by now" if stable else "it has no route"
    text = f"{plan.service} {plan.takes_back} is not taken back to {plan.version}: {found}"
    kind = CauseKind.SUPERSEDED
    return Failed(Cause(kind=kind, service=plan.service, text=text, at=workflow.now()))


async def _until_quiet(context: Context) -> Stopped | None:
    service = context.start.plan.service
    firing: Firing | None = None
    while firing is None or firing.count:
        context.decisions.asked()
        answer = await _ask(context, firing)
        if isinstance(answer, Stopped):
            return answer
        if answer is None:
            break
        firing = answer
        context.alerts.remember(firing.identities)
        if firing.count:
            text = f"alerts on {service} to end: {firing.sentence}"
            text += "; `skip` or `approve` goes on all the same"
            context.enter(CanaryPhase.PREFLIGHT, text, ends_by=ENDS_BY)
    return None


async def _ask(context: Context, known: Firing | None) -> Any:
    """The alerts that hold the service back, once they are others than `known`; None if let by."""
    plan, policy = context.start.plan, context.start.plan.alerts
    request = Preflight(
        service=plan.service,
        labels=plan.service_labels,
        version_labels=policy.version_labels,
        version=plan.version,
        stable=None if policy.stable_holds else context.traffic.stable,
        poll=context.start.tuning.preflight_poll,
        known=known,
    )
    summary = f"{plan.service}: does an alert fire?"
    return await context.call(
        Call.ASK_ALERTS, request, summary, unless=lambda: context.answers.let_by
    )


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.READ_ROUTE, Call.ASK_ALERTS, Call.APPLY_ROUTE}),
    most_events=16,
    ends_by=ENDS_BY,
)
