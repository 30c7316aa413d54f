"""A hook that is told, and not waited for: a workflow of its own, which outlives the canary.

Its id is the call's, so that it is told once, whoever begins it: a canary that was reset, another
run of one that was lost.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.hooks import CALL_HOOK, HOOK_POLICY, CallHook
    from schemas.base import Model, SomeDuration
    from schemas.hooks import HookAnswer, HookCall, HookEvent, RunsBeside
    from schemas.ids import HOOK_WORKFLOW, waiting_queue
    from workflows import describe

TOLD_TASK_TIMEOUT: Final = timedelta(seconds=2)
"""As for releases: a killed worker keeps a task no longer than this."""


class HookInput(Model):
    """Tells a hook."""

    event: HookEvent
    call: HookCall
    beside: RunsBeside | None = None
    """The version that a command runs with."""
    deadline: SomeDuration
    retries: int | None = None


class HookOutcome(Model):
    """How it went."""

    hook: str
    answer: HookAnswer | None = None
    failure: str = ""
    """Why there was none in time, in words."""


@workflow.defn(name=HOOK_WORKFLOW)
class HookWorkflow:
    """Tells one hook, until it has an answer, or the deadline is over."""

    @workflow.run
    async def run(self, start: HookInput) -> HookOutcome:
        """Tell it; that it has been taken is enough.

        Returns:
            What it said. That it said nothing is an outcome, and no failure: nothing depends on it.
        """
        retry = HOOK_POLICY.retry
        if start.retries is not None:
            retry = replace(retry, maximum_attempts=start.retries + 1)
        policy = replace(HOOK_POLICY, schedule_to_close=start.deadline, retry=retry)
        hook = start.event.data.hook
        try:
            answer: HookAnswer = await workflow.execute_activity(
                CALL_HOOK,
                CallHook(call=start.call, event=start.event, beside=start.beside, waits=False),
                result_type=HookAnswer,
                task_queue=waiting_queue(workflow.info().task_queue),
                summary=f"hook {hook}",
                **policy.options,
            )
        except ActivityError as error:
            return HookOutcome(hook=hook, failure=describe.failure(error))
        return HookOutcome(hook=hook, answer=answer)
