"""What a workflow still has to say: sent in order, in the background, while the work goes on.

Nothing here may stand in the way of a rollback. Whatever is sent has a bound far below what
Temporal and Kafka take, few calls are under way at a time, and what can never be sent is dropped,
loudly: the history keeps it. What can't be sent now is sent later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.announce import NOTIFY, NOTIFY_POLICY, PUBLISH, PUBLISH_POLICY, Events
    from activities.report_delivery import PendingReport
    from schemas.events import CloudEvent
    from schemas.fitting import fit, fitted, size_of
    from schemas.ids import SIGNAL_REPORT, effects_queue
    from schemas.notice import Notice
    from schemas.release import REPORT_BYTES, CanaryReport

EVENT_BYTES = 256 * 1024
"""Of one event's data: Kafka's own default takes 1 MB."""
BATCH_BYTES = 512 * 1024
NOTICE_BYTES = 32 * 1024
WAITING_NOTICES = 200
"""More are not kept: they are for people, who have enough then."""
AT_ONCE_BYTES = 1024 * 1024
_NOTICES_AT_ONCE = 10
_LARGE = ("depends_on", "groups", "stages", "labels", "services")
"""Of an event's data, what may be long because the release is large; left out in this order."""


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
            self._pending.append(fitted(report, REPORT_BYTES))

    async def delivered(self) -> None:
        """Return once what was put is on its way to the release, or nobody hears."""
        await workflow.wait_condition(lambda: self.all_delivered)

    @property
    def all_delivered(self) -> bool:
        """Whether what was put is on its way to the release, or nobody hears."""
        return self.orphaned or (self._idle and not self._pending)

    def pending(self, report: CanaryReport) -> PendingReport | None:
        """A report for an activity to deliver; None when nobody would hear it."""
        parent = workflow.info().parent
        if parent is None or self.orphaned:
            return None
        return PendingReport(workflow_id=parent.workflow_id, report=fitted(report, REPORT_BYTES))

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


class Pace:
    """Lets so much be under way at once that one workflow task's commands are never too large."""

    def __init__(self, most: int = AT_ONCE_BYTES) -> None:
        self._most = most
        self._under_way = 0

    @asynccontextmanager
    async def room(self, *values: object) -> AsyncIterator[None]:
        """Wait until there is room for the values, or nothing else is under way."""
        size = sum(size_of(value) for value in values)
        while self._under_way and self._under_way + size > self._most:
            await workflow.wait_condition(
                lambda: not self._under_way or self._under_way + size <= self._most
            )
        self._under_way += size
        try:
            yield
        finally:
            self._under_way -= size


class Announcer:
    """A release's events, in order and in batches, and its notices."""

    def __init__(self) -> None:
        self._events: deque[CloudEvent] = deque()
        self._publishing = False
        self._notices: deque[Notice] = deque()
        self._notifying: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to publish; call once, from `run`."""
        self._task = asyncio.create_task(self._publish())

    def publish(self, event: CloudEvent) -> None:
        """Publish after those before it; it fits into one record (`fitting`)."""
        self._events.append(event)

    def notify(self, notice: Notice) -> None:
        """Tell people, best effort."""
        if len(self._notices) >= WAITING_NOTICES:
            workflow.logger.error("too many notices: dropped one", extra={"kind": notice.kind})
            return
        self._notices.append(fitted(notice, NOTICE_BYTES))
        if len(self._notifying) < _NOTICES_AT_ONCE:
            task = asyncio.create_task(self._notify_all())
            self._notifying.add(task)
            task.add_done_callback(self._notifying.discard)

    async def finish(self) -> None:
        """Return when every event is published, or can never be, and every notice was tried."""
        await workflow.wait_condition(
            lambda: not self._events and not self._publishing and not self._notifying
        )

    async def _publish(self) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._events))
            self._publishing = True
            await self._publish_batch(batch(self._events))
            self._publishing = False

    async def _publish_batch(self, events: Events) -> None:
        """One batch; where Kafka refuses one for good, each of its events by itself."""
        try:
            await self._publish_now(events)
        except FailureError as error:  # terminal only
            if len(events.events) > 1:
                for one in events.events:
                    await self._publish_batch(Events(events=(one,)))
                return
            workflow.logger.error(
                "an event can never be published; this history keeps it",
                extra={"event": events.events[0].id, "error": str(error.cause or error)},
            )

    @staticmethod
    async def _publish_now(events: Events) -> None:
        await workflow.execute_activity(
            PUBLISH,
            events,
            task_queue=effects_queue(workflow.info().task_queue),
            summary=", ".join(event.type.split(".")[-2] for event in events.events[:4]),
            **PUBLISH_POLICY.options,
        )

    async def _notify_all(self) -> None:
        while self._notices:
            await self._notify(self._notices.popleft())

    async def _notify(self, notice: Notice) -> None:
        try:
            await workflow.execute_activity(
                NOTIFY,
                notice,
                task_queue=effects_queue(workflow.info().task_queue),
                summary=f"notice: {notice.kind}",
                **NOTIFY_POLICY.options,
            )
        except FailureError as error:
            workflow.logger.error(
                "a notice could not be delivered",
                extra={"kind": notice.kind, "error": str(error.cause or error)},
            )


def fitting(event: CloudEvent) -> CloudEvent:
    """The event, or one that says less of a release which is too large for one record."""
    data = event.data
    for name in _LARGE:
        if size_of(data) <= EVENT_BYTES:
            break
        if name in data:
            data = {**data, name: type(data[name])()}
    if size_of(data) > EVENT_BYTES:
        data = fit(data, EVENT_BYTES)
    return event if data is event.data else event.model_copy(update={"data": data})


def batch(events: deque[CloudEvent]) -> Events:
    """Take the first of the events, as many as one call may carry and at least one."""
    taken, size = [events.popleft()], 0
    size = size_of(taken[0])
    while events and size + (more := size_of(events[0])) <= BATCH_BYTES:
        taken.append(events.popleft())
        size += more
    return Events(events=tuple(taken))
