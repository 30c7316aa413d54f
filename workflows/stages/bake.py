"""Hold a weight, and judge the version against stable."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.hooks import HookMoment
    from schemas.release import CanaryPhase
    from schemas.stages import BakeStage
    from schemas.verdict import Verdict, VerdictKind
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.hooks import Beside
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
    doubts: list[str] = []
    beside = context.beside(stage.hooks, (HookMoment.DURING_BAKE, stage.step), doubts.append)
    context.judging.made_by = tuple(one.name for one in stage.hooks if one.makes_traffic)
    verdict = await context.judge(
        stage.bake,
        lambda: context.answers.skip or beside.failed is not None,
        exposure=stage.next_weight / 100,
        compare=stage.compare,
    )
    context.judging.made_by = ()
    if isinstance(verdict, Stopped):
        return verdict
    if verdict is None and not context.answers.skip and beside.failed is None:
        beside.end()
        return AGAIN  # the judge ended without a word, or somebody else has changed the route
    if stopped := await _all_answered(context, beside):
        return stopped
    context.answers.skip = False
    context.answers.doubt = None
    for doubt in doubts:
        context.answers.add_doubt(doubt)
    return DONE if verdict is None else _judged(context, stage, verdict)


def _judged(context: Context, stage: BakeStage, verdict: Verdict) -> Outcome:
    """What follows from a verdict that is no FAIL; whoever picks a winner is told of any."""
    if stage.compare:
        context.answers.add_doubt(verdict.sentence)
    elif verdict.kind is VerdictKind.INCONCLUSIVE:
        return context.undecided(verdict, stage.on_inconclusive)
    return DONE


async def _all_answered(context: Context, beside: Beside) -> Stopped | None:
    """Wait for the hooks that have not answered yet, and judge on; a person may skip that."""

    def over() -> bool:
        return beside.done or beside.failed is not None or context.answers.skip

    if not over():
        text = f"the hooks of the bake of step {context.reporter.place} to answer"
        context.enter(CanaryPhase.BAKING, text, by_judge=True)
        if stopped := await context.watch(over):
            return stopped
    beside.end()
    return beside.failed


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.JUDGE, Call.APPLY_ROUTE, Call.CALL_HOOK}),
    most_events=6,
    ends_by=ENDS_BY,
)
