"""See that flags are as a step has them, before it and after it; what has traffic is judged on."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.flags import FlagLook
    from schemas.release import CanaryPhase, Cause, CauseKind
    from schemas.stages import FlagsStage
    from schemas.step_flags import WantedFlag
    from schemas.strategy import OnInconclusive
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import DONE, Failed, Outcome, Stopped
    from workflows.stages.context import Context, StageKind

ENDS_BY: Final = (CommandKind.SKIP,)


async def do(context: Context, stage: FlagsStage) -> Outcome:
    """Look at each flag; one that is otherwise asks a person, or the version goes back."""
    answers = context.answers
    moment = "after" if stage.judged else "before"
    where = f"{moment} step {(stage.step or 0) + 1} of {context.reporter.steps}"
    each = ", ".join(one.text for one in stage.flags)
    context.enter(CanaryPhase.CHECKING, f"{each} for everybody, {where}")
    looking = [asyncio.create_task(_look(context, one)) for one in stage.flags]

    def over() -> bool:
        return answers.skip or all(one.done() for one in looking)

    if stopped := await context.watch_soon(over):
        return stopped
    found = await asyncio.gather(*looking)
    answers.skip = False
    if stopped := next((one for one in found if isinstance(one, Stopped)), None):
        return stopped
    doubt = "; ".join(one for one in found if isinstance(one, str) and one)
    if doubt and stage.on_inconclusive is OnInconclusive.ROLL_BACK:
        kind, service = CauseKind.VERDICT, context.start.plan.service
        return Failed(Cause(kind=kind, service=service, text=doubt, at=workflow.now()))
    if doubt:
        answers.add_doubt(doubt)
    return DONE


async def _look(context: Context, wanted: WantedFlag) -> str | Stopped:
    """Why a flag is not as it is to be, in words; empty: it is, or a person skipped that."""
    summary = f"{wanted.flag}: is it {wanted.variant} for everybody?"
    answer = await context.call(
        Call.LOOK_AT_FLAG, wanted, summary, unless=lambda: context.answers.skip
    )
    if isinstance(answer, Failed):
        found = answer.cause.text
    elif isinstance(answer, Stopped):
        return answer
    else:
        found = answer.found if isinstance(answer, FlagLook) else ""
    return found and f"flag {wanted.flag} is not {wanted.variant} for everybody: {found}"


KIND: Final = StageKind(
    do=do,
    calls=frozenset({Call.LOOK_AT_FLAG, Call.JUDGE}),
    most_events=16,
    ends_by=ENDS_BY,
)
"""Events: of one flag; each more costs three."""
