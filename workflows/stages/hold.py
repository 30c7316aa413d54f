"""Keep what was reached, and judge on, until the release says what becomes of it."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.decisions import Did
    from schemas.release import CanaryPhase
    from schemas.stages import HoldStage
    from workflows.calls import Call, not_yet
    from workflows.outcomes import DONE, Failed, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, _: HoldStage) -> Outcome:
    """Hold; only an order ends that, by something else that is to be done."""
    known = "; this version is stable already" if context.traffic.unchanged else ""
    context.enter(CanaryPhase.HOLDING, f"the rest of the release{known}")
    stopped = await context.watch(not_yet)
    if isinstance(stopped, Failed):
        # The release's to act on: dependents go back first, and nothing once it is finalized.
        if context.decisions.trouble(stopped.cause) is Did.TOLD:
            context.reporter.tell()
        stopped = await context.until(not_yet)
    return stopped or DONE


KIND: Final = StageKind(do=do, calls=frozenset({Call.JUDGE}), most_events=16)
