"""Call a hook, and wait for its answer; what has traffic is judged meanwhile."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.hooks import HookMoment
    from schemas.release import CanaryPhase
    from schemas.stages import HookStage
    from workflows.asking import Answered
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind

ENDS_BY: Final = (CommandKind.SKIP,)
_WORDS: Final = {
    HookMoment.BEFORE_CANARY: "before the canary",
    HookMoment.BEFORE_STEP: "before step",
    HookMoment.AFTER_STEP: "after step",
    HookMoment.BEFORE_FINALIZE: "before it holds",
}


async def do(context: Context, stage: HookStage) -> Outcome:
    """Ask until there is an answer, or a person skips it."""
    hook, answers = stage.hook, context.answers
    where = _WORDS[stage.moment]
    if stage.step is not None:
        where += f" {stage.step + 1} of {context.reporter.steps}"
    context.enter(CanaryPhase.CHECKING, f"hook {hook.name}, {where}")
    asking = asyncio.create_task(
        context.hooks.ask(
            hook, stage.moment, stage.step, stop=context.stop, unless=lambda: answers.skip
        )
    )

    def over() -> bool:
        return asking.done() or answers.skip

    if (stopped := await context.watch_soon(over)) is not None:
        return stopped
    answered = await asking
    answers.skip = False
    if isinstance(answered, Answered):
        return context.hooks.heed(answered, answers.add_doubt) or DONE
    return answered or DONE


KIND: Final = StageKind(
    do=do, calls=frozenset({Call.CALL_HOOK, Call.JUDGE}), most_events=16, ends_by=ENDS_BY
)
