"""Admission: one small workflow that says which releases may have their services now.

It is a convenience, not the lock: the lock of a service is its canary's workflow id. So it may be
terminated at any time; the next question starts it anew, and it asks all releases where they are.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.admission import RECALL, RECALL_POLICY, Recall
    from schemas.admission import AdmissionState, Answer, Answered, Ask, Leave
    from schemas.ids import (
        ADMISSION_WORKFLOW,
        QUERY_STATUS,
        SIGNAL_ADMISSION,
        SIGNAL_LEAVE,
        UPDATE_ASK,
        effects_queue,
        release_workflow_id,
    )
    from workflows import pages
    from workflows.queueing import Line
    from workflows.waiting import one_ended

RECALL_WITHIN_S = 5.0
"""How long a new admission waits for all releases to say where they are.

Whoever gets the service of one that is silent for longer finds its canary there, and waits.
"""


@workflow.defn(name=ADMISSION_WORKFLOW)
class AdmissionWorkflow:
    """The line before the services of one task queue's releases."""

    @workflow.init
    def __init__(self, start: AdmissionState | None = None) -> None:
        self._start = start or AdmissionState()
        self._line = Line(self._start)
        self._unsent = dict(self._start.unsent)
        self._ready = self._start.recalled
        self._heard: set[str] = set()
        self._changed = True
        self._watched: tuple[str, ...] = ()
        self._watching: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, _: AdmissionState | None = None) -> None:
        """Keep the line for ever, in runs of bounded length."""
        if not self._ready:
            await self._recall()
        while True:
            await workflow.wait_condition(lambda: self._changed or self._full)
            self._changed = False
            self._unsent |= self._line.settle(workflow.now())
            self._watch()
            workflow.set_current_details(pages.admission(self._line))
            await self._tell_all()
            if self._full and not self._changed and not self._unsent:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state())

    @property
    def _full(self) -> bool:
        info = workflow.info()
        long = info.get_current_history_length() >= self._start.most_events
        return long or info.is_continue_as_new_suggested()

    def _state(self) -> AdmissionState:
        rest = self._start.model_copy(update={"recalled": True, "unsent": dict(self._unsent)})
        return self._line.dump(rest)

    # --- what releases say ---

    @workflow.update(name=UPDATE_ASK, description="From a release: its services, or what it has.")
    async def ask(self, ask: Ask | None = None) -> Answer:
        """Take a release into the line; answers what it may do now."""
        now = workflow.now()
        if ask is None or not self._line.take(ask):
            return Answer(answered=Answered.BUSY, text="the release has ended", at=now)
        release = ask.entry.release
        self._heard.add(release)
        self._changed = True
        if not self._ready:
            return Answer(answered=Answered.QUEUED, place=ask.entry.place, at=now)
        self._unsent |= self._line.settle(now)
        return self._unsent.pop(release)

    @workflow.signal(name=SIGNAL_LEAVE, description="From a release that has ended.")
    def leave(self, value: Leave | None = None) -> None:
        """Let others have what it had."""
        if value is None:
            return
        self._heard.add(value.release)
        self._line.leave(value.release, value.run)
        self._unsent.pop(value.release, None)
        self._changed = True

    @workflow.query(name=QUERY_STATUS, description="Who has services, and who waits. No input.")
    def status(self, _: Any = None) -> AdmissionState:
        """The whole line."""
        return self._state()

    # --- what it says ---

    async def _tell_all(self) -> None:
        unsent, self._unsent = self._unsent, {}
        await asyncio.gather(*(self._tell(one, answer) for one, answer in unsent.items()))

    async def _tell(self, release: str, answer: Answer) -> None:
        handle = workflow.get_external_workflow_handle(release_workflow_id(release))
        try:
            await handle.signal(SIGNAL_ADMISSION, answer)
        except FailureError as error:
            # Most likely it has ended; while anybody waits that is looked at.
            workflow.logger.info("not heard", extra={"release": release, "error": str(error)})
            self._line.untold(release)

    # --- who is there ---

    async def _recall(self) -> None:
        """Learn who has what: the first of a task queue's releases, or a memory that was lost."""
        running: tuple[str, ...] = await workflow.execute_activity(
            RECALL,
            Recall(queue=workflow.info().task_queue, heard=tuple(sorted(self._heard))),
            result_type=tuple[str, ...],
            task_queue=effects_queue(workflow.info().task_queue),
            start_to_close_timeout=RECALL_POLICY.start_to_close,
            retry_policy=RECALL_POLICY.retry,
            summary="which releases run?",
        )
        try:
            await workflow.wait_condition(
                lambda: self._heard.issuperset(running), timeout=RECALL_WITHIN_S
            )
        except TimeoutError:
            silent = sorted(set(running) - self._heard)
            workflow.logger.warning("releases are silent", extra={"releases": silent[:10]})
        self._ready = True
        self._changed = True

    def _watch(self) -> None:
        """While anybody waits, look whether one of those in the line has ended without a word."""
        wanted = tuple(sorted([*self._line.holding, *self._line.waiting]))
        if not self._line.waiting:
            wanted = ()
        if wanted == self._watched:
            return
        self._watched = wanted
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.create_task(self._attend(wanted)) if wanted else None

    async def _attend(self, releases: tuple[str, ...]) -> None:
        ids = {release_workflow_id(release): release for release in releases}
        gone = await one_ended(tuple(ids), self._start.poll, "has a release ended without a word?")
        if not gone:
            return  # those in the line have changed: another look is on its way
        self._line.drop([ids[one] for one in gone])
        self._watched = ()
        self._changed = True
