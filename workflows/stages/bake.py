"""Hold a weight, and judge the version against stable."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.release import CanaryPhase
    from schemas.stages import BakeStage
    from schemas.verdict import VerdictKind
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import AGAIN, DONE, Outcome, Stopped
    from workflows.stages.context import Context, StageKind
    from workflows.stages.shift import write_again

ENDS_BY: Final = (CommandKind.SKIP,)


async def do(context: Context, stage: BakeStage) -> Outcome:
    """Judge until there is a verdict, or a person skips the rest of the bake."""
    if again := await write_again(context):
        return again
    began = context.traffic.confirmed_at or workflow.now()
    ends = began + stage.bake.max
    text = f"the bake of step {context.reporter.place}, until {ends:%H:%M:%S} UTC at the latest"
    context.enter(CanaryPhase.BAKING, text, by_judge=True)
    verdict = await context.judge(
        stage.bake, lambda: context.answers.skip, exposure=stage.next_weight / 100
    )
    if isinstance(verdict, Stopped):
        return verdict
    if verdict is None and not context.answers.skip:
        return AGAIN  # the judge ended without a word, or somebody else has changed the route
    context.answers.skip = False
    context.answers.doubt = None
    if verdict is not None and verdict.kind is VerdictKind.INCONCLUSIVE:
        return context.undecided(verdict, stage.on_inconclusive)
    return DONE


KIND: Final = StageKind(
    do=do, calls=frozenset({Call.JUDGE, Call.APPLY_ROUTE}), most_events=6, ends_by=ENDS_BY
)
