"""Ports of what is told: events for other systems, reports and notices for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schemas.events import CloudEvent
from schemas.notice import Notice


class EventLog(Protocol):
    """Keeps what happened for other systems."""

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Append the events in order; returns once they are durable."""


class ReportWriter(Protocol):
    """Keeps the reports of releases where people find them."""

    async def write(self, release: str) -> None:
        """Write the report of a release, in place of an earlier one."""


class Notifier(Protocol):
    """Tells people."""

    async def notify(self, notice: Notice) -> None:
        """Deliver one notice."""
