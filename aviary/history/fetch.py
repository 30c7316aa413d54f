"""Brings the histories of a release from Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.judge import JUDGE
from aviary.history.canary import CanaryReader, next_run
from aviary.history.events import decoded, read
from aviary.history.release import ReleaseReader, published
from aviary.history.timeline import build
from schemas.decisions import DecisionRecord
from schemas.events import CloudEvent
from schemas.ids import NO_CELL, QUERY_STATUS, Cell, canary_workflow_id, release_workflow_id
from schemas.live import Live
from schemas.release import CanaryStatus, ReleaseStatus, ServicePlan
from schemas.timeline import CanaryRun, Timeline

_AT_ONCE: Final = 10
_ANSWERS_WITHIN: Final = timedelta(seconds=2)
"""A canary, when a worker has it."""
_WITH_LIVE: Final = 2
"""Elements of a heartbeat: what another attempt resumes from, and what people may see."""


async def fetch_timeline(client: Client, release: str, *, cell: Cell = NO_CELL) -> Timeline:
    """The timeline of a release, as far as Temporal still has it.

    Args:
        client: of Temporal.
        release: the release id; of a release that was reset, its latest run is read.
        cell: of the release.

    Raises:
        RPCError: NOT_FOUND when there is no such release (any more), or Temporal can't answer.
        pydantic.ValidationError: the history is of another version of Aviary.
    """
    described = await client.get_workflow_handle(release_workflow_id(release, cell)).describe()
    handle = client.get_workflow_handle(described.id, run_id=described.run_id)
    history = await handle.fetch_history()
    reader = ReleaseReader(read(history))
    runs = [
        (reader.plan.services[service], run)
        for service, found in reader.runs().items()
        for run in found
    ]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(plan: ServicePlan, run: CanaryRun) -> list[_Found]:
        async with limit:
            return [found async for found in _canary(client, plan, run, cell)]

    found = await asyncio.gather(*(one(plan, run) for plan, run in runs))
    each = [one for several in found for one in several]
    lacks = reader.closed is None and reader.lacks_decisions
    asked = await _ask(handle, ReleaseStatus) if lacks else None
    return build(
        history,
        {one.run_id: one.history for one in each},
        {one.run_id: one.live for one in each if one.live is not None},
        {one.run_id: one.asked for one in each if one.asked is not None},
        asked,
    )


async def fetch_events(client: Client, release: str, *, cell: Cell = NO_CELL) -> list[str]:
    """What a release told on `aviary.events`, from its own history, as it stands there.

    Raises:
        pydantic.ValidationError: the history is of another version of Aviary.
        RPCError: NOT_FOUND when there is no such release (any more), or Temporal can't answer.
    """
    described = await client.get_workflow_handle(release_workflow_id(release, cell)).describe()
    handle = client.get_workflow_handle(described.id, run_id=described.run_id)
    events = published(read(await handle.fetch_history()))
    return [CloudEvent.model_validate(one).wire().decode() for one in events]


class _Found(NamedTuple):
    """A run of a canary, and what its judge has seen if it runs."""

    run_id: str
    history: WorkflowHistory
    live: Live | None
    asked: tuple[DecisionRecord, ...] | None


async def _canary(
    client: Client, plan: ServicePlan, run: CanaryRun, cell: Cell
) -> AsyncIterator[_Found]:
    """A run, and those that went on with it; one that is gone ends them."""
    later: str | None = run.run_id
    while later is not None:
        handle = client.get_workflow_handle(canary_workflow_id(plan.service, cell), run_id=later)
        try:
            history = await handle.fetch_history()
            recorded = read(history)
            following = next_run(recorded)
            running = run.ended_at is None and following is None
            live = live_of(await handle.describe()) if running else None
            lacks = running and CanaryReader(plan, later, recorded).lacks_decisions
            asked = await _ask(handle, CanaryStatus) if lacks else None
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return
        yield _Found(later, history, live, asked)
        later = following


async def _ask(
    handle: WorkflowHandle[Any, Any], answer: type[CanaryStatus | ReleaseStatus]
) -> tuple[DecisionRecord, ...] | None:
    """The record of a run of which its history has less; None where it does not answer soon."""
    try:
        status: CanaryStatus | ReleaseStatus = await handle.query(
            QUERY_STATUS, result_type=answer, rpc_timeout=_ANSWERS_WITHIN
        )
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return None
    return status.decisions


def live_of(described: WorkflowExecutionDescription) -> Live | None:
    """What the judge of a running canary has seen, from its heartbeat: no worker is asked.

    None while no judge runs, before its first reading, and where the worker is of a version that
    does not say it.
    """
    for pending in described.raw_description.pending_activities:
        details = pending.heartbeat_details.payloads
        if pending.activity_type.name == JUDGE and len(details) >= _WITH_LIVE:
            return Live.of(decoded(details[1]))
    return None
