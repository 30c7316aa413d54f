"""Have somebody told once the flag has been fully on for too long: nothing waits here."""

from __future__ import annotations

from typing import Final

from temporalio import workflow
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from schemas.ids import SIGNAL_STALE, STALE_WORKFLOW, stale_workflow_id
    from schemas.stages import StaleStage
    from schemas.stale_flag import StaleInput
    from schemas.step_flags import WantedFlag
    from workflows.cell import here
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, stage: StaleStage) -> Outcome:
    """Hand the flag over to its wait; nothing where everybody had the variant before."""
    start, now = context.start, workflow.now()
    plan = start.plan
    if context.traffic.before == plan.version:
        return DONE
    order = StaleInput(
        release=start.release,
        environment=start.environment,
        flag=WantedFlag(flag=plan.service, variant=plan.version, router=plan.router),
        after=stage.after,
        since=now,
        look_at=now + stage.after,
    )
    workflow_id, told = stale_workflow_id(plan.service, here()), False
    while not told:
        try:
            await workflow.start_child_workflow(
                STALE_WORKFLOW,
                order,
                id=workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"{plan.service} {plan.version}: until it is stale",
            )
            told = True
        except WorkflowAlreadyStartedError:
            told = await _signal(workflow_id, order)
    return DONE


async def _signal(workflow_id: str, order: StaleInput) -> bool:
    """Whether the wait of a release before hears it; else it has ended meanwhile."""
    try:
        await workflow.get_external_workflow_handle(workflow_id).signal(SIGNAL_STALE, order)
    except FailureError:
        return False
    return True


KIND: Final = StageKind(do=do, calls=frozenset(), most_events=9)
