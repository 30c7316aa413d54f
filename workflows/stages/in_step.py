"""Keep a weight until all services of the group have ended the step: they need each other."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.catalog_check import listed
    from schemas.release import CanaryPhase
    from schemas.stages import InStepStage
    from workflows.calls import Call
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, stage: InStepStage) -> Outcome:
    """Wait for the release's word that all have come here, and judge on meanwhile."""
    decisions = context.decisions
    decisions.waits_anew()
    if decisions.now().go_on >= stage.point:
        return DONE
    plan = context.start.plan
    others = listed(one for one in plan.group if one != plan.service)
    text = f"its group ({others}) to have ended step {context.reporter.place}"
    context.enter(CanaryPhase.IN_STEP, text)
    return await context.watch(lambda: decisions.now().go_on >= stage.point) or DONE


KIND: Final = StageKind(do=do, calls=frozenset({Call.JUDGE}), most_events=16)
