"""Make the version the stable one: from here on there is no way back, and this has no undo."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.release import CanaryPhase
    from schemas.stages import PromoteStage
    from workflows.calls import Call
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, _: PromoteStage) -> Outcome:
    """Write the route until the version is stable, however long it takes.

    What somebody else has changed is written over, and recorded.
    """
    context.enter(CanaryPhase.FINALIZING)
    await context.traffic.make_stable(context.decisions.overruled)
    return DONE


KIND: Final = StageKind(do=do, calls=frozenset({Call.READ_ROUTE, Call.APPLY_ROUTE}), most_events=16)
