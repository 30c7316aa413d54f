"""Admission, seen from outside: ask it, start it, and know who has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from activities.clock import server_now
from activities.policy import Policy, forever
from schemas.admission import AdmissionState, Answer, Answered, Ask
from schemas.base import Duration, Model
from schemas.ids import (
    ADMISSION_WORKFLOW,
    RELEASE_WORKFLOW,
    SIGNAL_ADMISSION,
    UPDATE_ASK,
    admission_workflow_id,
    release_workflow_id,
)

ASK: Final = "aviary.admission.ask"
RECALL: Final = "aviary.admission.recall"
ATTEND: Final = "aviary.attend"

_CAP = timedelta(seconds=5)
ASK_POLICY = Policy(start_to_close=timedelta(seconds=8), retry=forever(_CAP))
RECALL_POLICY = Policy(start_to_close=timedelta(minutes=1), retry=forever(_CAP))
ATTEND_POLICY = Policy(
    start_to_close=timedelta(days=30), retry=forever(_CAP), heartbeat=timedelta(seconds=15)
)

_RPC = timedelta(seconds=5)
_TASK_TIMEOUT = timedelta(seconds=2)
"""As for releases: a killed worker keeps a task no longer than this."""
_BEAT_S = 5.0
_AT_ONCE = 20


class AskAdmission(Model):
    """Bring a release's word to the admission of its task queue."""

    queue: str
    ask: Ask


class Recall(Model):
    """Have the releases of a task queue say where they are."""

    queue: str
    heard: tuple[str, ...] = ()
    """Those that have said so."""


class Attend(Model):
    """Wait until one of these workflows does not run."""

    workflows: tuple[str, ...]
    poll: Duration


class AdmissionActivities:
    """Activities over Temporal itself."""

    def __init__(
        self,
        client: Client,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime] = server_now,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._clock = clock

    @activity.defn(name=ASK)
    async def ask(self, request: AskAdmission) -> Answer:
        """Ask, and start the admission if it does not run. An attempt repeated is one question."""
        info = activity.info()
        begin: WithStartWorkflowOperation[Any, None] = WithStartWorkflowOperation(
            ADMISSION_WORKFLOW,
            AdmissionState(poll=request.ask.poll),
            id=admission_workflow_id(request.queue),
            task_queue=request.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            task_timeout=_TASK_TIMEOUT,
            static_summary="which releases may have their services, and which wait",
        )
        answer: Answer = await self._client.execute_update_with_start_workflow(
            UPDATE_ASK,
            request.ask,
            start_workflow_operation=begin,
            id=f"{info.workflow_run_id}/{info.activity_id}",
            result_type=Answer,
            rpc_timeout=_RPC,
        )
        return answer

    @activity.defn(name=RECALL)
    async def recall(self, request: Recall) -> tuple[str, ...]:
        """Tell every other release that runs to say where it is; returns their ids."""
        query = (
            f"WorkflowType = '{RELEASE_WORKFLOW}' AND ExecutionStatus = 'Running' "
            f"AND TaskQueue = '{request.queue}'"
        )
        word = Answer(answered=Answered.RECALL, at=self._clock())
        told = []
        known = {release_workflow_id(release) for release in request.heard}
        async for execution in self._client.list_workflows(query):
            if execution.id in known:
                continue
            handle = self._client.get_workflow_handle(execution.id)
            try:
                await handle.signal(SIGNAL_ADMISSION, word, rpc_timeout=_RPC)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                continue  # it has ended since it was listed
            told.append(execution.id.removeprefix(release_workflow_id("")))
        return tuple(told)

    @activity.defn(name=ATTEND)
    async def attend(self, request: Attend) -> tuple[str, ...]:
        """Look every `poll` whether they run; returns those that don't, as soon as there is one."""
        while True:
            gone: list[str] = []
            for start in range(0, len(request.workflows), _AT_ONCE):
                gone += await self._ended(request.workflows[start : start + _AT_ONCE])
                activity.heartbeat()
            if gone:
                return tuple(gone)
            left = request.poll.total_seconds()
            while left > 0:
                await self._sleep(min(left, _BEAT_S))
                activity.heartbeat()
                left -= _BEAT_S

    async def _ended(self, workflows: Sequence[str]) -> list[str]:
        running = await asyncio.gather(*(self._runs(one) for one in workflows))
        return [one for one, runs in zip(workflows, running, strict=True) if not runs]

    async def _runs(self, workflow: str) -> bool:
        try:
            described = await self._client.get_workflow_handle(workflow).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING
