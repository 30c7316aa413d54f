"""What a release had decided that does not run any more: Temporal's history knows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from activities.policy import Policy, forever
from adapters.errors import Retryable
from schemas import attributes
from schemas.base import Model
from schemas.ids import QUERY_STATUS
from schemas.phases import ReleasePhase
from schemas.release import ReleaseStatus

DECIDED: Final = "aviary.release.decided"
DECIDED_POLICY: Final = Policy(
    start_to_close=timedelta(seconds=8),
    retry=forever(timedelta(seconds=2)),
    schedule_to_close=timedelta(seconds=20),
)
"""Bounded: traffic may wait to be taken back, and is, when this can't be learnt."""

_RPC: Final = timedelta(seconds=5)
_NEVER: Final = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT}
_STATE: Final = SearchAttributeKey.for_keyword(attributes.STATE)


class Decided(Model):
    """Ask whether a release was past its point of no return."""

    workflow_id: str
    before_reset: bool = False
    """Ask the run that was reset into the newest one, and not the newest one."""


async def went_final(client: Client, asked: Decided) -> bool:
    """Whether a release has ended, or was reset, after it had begun to finalize.

    Raises:
        Retryable: nobody answers now.
    """
    run = None
    try:
        run = await _run_before_reset(client, asked) if asked.before_reset else None
        if asked.before_reset and run is None:
            return False
        handle = client.get_workflow_handle(asked.workflow_id, run_id=run)
        status: ReleaseStatus = await handle.query(
            QUERY_STATUS, result_type=ReleaseStatus, rpc_timeout=_RPC
        )
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
        activity.logger.warning(
            "a release can't say what it had decided",
            extra={"workflow_id": asked.workflow_id, "error": str(error)},
        )
        return False
    except RPCError as error:
        if error.status in _NEVER:
            return False
        state = await _listed_as(client, asked.workflow_id, run)
        if state is None:
            raise Retryable(f"Temporal: {error.status.name}: {error.message}") from error
        return state in {phase.value for phase in ReleasePhase if phase.final}
    return status.phase.final


async def _listed_as(client: Client, workflow_id: str, run: str | None) -> str | None:
    """The state that a run is listed under: Temporal knows it without a worker.

    A question to a run is answered by a worker of its build, which may have gone for good.
    """
    try:
        handle = client.get_workflow_handle(workflow_id, run_id=run)
        described = await handle.describe(rpc_timeout=_RPC)
    except RPCError:
        return None  # told as what could not be asked
    return described.typed_search_attributes.get(_STATE)


async def _run_before_reset(client: Client, asked: Decided) -> str | None:
    """The run that the newest one was reset from; None if it was not reset."""
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(asked.workflow_id)
    found = None
    async for event in handle.fetch_history_events(rpc_timeout=_RPC):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            found = event.workflow_task_failed_event_attributes.base_run_id or found
    return found


class DecidedActivities:
    """Activities over the histories of releases."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=DECIDED)
    async def decided(self, request: Decided) -> bool:
        """Whether the release was past its point of no return."""
        return await went_final(self._client, request)
