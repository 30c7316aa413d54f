"""What a release has published, read once for all who follow it, and resumed by the last id.

The events are those of the release's own history: they are there before Kafka has them, in the same
order and under the same ids, for as long as Temporal keeps the release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import structlog

from aviary.api.looks import as_json
from aviary.api.problems import Problem
from aviary.api.source import Published, ReleaseSource

FOLLOWED_MOST: Final = 100
"""Releases that are followed at the same time."""
HELD_MOST: Final = 128 * 1024 * 1024
"""Bytes of events that are held for all of them together."""
_RESUME_S: Final = 5.0
IDLE_S: Final = 30.0
"""How long a release that nobody follows any more is still read."""
_log = structlog.get_logger("aviary.webhook")


class Record:
    """The events of one release so far; whoever follows reads at its own pace."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._at: dict[str, int] = {}
        self._changed = asyncio.Event()
        self.held = 0
        self.followers = 0
        self.caught_up = False
        """What had been published when the reading began has been read."""
        self.ended = False
        """Nothing more comes: the release has ended."""
        self.problem: Problem | None = None
        """Why nothing more could be read."""

    def add(self, published: Published) -> None:
        """Note what was published; an event that was noted already is not noted again."""
        self.caught_up = self.caught_up or published.caught_up
        for event in published.events:
            if isinstance(event, dict) and (frame := _frame(event)):
                name = str(event["id"])
                if name not in self._at:
                    self._at[name] = len(self._frames)
                    self._frames.append(frame)
                    self.held += len(frame)
        self.wake()

    def wake(self) -> None:
        """Tell all who wait that there is something new."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def resumed(self, last: str | None) -> int:
        """Where to go on after an event; from the beginning where it is not known.

        What was published before is read first, which takes a moment.
        """
        while last and last not in self._at and not self.caught_up and not self.over:
            await self.more(len(self._frames), _RESUME_S)
        return self._at.get(last, -1) + 1 if last else 0

    def frames(self, at: int, most: int) -> list[bytes]:
        """The frames from a place on, of at most so many bytes together and at least one."""
        taken: list[bytes] = []
        size = 0
        for frame in self._frames[at : at + 1000]:
            size += len(frame)
            if taken and size > most:
                break
            taken.append(frame)
        return taken

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended or self.problem is not None

    async def more(self, at: int, within_s: float) -> None:
        """Return when there is more than was read, or the time is over."""
        changed = self._changed
        if len(self._frames) > at or self.over:
            return
        try:
            await asyncio.wait_for(changed.wait(), within_s)
        except TimeoutError:
            return


def _frame(event: dict[str, Any]) -> bytes:
    """An event as it goes over the wire; empty for what is none."""
    name = event.get("id")
    if not isinstance(name, str) or not name.isprintable() or not name.isascii():
        return b""
    told = {key: value for key, value in event.items() if value is not None}
    return b"id: %s\ndata: %s\n\n" % (name.encode(), as_json(told))


class Records:
    """The records of the releases that are followed.

    Args:
        source: read for them.
    """

    def __init__(self, source: ReleaseSource) -> None:
        self._source = source
        self._records: dict[str, Record] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, release: str) -> tuple[Record, Callable[[], None]]:
        """The record of a release, which is read from now on, and how to leave it.

        Raises:
            Problem: too many are followed already.
        """
        record = self._records.get(release)
        if record is None or record.problem is not None:
            held = sum(one.held for one in self._records.values())
            if len(self._records) >= FOLLOWED_MOST or held > HELD_MOST:
                text = "too many releases are followed now, expected it again later"
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", text)
            record = self._records[release] = Record()
            task = asyncio.create_task(self._read(release, record))
            self._tasks[release] = task
        record.followers += 1
        return record, lambda: self._left(release, record)

    def _left(self, release: str, record: Record) -> None:
        record.followers -= 1
        if record.followers == 0:
            loop = asyncio.get_running_loop()
            loop.call_later(0.0 if record.problem else IDLE_S, self._forget, release, record)

    def _forget(self, release: str, record: Record) -> None:
        if record.followers or self._records.get(release) is not record:
            return
        del self._records[release]
        self._tasks.pop(release).cancel()

    async def _read(self, release: str, record: Record) -> None:
        try:
            async for published in self._source.events(release):
                record.add(published)
            record.ended = True
        except Problem as problem:
            record.problem = problem
        except Exception:  # noqa: BLE001 - told to whoever follows, and logged whole
            record.problem = Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR, "fault", "the record of the release can't be read"
            )
            _log.exception("release_record_fault", release=release)
        finally:
            record.wake()

    async def aclose(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
