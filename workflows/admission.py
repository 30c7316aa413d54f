"""Admission: one small workflow that says which releases may have their services now.

It is a convenience, not the lock: the lock of a service is its canary's workflow id. So it may be
terminated at any time; the next question starts it anew, and it asks all releases where they are.

It is asked and answers by signals: a workflow takes thousands of those at once, and few updates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.admission import (
        DELIVER,
        DELIVER_POLICY,
        RESYNC,
        RESYNC_POLICY,
        Deliver,
        Resync,
    )
    from schemas.admission import AdmissionState, Answer, Answered, Ask, Leave
    from schemas.ids import (
        ADMISSION_WORKFLOW,
        QUERY_STATUS,
        SIGNAL_ADMISSION,
        SIGNAL_ASK,
        SIGNAL_LEAVE,
        effects_queue,
        release_workflow_id,
    )
    from workflows import pages
    from workflows.cell import here
    from workflows.release_queue import ReleaseQueue
    from workflows.waiting import one_ended

RESYNC_WITHIN_S = 5.0
"""How long a new admission waits for the next release to say where it is.

Whoever gets the service of one that is silent for longer finds its canary there, and waits.
"""
_RESYNC_STEPS = 12
_AT_ONCE = 20
"""Releases that are being told at a time what they may act on."""
_BATCH = 100
"""Releases that one activity tells whom they wait for: each signal of our own costs two events."""
_WATCHED = 500
_HEARD = 5_000
"""Most releases that one resync names: those behind them say so when they ask."""
_HARD_FULL = 3
"""So many times its bound a history may grow while there is no quiet moment to leave it."""

_ENDS_IT = (workflow.NondeterminismError, RuntimeError)
"""What the SDK raises where a history does not replay, or where its values can't be read."""


