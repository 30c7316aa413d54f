"""What a workflow still has to say: sent in order, in the background, while the work goes on."""

from __future__ import annotations

import asyncio
from collections import deque

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.announce import NOTIFY, NOTIFY_POLICY, PUBLISH, PUBLISH_POLICY, Events
    from activities.tell import Telling
    from schemas.events import CloudEvent
    from schemas.ids import SIGNAL_REPORT, effects_queue
    from schemas.notice import Notice
    from schemas.release import CanaryReport


class Reports:
    """A canary's reports to its release."""

    def __init__(self) -> None:
        self._pending: deque[CanaryReport] = deque()
        self._idle = True
        self.orphaned = False
        """No release hears this canary: it was terminated, or there never was one."""

    def start(self) -> None:
        """Begin to send; call once, from `run`."""
        parent = workflow.info().parent
        if parent is None:
            self.orphaned = True
            return
        # Whichever run there is: a release that was reset goes on in another.
        handle = workflow.get_external_workflow_handle(parent.workflow_id)
        self._task = asyncio.create_task(self._send(handle))

    def put(self, report: CanaryReport) -> None:
        """Send after those before it."""
        if not self.orphaned:
            self._pending.append(report)

    async def delivered(self) -> None:
        """Return once what was put is on its way to the release, or nobody hears."""
        await workflow.wait_condition(lambda: self.orphaned or (self._idle and not self._pending))

    def letter(self, report: CanaryReport) -> Telling | None:
        """A report for an activity to deliver; None when nobody would hear it."""
        parent = workflow.info().parent
        if parent is None or self.orphaned:
            return None
        return Telling(workflow_id=parent.workflow_id, report=report)

    async def _send(self, release: workflow.ExternalWorkflowHandle[object]) -> None:
        while not self.orphaned:
            await workflow.wait_condition(lambda: bool(self._pending))
            self._idle = False
            report = self._pending.popleft()
            try:
                await release.signal(SIGNAL_REPORT, report)
            except FailureError as error:
                workflow.logger.warning("the release does not hear", extra={"error": str(error)})
                self.orphaned = True
            self._idle = True


class Announcer:
    """A release's events, in order and in batches, and its notices."""

    def __init__(self) -> None:
        self._events: list[CloudEvent] = []
        self._publishing = False
        self._notices: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to publish; call once, from `run`."""
        self._task = asyncio.create_task(self._publish())

    def publish(self, event: CloudEvent) -> None:
        """Publish after those before it."""
        self._events.append(event)

    def notify(self, notice: Notice) -> None:
        """Tell people, best effort."""
        task = asyncio.create_task(self._notify(notice))
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def finish(self) -> None:
        """Return when every event is published and every notice was tried."""
        await workflow.wait_condition(
            lambda: not self._events and not self._publishing and not self._notices
        )

    async def _publish(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._events))
            batch = Events(events=tuple(self._events))
            self._events.clear()
            self._publishing = True
            await self._publish_batch(batch)
            self._publishing = False

    async def _publish_batch(self, batch: Events) -> None:
        try:
            await workflow.execute_activity(
                PUBLISH,
                batch,
                task_queue=effects_queue(workflow.info().task_queue),
                start_to_close_timeout=PUBLISH_POLICY.start_to_close,
                retry_policy=PUBLISH_POLICY.retry,
                summary=", ".join(event.type.split(".")[-2] for event in batch.events[:4]),
            )
        except FailureError as error:  # terminal only: Kafka will never take it
            workflow.logger.error(
                "events could not be published; this history keeps them",
                extra={"events": [event.id for event in batch.events], "error": str(error)},
            )

    async def _notify(self, notice: Notice) -> None:
        try:
            await workflow.execute_activity(
                NOTIFY,
                notice,
                task_queue=effects_queue(workflow.info().task_queue),
                start_to_close_timeout=NOTIFY_POLICY.start_to_close,
                schedule_to_close_timeout=NOTIFY_POLICY.schedule_to_close,
                retry_policy=NOTIFY_POLICY.retry,
                summary=f"notice: {notice.kind}",
            )
        except FailureError as error:
            workflow.logger.error(
                "a notice could not be delivered",
                extra={"kind": notice.kind, "error": str(error.cause or error)},
            )
