"""What a canary does between its stages: wait for people, for its release, keep what went back."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.decided import Decided
    from schemas.release import CanaryPhase
    from workflows.calls import Call
    from workflows.outcomes import DONE, Done, Failed, Outcome, Stopped
    from workflows.stages.context import Context
    from workflows.stages.retire import retire_before


async def pause(context: Context) -> Outcome:
    """Wait until somebody resumes; what has traffic is judged on."""
    decisions = context.decisions
    context.enter(CanaryPhase.PAUSED, f"resume: {decisions.now().pause}")
    return await context.watch(lambda: decisions.now().pause is None) or DONE


async def keep(context: Context) -> Done:
    """Give the version everything after all, as a person said; never given up."""
    version = context.start.plan.version
    context.enter(CanaryPhase.FINALIZING, f"the router to confirm {version}")
    await context.traffic.keep()
    await retire_before(context)
    return DONE


async def ask_release(context: Context) -> Outcome:
    """In trouble, and the release is gone: back, unless it had begun to finalize."""
    parent, final = workflow.info().parent, False
    if parent is not None:
        answer = await context.calls.make(
            Call.ASK_DECIDED,
            Decided(workflow_id=parent.workflow_id),
            "had the release begun to finalize?",
            stop=context.halt,
        )
        if isinstance(answer, Failed):
            workflow.logger.warning(
                "what a release had decided is not known", extra={"error": answer.cause.text}
            )
        elif isinstance(answer, Stopped):
            return answer
        else:
            final = answer
    context.decisions.release_decided(final=final)
    return DONE