@workflow.defn(
    name=ADMISSION_WORKFLOW,
    versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    failure_exception_types=_ENDS_IT,
)
class AdmissionWorkflow:
    """The queue before the services of one task queue's releases.

    It goes on on the current build. Where that can't replay it, or read what an earlier one wrote,
    it fails, and the next question starts it anew.
    """

    @workflow.init
    def __init__(self, start: AdmissionState | None = None) -> None:
        self._start = (start or AdmissionState()).unpack()
        self._queue = ReleaseQueue(self._start)
        self._ready = self._start.resynced
        self._heard: set[str] = set()
        self._urgent: dict[str, Answer] = {}
        self._unsent: dict[str, Answer] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._bringing = False
        self._changed = True
        self._watched: tuple[str, ...] = ()
        self._watching: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, _: AdmissionState | None = None) -> None:
        """Keep the queue for ever, in runs of bounded length."""
        if not self._ready:
            await self._resync()
        while True:
            await workflow.wait_condition(lambda: self._changed or self._may_end)
            self._changed = False
            self._settle()
            self._watch()
            workflow.set_current_details(pages.admission(self._queue))
            if self._may_end and not self._changed:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state().pack())

    @property
    def _may_end(self) -> bool:
        """Whether this run is long enough, and nothing is on its way from it."""
        info = workflow.info()
        length = info.get_current_history_length()
        long = length >= self._start.most_events or info.is_continue_as_new_suggested()
        unsaid = bool(self._urgent or self._unsent) and not self._overfull
        return long and not self._deliveries and not unsaid

    @property
    def _overfull(self) -> bool:
        """Whether it must end even if much is unsaid; the next run says it."""
        length = workflow.info().get_current_history_length()
        return length >= _HARD_FULL * self._start.most_events

    def _state(self) -> AdmissionState:
        for release in (*self._urgent, *self._unsent):
            self._queue.untold(release)
        return self._queue.dump(self._start.model_copy(update={"resynced": True}))

    # --- what releases say ---

    @workflow.signal(name=SIGNAL_ASK, description="From a release: its services, or what it has.")
    def ask(self, ask: Ask | None = None) -> None:
        """Take a release into the queue; it is told what it may do."""
        if ask is None:
            return
        release = ask.entry.release
        if not self._ready:
            self._heard.add(release)
        self._changed = True
        if not self._queue.take(ask):
            ended = Answer(answered=Answered.BUSY, text="the release has ended", at=workflow.now())
            self._say(release, ended)

    @workflow.signal(name=SIGNAL_LEAVE, description="From a release that has ended.")
    def leave(self, value: Leave | None = None) -> None:
        """Let others have what it had."""
        if value is None:
            return
        if not self._ready:
            self._heard.add(value.release)
        self._queue.leave(value.release, value.run)
        self._urgent.pop(value.release, None)
        self._unsent.pop(value.release, None)
        self._changed = True

    @workflow.query(name=QUERY_STATUS, description="Who has services, and who waits. No input.")
    def status(self, _: Any = None) -> AdmissionState:
        """The whole line."""
        state = self._queue.dump(self._start.model_copy(update={"resynced": self._ready}))
        return state.shown()

    # --- what it says ---

    def _settle(self) -> None:
        for release, answer in self._queue.settle(workflow.now()).items():
            self._say(release, answer)

    def _say(self, release: str, answer: Answer) -> None:
        """Tell a release, in place of what it was to be told; at once what it may act on."""
        self._urgent.pop(release, None)
        self._unsent.pop(release, None)
        if answer.answered is not Answered.QUEUED:
            self._urgent[release] = answer
            if len(self._deliveries) < _AT_ONCE:
                self._begin(self._tell_all())
            return
        self._unsent[release] = answer
        if not self._bringing:
            self._bringing = True
            self._begin(self._bring_all())

    def _begin(self, delivery: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(delivery)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _tell_all(self) -> None:
        while self._urgent and not self._overfull:
            release = next(iter(self._urgent))
            await self._deliver(release, self._urgent.pop(release))

    async def _bring_all(self) -> None:
        """Tell those that only wait, in batches."""
        while self._unsent and not self._overfull:
            some = dict(islice(self._unsent.items(), _BATCH))
            for release in some:
                del self._unsent[release]
            try:
                self._gone(await self._bring(some))
            except FailureError as error:  # for good: they are told when they ask again
                workflow.logger.error("not told", extra={"error": str(error.cause or error)})
        self._bringing = False

    @staticmethod
    async def _bring(answers: dict[str, Answer]) -> tuple[str, ...]:
        ended: tuple[str, ...] = await workflow.execute_activity(
            DELIVER,
            Deliver(answers=answers),
            result_type=tuple[str, ...],
            task_queue=effects_queue(workflow.info().task_queue),
            summary=f"{len(answers)} wait",
            **DELIVER_POLICY.options,
        )
        return tuple(ended)

    async def _deliver(self, release: str, answer: Answer) -> None:
        handle = workflow.get_external_workflow_handle(release_workflow_id(release, here()))
        try:
            await handle.signal(SIGNAL_ADMISSION, answer)
        except FailureError as error:
            # It does not run: a release that does is told sooner or later.
            workflow.logger.info("not heard", extra={"release": release, "error": str(error)})
            self._gone([release])

    def _gone(self, releases: Iterable[str]) -> None:
        """Take out of the queue whom nobody runs any more."""
        gone = [release for release in releases if release in self._queue]
        if gone and self._ready:
            self._queue.drop(gone)
            self._changed = True

    # --- who is there ---

    async def _resync(self) -> None:
        """Learn who has what: the first of a task queue's releases, or a memory that was lost."""
        running = await self._ask_releases()
        for _ in range(_RESYNC_STEPS):
            heard = len(self._heard)
            try:
                await workflow.wait_condition(
                    lambda: self._heard.issuperset(running), timeout=RESYNC_WITHIN_S
                )
                break
            except TimeoutError:
                if len(self._heard) == heard:
                    break
        silent = sorted(set(running) - self._heard)
        if silent:
            workflow.logger.warning("releases are silent", extra={"releases": silent[:10]})
        self._heard.clear()
        self._ready = True
        self._changed = True

    async def _ask_releases(self) -> tuple[str, ...]:
        heard = tuple(sorted(self._heard)[:_HEARD])
        running: tuple[str, ...] = await workflow.execute_activity(
            RESYNC,
            Resync(queue=workflow.info().task_queue, heard=heard),
            result_type=tuple[str, ...],
            task_queue=effects_queue(workflow.info().task_queue),
            summary="which releases run?",
            **RESYNC_POLICY.options,
        )
        return tuple(running)

    def _watch(self) -> None:
        """While anybody waits, look whether one that is waited for has ended without a word.

        One that waits itself is found out when it is told that its turn has come.
        """
        wanted = tuple(self._queue.awaited()[:_WATCHED])
        if wanted == self._watched:
            return
        self._watched = wanted
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.create_task(self._wait_for_end(wanted)) if wanted else None

    async def _wait_for_end(self, releases: tuple[str, ...]) -> None:
        ids = {release_workflow_id(release, here()): release for release in releases}
        queue = effects_queue(workflow.info().task_queue)  # no thousand others wait for it there
        why = "has a release ended without a word?"
        gone = await one_ended(tuple(ids), self._start.poll, why, queue=queue)
        if not gone:
            return  # those in the queue have changed: another look is on its way
        self._queue.drop([ids[one] for one in gone])
        self._watched = ()
        self._changed = True
