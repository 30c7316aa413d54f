"""A release's admission: from asking for all of its services until it leaves them to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.admission import ASK, ASK_POLICY, AskAdmission
    from schemas.admission import Answer, Answered, Ask, Entry, Leave, Revert
    from schemas.ids import (
        SIGNAL_LEAVE,
        SIGNAL_REVERT,
        admission_workflow_id,
        effects_queue,
        release_workflow_id,
    )
    from schemas.release import Cause, CauseKind, ReleasePlan, Tuning
    from workflows import describe
    from workflows.cell import here
    from workflows.outbox import Pace
    from workflows.trying import for_ever
    from workflows.waiting import one_ended

_ANSWER_S = 10.0
"""An answer that takes longer is waited for as well, and so is the admission's end."""
_CAUSES = {Answered.BUSY: CauseKind.BUSY, Answered.SUPERSEDED: CauseKind.SUPERSEDED}


class AdmissionClient:
    """What a release knows of its place in the queue."""

    def __init__(self, plan: ReleasePlan, tuning: Tuning) -> None:
        self._plan = plan
        self._tuning = tuning
        self._run = workflow.info().first_execution_run_id  # the same after a reset
        self._since = workflow.now()
        self._place = self._since
        self._heard_at: datetime | None = None
        self._answered = False
        self._resync_asked = False
        self.admitted = False
        self.waits_for = ""
        """What it waits for, in words; empty while that is not known."""
        self._pace = Pace()
        self._asked: set[str] = set()
        """Releases that were told what this one wants of them."""
        self._notifying: set[asyncio.Task[None]] = set()
        self.cause: Cause | None = None
        """Why it must go back, once the admission says so."""

    def hear(self, answer: Answer) -> None:
        """Take the admission's word."""
        self._answered = True
        self._notify(answer.holders)
        match answer.answered:
            case Answered.ADMITTED:
                self.admitted = True
                self.waits_for = ""
            case Answered.QUEUED:
                self._queued(answer)
            case Answered.RESYNC:
                self._resync_asked = True
            case Answered.BUSY | Answered.SUPERSEDED as why:
                kind = _CAUSES[why]
                self.cause = Cause(
                    kind=kind, service=answer.service, text=answer.text, at=workflow.now()
                )

    def _notify(self, holders: tuple[str, ...]) -> None:
        """Tell those that have its services what it wants: it may mean that they go back."""
        for release in holders:
            if release not in self._asked and not self.admitted:
                self._asked.add(release)
                task = asyncio.create_task(self._notify_one(release))
                self._notifying.add(task)
                task.add_done_callback(self._notifying.discard)

    async def _notify_one(self, release: str) -> None:
        wants = {name: one.version for name, one in self._plan.services.items()}
        revert = Revert(release=self._plan.release, since=self._since, services=wants)
        handle = workflow.get_external_workflow_handle(release_workflow_id(release, here()))
        try:
            async with self._pace.room(revert):
                await handle.signal(SIGNAL_REVERT, revert)
        except FailureError as error:  # it has ended meanwhile
            workflow.logger.info("not heard", extra={"release": release, "error": str(error)})

    def _queued(self, answer: Answer) -> None:
        """A word may be overtaken by a newer one."""
        if not self.admitted and (self._heard_at is None or answer.at >= self._heard_at):
            self._heard_at = answer.at
            self._place = answer.place or self._place
            self.waits_for = answer.text

    async def come(self, over: Callable[[], bool], changed: Callable[[], None]) -> None:
        """Ask until there is an answer for good, or it is `over`."""
        while not self._settled(over):
            self._answered = self._resync_asked = False
            await self._ask(changed, holding=False)
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._answered or over(),
                    timeout=_ANSWER_S,
                    timeout_summary="an answer of the admission",
                )
            changed()
            if self._settled(over) or self._resync_asked:
                continue
            await self.until_ended(
                admission_workflow_id(workflow.info().task_queue, here()),
                lambda: self._settled(over) or self._resync_asked,
                "queued: is the admission there?",
                patient=True,
            )

    def _settled(self, over: Callable[[], bool]) -> bool:
        return self.admitted or self.cause is not None or over()

    async def stay(self, over: Callable[[], bool]) -> None:
        """While it has its services, say so to an admission that lost its memory."""
        while True:
            await workflow.wait_condition(lambda: self._resync_asked or over())
            if over():
                return
            self._resync_asked = False
            await self.claim()

    async def claim(self) -> None:
        """Say that it has its services."""
        await self._ask(lambda: None, holding=True)

    async def until_ended(
        self, other: str, until: Callable[[], bool], why: str, *, patient: bool = False
    ) -> None:
        """Wait until another workflow does not run, or for `until`."""
        poll = self._tuning.admission_poll
        waiting = asyncio.create_task(one_ended((other,), poll, why, patient=patient))
        await workflow.wait_condition(lambda: waiting.done() or until())
        if waiting.done():
            waiting.result()
        waiting.cancel()

    async def leave(self) -> None:
        """Leave all services to others."""
        await asyncio.gather(*self._notifying)
        handle = workflow.get_external_workflow_handle(
            admission_workflow_id(workflow.info().task_queue, here())
        )
        try:
            await handle.signal(SIGNAL_LEAVE, Leave(release=self._plan.release, run=self._run))
        except FailureError as error:  # it does not run, and so knows of nobody
            workflow.logger.info("no admission to leave", extra={"error": str(error)})

    async def _ask(self, changed: Callable[[], None], *, holding: bool) -> None:
        entry = Entry(
            release=self._plan.release,
            run=self._run,
            services=self._plan.claims,
            policy=self._plan.admission,
            since=self._since,
            place=self._place,
        )
        ask = Ask(entry=entry, holding=holding, poll=self._tuning.admission_poll)
        queue = workflow.info().task_queue
        await for_ever(
            lambda retry: workflow.execute_activity(
                ASK,
                AskAdmission(queue=queue, ask=ask),
                task_queue=effects_queue(queue),
                summary="still mine" if holding else f"may have {', '.join(entry.services)[:100]}?",
                **replace(ASK_POLICY, retry=retry).options,
            ),
            ASK_POLICY.retry,
            lambda failure: self._unasked(failure, changed),
        )

    def _unasked(self, failure: str, changed: Callable[[], None]) -> None:
        """The admission could not be asked so far."""
        if failure and not self.admitted:
            self.waits_for = f"the admission to be asked; {describe.LAST_FAILURE}{failure}"
            changed()
