"""What the load saw: requests and failures by version, shares, and when a version was last asked.

Pure: fed with responses, read as a document. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_SERVER_ERROR: Final = 500
_WINDOW_MS: Final = 3_000
_SHARE_FROM: Final = 20
"""Requests in the window below which a share says nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a service, from a user or from another service."""

    service: str
    version: str
    """`?` when nobody of the service answered."""
    status: int
    """0 when there was no response."""
    started: float

    @property
    def failed(self) -> bool:
        """No response, or one that blames the server."""
        return self.status == 0 or self.status >= _SERVER_ERROR


@dataclass(slots=True)
class VersionTally:
    """One version of one service."""

    sent: int = 0
    failed: int = 0
    largest_share: float = 0.0
    """Percent of its service's requests within three seconds."""
    last_started: float | None = None
    """When the last request that it answered was started."""


@dataclass(slots=True)
class UserTally:
    """What users saw: their own requests only."""

    sent: int = 0
    failed: int = 0
    degraded: int = 0
    """Answered, with a part missing below."""
    unanswered: int = 0
    """Of these, with a part below that gave no answer in time, or lost its connection."""
    held_back: int = 0
    """Not sent, because too many were under way."""


@dataclass(slots=True)
class _Window:
    calls: deque[tuple[float, str]] = field(default_factory=deque)
    counts: Counter[str] = field(default_factory=Counter)


def parse_calls(served_by: str, status: int, started: float, calls: str) -> list[Call]:
    """Read a response's `x-served-by` and `x-calls` headers, the user's own request first.

    Raises:
        ValueError: a part that the shop does not write.
    """
    service, _, version = served_by.partition("/")
    found = [Call(service, version, status, started)]
    for part in calls.split():
        who, _, rest = part.rpartition("=")
        code, _, at = rest.partition("@")
        service, _, version = who.partition("/")
        found.append(Call(service, version, int(code), float(at)))
    return found


class Tally:
    """Counts what the load saw."""

    def __init__(self) -> None:
        self.users = UserTally()
        self._versions: defaultdict[tuple[str, str], VersionTally] = defaultdict(VersionTally)
        self._windows: defaultdict[str, _Window] = defaultdict(_Window)

    def add(self, calls: Sequence[Call]) -> None:
        """Count one user's request (the first call) and the calls below it."""
        own, *below = calls
        self.users.sent += 1
        self.users.failed += own.failed
        if not own.failed and any(call.failed for call in below):
            self.users.degraded += 1
            self.users.unanswered += any(call.status == 0 for call in below)
        for call in calls:
            self._count(call)

    def reset(self) -> None:
        """Begin again: a new scenario."""
        self.users = UserTally()
        self._versions.clear()
        self._windows.clear()

    def document(self) -> dict[str, Any]:
        """All counts: `users`, and `versions` by `service/version`."""
        versions = {
            f"{service}/{version}": asdict(tally)
            for (service, version), tally in sorted(self._versions.items())
        }
        return {"users": asdict(self.users), "versions": versions}

    def _count(self, call: Call) -> None:
        tally = self._versions[call.service, call.version]
        tally.sent += 1
        tally.failed += call.failed
        tally.last_started = max(tally.last_started or 0.0, call.started)
        window = self._windows[call.service]
        window.calls.append((call.started, call.version))
        window.counts[call.version] += 1
        while window.calls[0][0] < call.started - _WINDOW_MS:
            window.counts[window.calls.popleft()[1]] -= 1
        total = len(window.calls)
        if total >= _SHARE_FROM:
            share = 100 * window.counts[call.version] / total
            tally.largest_share = max(tally.largest_share, round(share, 1))
