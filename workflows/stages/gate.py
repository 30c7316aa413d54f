"""Ask a person: what the strategy asks, or whether to go on in spite of a doubt."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.release import CanaryPhase
    from schemas.stages import GateStage
    from workflows.calls import Call
    from workflows.commands import CommandKind
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind

ENDS_BY: Final = (CommandKind.APPROVE,)


async def do(context: Context, stage: GateStage) -> Outcome:
    """Wait for an approval, and judge on meanwhile; no word where there is nothing to ask."""
    answers = context.answers
    text = _question(context, stage)
    if text is None:
        return DONE
    context.enter(CanaryPhase.GATED, f"approval: {text}")
    if stopped := await context.watch(lambda: answers.approved):
        return stopped
    answers.approved = False  # not before: a run that goes on may have heard it at its start
    answers.doubt = None
    return DONE


def _question(context: Context, stage: GateStage) -> str | None:
    """What a person is asked; None: nothing."""
    doubt = context.answers.doubt
    if stage.picks:
        new, old = context.start.plan.version, context.traffic.stable
        said = f": {doubt}" if doubt else ""
        return f"the winner, {old} or {new} (approve is {new}, rollback is {old}){said}"
    if stage.gate is None:
        return doubt
    text = stage.gate.text or f"the gate of step {context.reporter.place}"
    return text if doubt is None else f"{text}; and to go on all the same: {doubt}"


KIND: Final = StageKind(do=do, calls=frozenset({Call.JUDGE}), most_events=16, ends_by=ENDS_BY)
