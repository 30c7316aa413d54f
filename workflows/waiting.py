"""Waiting: for other workflows, at three events however long it takes, and for what must end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.admission import PATIENT_POLICY, WAIT_FOR_END, WAIT_FOR_END_POLICY, WaitForEnd
    from schemas.ids import waiting_queue


async def one_ended(
    workflows: tuple[str, ...],
    poll: timedelta,
    why: str,
    *,
    queue: str | None = None,
    patient: bool = False,
) -> tuple[str, ...]:
    """Wait until at least one of these workflows does not run.

    Args:
        workflows: their ids.
        poll: how often to look.
        why: shown in the history.
        queue: of the tasks; that of waiting when left out.
        patient: it is only made sure of, by thousands at once maybe: a worker that is lost may be
            noticed late.

    Returns:
        The ids of those that don't run; none when it was cancelled.
    """
    policy = PATIENT_POLICY if patient else WAIT_FOR_END_POLICY
    try:
        gone: tuple[str, ...] = await workflow.execute_activity(
            WAIT_FOR_END,
            WaitForEnd(workflows=workflows, poll=poll, patient=patient),
            result_type=tuple[str, ...],
            task_queue=queue or waiting_queue(workflow.info().task_queue),
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            summary=why,
            **policy.options,
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            return ()
        raise
    return tuple(gone)


async def run_to_end(task: asyncio.Task[Any], cancelled: Callable[[], None] = lambda: None) -> None:
    """Wait for a task that a cancellation must not cut short, however often it comes.

    Args:
        task: what is to end by itself.
        cancelled: told of each cancellation.
    """
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled()
    task.result()
