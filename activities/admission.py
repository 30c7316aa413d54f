"""Admission, seen from outside: ask it, start it, and know who has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.cell import here
from activities.clock import server_now
from activities.policy import Policy, forever
from schemas.admission import AdmissionState, Answer, Answered, Ask
from schemas.base import Duration, Model, ReleaseId
from schemas.ids import (
    ADMISSION_WORKFLOW,
    RELEASE_WORKFLOW,
    SIGNAL_ADMISSION,
    SIGNAL_ASK,
    admission_workflow_id,
    release_workflow_id,
)

ASK: Final = "aviary.admission.ask"
RESYNC: Final = "aviary.admission.resync"
DELIVER: Final = "aviary.admission.deliver"
WAIT_FOR_END: Final = "aviary.wait_for_end"

_CAP = timedelta(seconds=5)
ASK_POLICY = Policy(start_to_close=timedelta(seconds=8), retry=forever(_CAP))
RESYNC_POLICY = Policy(
    start_to_close=timedelta(minutes=10), retry=forever(_CAP), heartbeat=timedelta(seconds=30)
)
DELIVER_POLICY = Policy(
    start_to_close=timedelta(minutes=2), retry=forever(_CAP), heartbeat=timedelta(seconds=30)
)
WAIT_FOR_END_POLICY = Policy(
    start_to_close=timedelta(days=30), retry=forever(_CAP), heartbeat=timedelta(seconds=15)
)
PATIENT_POLICY = Policy(
    start_to_close=timedelta(days=30), retry=forever(_CAP), heartbeat=timedelta(minutes=5)
)
"""For what thousands wait for at once: each heartbeat is a write of the server."""

_RPC = timedelta(seconds=5)
_TASK_TIMEOUT = timedelta(seconds=10)
"""How long a killed worker may keep a task. More than for releases: a task that is given up is done
again from the whole history, with all that was said meanwhile, and must then come to its end."""
_HEARTBEAT_S = 5.0
_PATIENT_HEARTBEAT_S = 100.0
_AT_ONCE = 20
_TOLD = 5_000
"""Most releases that a resync names in its answer; all are told."""
_SHARED_S = 1.0
"""How long the answer about one workflow is good for all who ask."""


class AskAdmission(Model):
    """Bring a release's word to the admission of its task queue."""

    queue: str
    ask: Ask


class Resync(Model):
    """Have the releases of a task queue say where they are."""

    queue: str
    heard: tuple[str, ...] = ()
    """Those that have said so."""


class Deliver(Model):
    """Bring the admission's word to releases."""

    answers: dict[ReleaseId, Answer]


class WaitForEnd(Model):
    """Wait until one of these workflows does not run."""

    workflows: tuple[str, ...]
    poll: Duration
    patient: bool = False
    """Heartbeat rarely."""


class HeartbeatTimer:
    """Heartbeats at once, and then whenever so many seconds have been waited."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._waited = every

    def after(self, seconds: float) -> None:
        """That long was waited since the last time."""
        self._waited += seconds
        if self._waited >= self._every:
            self._waited = 0.0
            activity.heartbeat()


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
        self._looks: dict[str, asyncio.Future[bool]] = {}

    @activity.defn(name=ASK)
    async def ask(self, request: AskAdmission) -> None:
        """Ask, and start the admission if it does not run. To ask twice is to ask once.

        The answer comes to the release as a signal.
        """
        await self._client.start_workflow(
            ADMISSION_WORKFLOW,
            AdmissionState(poll=request.ask.poll),
            id=admission_workflow_id(request.queue, here()),
            task_queue=request.queue,
            start_signal=SIGNAL_ASK,
            start_signal_args=[request.ask],
            task_timeout=_TASK_TIMEOUT,
            static_summary="which releases may have their services, and which wait",
            rpc_timeout=_RPC,
        )

    @activity.defn(name=RESYNC)
    async def resync(self, request: Resync) -> tuple[str, ...]:
        """Tell every other release that runs to say where it is; returns their ids."""
        query = (
            f"WorkflowType = '{RELEASE_WORKFLOW}' AND ExecutionStatus = 'Running' "
            f"AND TaskQueue = '{request.queue}'"
        )
        answer = Answer(answered=Answered.RESYNC, at=self._clock())
        known = {release_workflow_id(release, here()) for release in request.heard}
        found = [one.id async for one in self._client.list_workflows(query) if one.id not in known]
        heard = await self._signal_all(dict.fromkeys(found, answer))
        mine = release_workflow_id("", here())
        return tuple(one.removeprefix(mine) for one in heard[:_TOLD])

    @activity.defn(name=DELIVER)
    async def deliver(self, request: Deliver) -> tuple[str, ...]:
        """Tell each; returns those that have ended. To be told twice is to be told once."""
        ids = {one: release_workflow_id(one, here()) for one in request.answers}
        answers = {ids[one]: answer for one, answer in request.answers.items()}
        heard = set(await self._signal_all(answers))
        return tuple(one for one in request.answers if ids[one] not in heard)

    async def _signal_all(self, answers_by_id: Mapping[str, Answer]) -> list[str]:
        """Those that hear."""
        heard: list[str] = []
        releases = list(answers_by_id)
        for start in range(0, len(releases), _AT_ONCE):
            some = releases[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._signal(one, answers_by_id[one]) for one in some))
            heard += [one for one, hears in zip(some, answers, strict=True) if hears]
            activity.heartbeat()
        return heard

    async def _signal(self, release: str, answer: Answer) -> bool:
        """Whether it hears; one that has ended since it was listed does not."""
        handle = self._client.get_workflow_handle(release)
        try:
            await handle.signal(SIGNAL_ADMISSION, answer, rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    @activity.defn(name=WAIT_FOR_END)
    async def wait_for_end(self, request: WaitForEnd) -> tuple[str, ...]:
        """Look every `poll` whether they run; returns those that don't, as soon as there is one."""
        poll = request.poll.total_seconds()
        heartbeat = HeartbeatTimer(_PATIENT_HEARTBEAT_S if request.patient else _HEARTBEAT_S)
        while True:
            gone: list[str] = []
            for start in range(0, len(request.workflows), _AT_ONCE):
                gone += await self._ended(request.workflows[start : start + _AT_ONCE], poll)
                heartbeat.after(0)
            if gone:
                return tuple(gone)
            left = poll
            while left > 0:
                nap = min(left, _HEARTBEAT_S)
                await self._sleep(nap)
                heartbeat.after(nap)
                left -= nap

    async def _ended(self, workflows: Sequence[str], poll: float) -> list[str]:
        running = await asyncio.gather(*(self._shared(one, poll) for one in workflows))
        return [one for one, runs in zip(workflows, running, strict=True) if not runs]

    async def _shared(self, workflow: str, poll: float) -> bool:
        """Look, or take what another one has just seen: thousands ask about one admission."""
        look = self._looks.get(workflow)
        if look is None:
            look = self._looks[workflow] = asyncio.ensure_future(self._runs(workflow))
            good_for = min(_SHARED_S, poll / 2)
            look.add_done_callback(
                lambda done: asyncio.get_running_loop().call_later(
                    0 if done.cancelled() or done.exception() else good_for,
                    self._looks.pop,
                    workflow,
                )
            )
        return await asyncio.shield(look)

    async def _runs(self, workflow: str) -> bool:
        try:
            described = await self._client.get_workflow_handle(workflow).describe(rpc_timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING
