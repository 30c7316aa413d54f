"""Releases as they are now: however many ask, Temporal is asked once a second."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from adapters.links import Links
from aviary.api.source import Look, ReleaseSource
from aviary.releases.data import status_as_data
from aviary.releases.words import words_now

FRESH_S: Final = 1.0
"""How old an answer may be."""
_KEPT: Final = 500
"""Releases whose last answer is kept."""
_AT_ONCE: Final = 8
"""Releases that are asked for at the same time."""


@dataclass(frozen=True)
class Shown:
    """A release as it is told to callers."""

    body: bytes
    """JSON."""
    etag: str
    services: frozenset[str]
    closed: bool
    look: Look
    """What it tells."""


class Looks:
    """Answers with a release as it is now, or was a second ago.

    Args:
        source: asked for releases.
        links: where the pages about them are.
        clock: seconds, never going back.
    """

    def __init__(
        self, source: ReleaseSource, links: Links, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._links = links
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, asyncio.Task[Shown]]] = OrderedDict()
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def at(self, release: str, *, fresh: bool = False) -> Shown:
        """A release now; one question of it is under way at a time.

        Args:
            release: its id.
            fresh: ask now, even if an answer is a moment old.

        Raises:
            Problem: there is none, or nobody answers.
        """
        asked, task = self._kept.get(release, (0.0, None))
        old = fresh or self._clock() - asked >= FRESH_S
        if task is None or (task.done() and old):
            task = asyncio.create_task(self._look(release))
            task.add_done_callback(_read)
            self._kept[release] = (self._clock(), task)
            self._drop()
        # A caller that goes away takes nobody else's answer with it.
        return await asyncio.shield(task)

    def _drop(self) -> None:
        for release, (_, task) in list(self._kept.items()):
            if len(self._kept) <= _KEPT:
                return
            if task.done():
                del self._kept[release]

    async def _look(self, release: str) -> Shown:
        async with self._limit:
            look = await self._source.look(release)
            return await asyncio.to_thread(shown, look, self._links)


def _read(look: asyncio.Task[Shown]) -> None:
    """Whoever asked may have gone, and a failure that nobody reads would be logged as a fault."""
    if not look.cancelled():
        look.exception()


def shown(look: Look, links: Links) -> Shown:
    """A release as JSON: all of its answer, its canaries', and what may be said to it."""
    status = look.status
    lives = {name: one.live for name, one in look.sights.items() if one.live is not None}
    data: dict[str, Any] = {
        **status_as_data(status, look.canaries),
        "live": {name: live.model_dump(mode="json") for name, live in lives.items()},
        "trouble": {name: one.trouble for name, one in look.sights.items() if one.trouble},
        "may": words_now(status, look.canaries),
        "links": links.pages(status.release),
    }
    body = as_json(data)
    services = frozenset(one.service for one in status.services)
    return Shown(body, etag_of(body), services, status.phase.closed, look)


def as_json(data: Any) -> bytes:
    """Plain data as JSON."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def etag_of(body: bytes) -> str:
    """The entity tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
