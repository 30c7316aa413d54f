"""Waiting for other workflows to end, at three events however long it takes."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.admission import ATTEND, ATTEND_POLICY, Attend
    from schemas.ids import waiting_queue


async def one_ended(workflows: tuple[str, ...], poll: timedelta, why: str) -> tuple[str, ...]:
    """Wait until at least one of these workflows does not run.

    Args:
        workflows: their ids.
        poll: how often to look.
        why: shown in the history.

    Returns:
        The ids of those that don't run; none when it was cancelled.
    """
    try:
        gone: tuple[str, ...] = await workflow.execute_activity(
            ATTEND,
            Attend(workflows=workflows, poll=poll),
            result_type=tuple[str, ...],
            task_queue=waiting_queue(workflow.info().task_queue),
            start_to_close_timeout=ATTEND_POLICY.start_to_close,
            heartbeat_timeout=ATTEND_POLICY.heartbeat,
            retry_policy=ATTEND_POLICY.retry,
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            summary=why,
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            return ()
        raise
    return tuple(gone)
