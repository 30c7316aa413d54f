"""Say what happened: events for other systems, notices for people."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.common import RetryPolicy

from activities.policy import Policy, forever, terminal_errors
from adapters.errors import Terminal
from adapters.ports import EventLog, Notifier
from schemas.base import Model
from schemas.cdevents_out import CdVersion, with_cdevents
from schemas.events import CloudEvent
from schemas.notice import Notice

PUBLISH: Final = "aviary.events.publish"
NOTIFY: Final = "aviary.notify"

PUBLISH_POLICY = Policy(start_to_close=timedelta(seconds=8), retry=forever(timedelta(seconds=10)))
NOTIFY_POLICY = Policy(
    start_to_close=timedelta(seconds=15),
    retry=RetryPolicy(initial_interval=timedelta(seconds=1)),
    schedule_to_close=timedelta(minutes=1),
)
"""A notice is tried for a minute: the state and the events remain, and nothing waits for it."""


class Events(Model):
    """Events to append, in order."""

    events: tuple[CloudEvent, ...]


class AnnounceActivities:
    """Activities over the event log and the notifier."""

    def __init__(
        self, log: EventLog, notifier: Notifier, *, cdevents: CdVersion | None = None
    ) -> None:
        """Publish to this log and tell this notifier; `cdevents`: CDEvents beside our own."""
        self._log = log
        self._notifier = notifier
        self._cdevents = cdevents

    @activity.defn(name=PUBLISH)
    async def publish(self, batch: Events) -> None:
        """Append events in order; a retry may append some again, under the same ids."""
        with terminal_errors():
            try:
                events = batch.events
                if self._cdevents is not None:
                    events = with_cdevents(events, self._cdevents)
                await self._log.publish(events)
            except ValueError as error:  # what can't be written now can't be written later
                raise Terminal(f"an event can't be written: {error}") from error

    @activity.defn(name=NOTIFY)
    async def notify(self, notice: Notice) -> None:
        """Deliver one notice; a retry may deliver it again."""
        with terminal_errors():
            await self._notifier.notify(notice)
