"""Have the version watched now that it is stable: nothing waits here, and no lock is kept."""

from __future__ import annotations

from typing import Final

from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from schemas.ids import SIGNAL_WATCH, WATCH_WORKFLOW, watch_workflow_id
    from schemas.stages import WatchStage
    from schemas.watching import WatchInput
    from workflows.cell import here
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, stage: WatchStage) -> Outcome:
    """Hand the version over to a watch; nothing where there is no version to go back to."""
    start, traffic = context.start, context.traffic
    plan, before, now = start.plan, traffic.before, workflow.now()
    if before is None or before == plan.version:
        return DONE
    order = WatchInput(
        release=start.release,
        environment=start.environment,
        plan=plan,
        before=before,
        began_at=traffic.began_at or now,
        stable_at=now,
        until=now + max(stage.lasts, stage.alerts),
        limits_until=now + stage.lasts,
    )
    workflow_id, told = watch_workflow_id(plan.service, here()), False
    while not told:
        try:
            await workflow.start_child_workflow(
                WATCH_WORKFLOW,
                order,
                id=workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"{plan.service} {plan.version}: watched by {start.release}",
            )
            told = True
        except WorkflowAlreadyStartedError:
            told = await _signal(workflow_id, order)
    context.reporter.watched_until = order.until
    return DONE


async def _signal(workflow_id: str, order: WatchInput) -> bool:
    """Whether the watch of a version before hears it; else it has ended meanwhile."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(SIGNAL_WATCH, order)
    except FailureError:
        return False
    return True


KIND: Final = StageKind(do=do, calls=frozenset(), most_events=9)
