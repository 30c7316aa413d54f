"""Reports as files in a folder, each written whole or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from pydantic import ValidationError
from temporalio.service import RPCError

from adapters.errors import Retryable, Terminal
from aviary.report.page import render
from schemas.timeline import Timeline

TimelineSource = Callable[[str], Awaitable[Timeline]]
_PUBLIC = 0o644


EventSource = Callable[[str], Awaitable[Sequence[str]]]
AUDIT_SUFFIX: Final = ".audit.jsonl"
"""Ends the name of the file with what a release told, beside its report."""


class ReportFolder:
    """Writes `<release>.html` into a folder, and `<release>.audit.jsonl` with its hash chain.

    Args:
        folder: made when it is not there.
        timeline: finds the timeline of a release.
        events: finds what it told on `aviary.events`; None: no such file is written.
        clock: now, in UTC.
    """

    def __init__(
        self,
        folder: Path,
        timeline: TimelineSource,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        events: EventSource | None = None,
    ) -> None:
        self._folder = folder
        self._timeline = timeline
        self._clock = clock
        self._events = events

    async def write(self, release: str) -> None:
        """Write a release's report, in place of an earlier one.

        Raises:
            Terminal: its history is of another version of Aviary.
            Retryable: Temporal can't answer, or the folder can't be written (a full disk, too).
        """
        try:
            events = await self._events(release) if self._events else None
            timeline = await self._timeline(release)
        except RPCError as error:
            raise Retryable(f"release {release}: {error.message}") from error
        except ValidationError as error:
            raise Terminal(f"release {release}: its history can't be read: {error}") from error
        try:
            if events is not None:
                await asyncio.to_thread(self._put_events, release, events)
            await asyncio.to_thread(self._put, release, timeline)
        except OSError as error:
            raise Retryable(f"{self._folder}: {error.strerror or error}") from error

    def _put_events(self, release: str, events: Sequence[str]) -> None:
        lines = "".join(f"{one}\n" for one in events)
        write_whole(self._folder / f"{release}{AUDIT_SUFFIX}", lines)

    def _put(self, release: str, timeline: Timeline) -> None:
        write_whole(self._folder / f"{release}.html", render(timeline, self._clock()))


def write_whole(target: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it.

    Raises:
        OSError: it can't be written; what was there before is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=".report-", delete=False
    ) as file:
        made = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            made.chmod(_PUBLIC)
            made.replace(target)
        except BaseException:
            with suppress(FileNotFoundError):
                made.unlink()
            raise
