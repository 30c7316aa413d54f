"""What one caller may cost an HTTP server: bounds on connections, header sizes and time.

uvicorn closes a connection that idles between two requests, and no other: one that sends its head
or body a byte at a time would stay for ever, and enough of them would take every file descriptor of
the process.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_log = logging.getLogger("aviary.http")

SPARE_FILES: Final = 256
"""File descriptors kept for everything else in the process (Kafka, Temporal, files), and for what
is accepted before those beyond the limit are closed."""
ENOUGH_FILES: Final = 65_536
BACKLOG: Final = 100
"""Connections accepted at once; more of them wait in the kernel."""
LOG_EVERY_S: Final = 10.0
PROLONG: Final = "aviary.prolong"
"""In a scope: what gives the reader of an answer its time again, as it has taken a part of it."""


@dataclass(frozen=True)
class Limits:
    """The bounds of one server."""

    connections: int = 512
    """Connections at the same time, at least 1; beyond, the one that has been sending its head for
    longest is closed, or the newest where all others are being answered."""
    head_s: float = 10.0
    """Seconds from the first chance to send a request line to the end of its headers; before that,
    seconds for a TLS handshake."""
    body_s: float = 30.0
    """Seconds for the body after that."""
    answer_s: float = 60.0
    """Seconds for the answer after that, until the caller has taken all of it; of a stream, each
    part of it."""
    head_bytes: int = 65_536
    """Bytes of a request line and its headers."""

    def within(self, files: int) -> Limits:
        """These limits, with no more connections than a process of so many files can have."""
        return replace(self, connections=max(1, min(self.connections, files - SPARE_FILES)))


def open_files() -> int:
    """How many files this process may have open, after asking for what it is allowed and needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Closed(StrEnum):
    """Why the server closed a connection by itself."""

    HANDSHAKE = "its TLS handshake took too long"
    HEAD = "its head took too long"
    BODY = "its body took too long"
    ANSWER = "its answer was not taken in time"
    HEAD_SIZE = "its head is too large"
    TOO_MANY = "there are too many connections"


class Tally:
    """Counts closed connections, and logs them at a bounded rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at: float | None = None
        self._untold: dict[Closed, int] = {}

    def count(self, why: Closed) -> None:
        """Note one; a line at most every `LOG_EVERY_S` says how many there were, and why."""
        self._untold[why] = self._untold.get(why, 0) + 1
        now = self._clock()
        if self._told_at is not None and now - self._told_at < LOG_EVERY_S:
            return
        self._told_at = now
        counts = {reason.value: number for reason, number in self._untold.items()}
        self._untold.clear()
        _log.warning("connections_closed", extra={"since_last_line": counts})


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which closes connections that go beyond the limits."""

    limits: ClassVar[Limits] = Limits()
    tally: ClassVar[Tally] = Tally()
    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    """Until the headers of a request are complete, and again from the end of its body."""
    _parts = 0
    """Heads and bodies that were complete so far."""
    _head_bytes = 0
    silent_since = 0.0
    handshaken: Callable[[], None] = staticmethod(lambda: None)
    """Called once there is a connection to read from: where it speaks TLS, after the handshake."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, and begin to wait for its first head."""
        self.handshaken()
        super().connection_made(transport)
        self.silent_since = self.loop.time()
        if len(self.connections) > self.limits.connections:
            self._make_room()
        self._expect(self.limits.head_s, Closed.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head must end within its size and its time."""
        before = self._parts
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes = self._head_bytes + len(data) if self._parts == before else 0
        if self._head_bytes > self.limits.head_bytes:
            self._close(Closed.HEAD_SIZE)
        elif self._deadline is None:  # uvicorn's own, between two requests, has just been ended
            self._expect(self.limits.head_s, Closed.HEAD)

    def on_headers_complete(self) -> None:
        """Wait for the body."""
        super().on_headers_complete()
        # A stream has no end within a time; its reader has to take each part of it within one.
        self.scope[PROLONG] = self._prolong  # type: ignore[typeddict-unknown-key]
        self._in_head = False
        self._parts += 1
        self._expect(self.limits.body_s, Closed.BODY)

    def on_message_complete(self) -> None:
        """Wait for the answer."""
        super().on_message_complete()
        self._in_head = True
        self._parts += 1
        self.silent_since = self.loop.time()
        if self._answering:
            self._expect(self.limits.answer_s, Closed.ANSWER)

    def on_response_complete(self) -> None:
        """Go on with the next request; what an answered one still sends is not waited for."""
        self._expect_nothing()
        if not self._in_head and not self._answering:
            self.transport.close()
        super().on_response_complete()
        if self._answering:
            self._expect(self.limits.answer_s, Closed.ANSWER)

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _prolong(self) -> None:
        if self._answering and self._in_head:
            self._expect(self.limits.answer_s, Closed.ANSWER)

    def _expect(self, seconds: float, otherwise: Closed) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._close, otherwise)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self, why: Closed) -> None:
        self.tally.count(why)
        self.transport.abort()

    def _make_room(self) -> None:
        """Close whoever has not said for longest what it wants; us, where all have."""
        others: list[Any] = [each for each in self.connections if each is not self]
        silent = [each for each in others if each.is_silent]
        oldest = min(silent, key=lambda each: each.silent_since, default=self)
        oldest._close(Closed.TOO_MANY)  # noqa: SLF001 - one of us

    @property
    def is_silent(self) -> bool:
        """Whether it has no request that is being received or answered."""
        return self._in_head and not self._answering and not self.transport.is_closing()


def limited(limits: Limits) -> type[LimitedProtocol]:
    """The protocol of one server, with its own limits and count."""
    return type("_Limited", (LimitedProtocol,), {"limits": limits, "tally": Tally()})
