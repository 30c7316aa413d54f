"""A release's turn: from asking for all of its services until it leaves them to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.admission import ASK, ASK_POLICY, AskAdmission
    from schemas.admission import Answer, Answered, Ask, Entry, Leave
    from schemas.ids import SIGNAL_LEAVE, admission_workflow_id, effects_queue
    from schemas.release import Cause, CauseKind, ReleasePlan, Tuning
    from workflows.waiting import one_ended

_CAUSES = {Answered.BUSY: CauseKind.BUSY, Answered.SUPERSEDED: CauseKind.SUPERSEDED}


class Turn:
    """What a release knows of its place in the line."""

    def __init__(self, plan: ReleasePlan, tuning: Tuning) -> None:
        self._plan = plan
        self._tuning = tuning
        self._run = workflow.info().first_execution_run_id  # the same after a reset
        self._since = workflow.now()
        self._place = self._since
        self._heard_at: datetime | None = None
        self._recalled = False
        self.admitted = False
        self.waits_for = ""
        """What it waits for, in words; empty while that is not known."""
        self.cause: Cause | None = None
        """Why it must go back, once the admission says so."""

    def hear(self, answer: Answer) -> None:
        """Take the admission's word."""
        match answer.answered:
            case Answered.ADMITTED:
                self.admitted = True
                self.waits_for = ""
            case Answered.QUEUED:
                self._queued(answer)
            case Answered.RECALL:
                self._recalled = True
            case Answered.BUSY | Answered.SUPERSEDED as why:
                kind = _CAUSES[why]
                self.cause = Cause(
                    kind=kind, service=answer.service, text=answer.text, at=workflow.now()
                )

    def _queued(self, answer: Answer) -> None:
        """The answer to a question may be overtaken by a newer word."""
        if not self.admitted and (self._heard_at is None or answer.at >= self._heard_at):
            self._heard_at = answer.at
            self._place = answer.place or self._place
            self.waits_for = answer.text

    async def come(self, over: Callable[[], bool], changed: Callable[[], None]) -> None:
        """Ask until there is an answer for good, or it is `over`."""
        while True:
            self._recalled = False
            self.hear(await self._ask(holding=False))
            changed()
            if self._settled(over):
                return
            await self.until_ended(
                admission_workflow_id(workflow.info().task_queue),
                lambda: self._settled(over) or self._recalled,
                "queued: is the admission there?",
            )
            if self._settled(over):
                return

    def _settled(self, over: Callable[[], bool]) -> bool:
        return self.admitted or self.cause is not None or over()

    async def stay(self, over: Callable[[], bool]) -> None:
        """While it has its services, say so to an admission that lost its memory."""
        while True:
            await workflow.wait_condition(lambda: self._recalled or over())
            if over():
                return
            self._recalled = False
            await self.claim()

    async def claim(self) -> None:
        """Say that it has its services."""
        self.hear(await self._ask(holding=True))

    async def until_ended(self, other: str, until: Callable[[], bool], why: str) -> None:
        """Wait until another workflow does not run, or for `until`."""
        poll = self._tuning.admission_poll
        waiting = asyncio.create_task(one_ended((other,), poll, why))
        await workflow.wait_condition(lambda: waiting.done() or until())
        if waiting.done():
            waiting.result()
        waiting.cancel()

    async def leave(self) -> None:
        """Leave all services to others."""
        handle = workflow.get_external_workflow_handle(
            admission_workflow_id(workflow.info().task_queue)
        )
        try:
            await handle.signal(SIGNAL_LEAVE, Leave(release=self._plan.release, run=self._run))
        except FailureError as error:  # it does not run, and so knows of nobody
            workflow.logger.info("no admission to leave", extra={"error": str(error)})

    async def _ask(self, *, holding: bool) -> Answer:
        entry = Entry(
            release=self._plan.release,
            run=self._run,
            services=tuple(self._plan.services),
            policy=self._plan.admission,
            since=self._since,
            place=self._place,
        )
        ask = Ask(entry=entry, holding=holding, poll=self._tuning.admission_poll)
        queue = workflow.info().task_queue
        answer: Answer = await workflow.execute_activity(
            ASK,
            AskAdmission(queue=queue, ask=ask),
            result_type=Answer,
            task_queue=effects_queue(queue),
            start_to_close_timeout=ASK_POLICY.start_to_close,
            retry_policy=ASK_POLICY.retry,
            summary="still mine" if holding else f"may have {', '.join(entry.services)[:100]}?",
        )
        return answer
