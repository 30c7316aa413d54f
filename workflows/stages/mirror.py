"""Send the version copies of requests; undone, stable has everything, and nothing is copied."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.stages import MirrorStage
    from workflows.calls import Call
    from workflows.outcomes import DONE, Outcome
    from workflows.portion import Portion
    from workflows.stages.context import Context, StageKind
    from workflows.stages.shift import ENDS_BY, UNDO_CALLS, shift_to, undo


async def do(context: Context, stage: MirrorStage) -> Outcome:
    """Write the share that is copied; the router confirms it."""
    context.reporter.step = stage.step
    return (
        await shift_to(context, Portion(apart=True, copied=stage.share, terms=stage.terms)) or DONE
    )


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.SCALE, Call.APPLY_ROUTE}) | UNDO_CALLS,
    most_events=6,
    undo=undo,
    ends_by=ENDS_BY,
)
