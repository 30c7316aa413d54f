"""How often judges send a heartbeat: often while they are few, and never more than is good.

Each heartbeat is a write of Temporal's, and a cancellation is heard with the answer to one. A few
judges send one every few seconds, whatever their time-out is; thousands share what a server
takes beside its other work, as far as their time-out lets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

SOONEST: Final = timedelta(seconds=5)
LATEST: Final = timedelta(seconds=30)
_READINGS: Final = 2
_FASTEST_S: Final = 5 / 3
_RATE: Final = 80.0
"""Heartbeats a second of one process, unless that would be too few for the time-out."""
_READING_RATE: Final = 100.0
"""Readings a second of one process, beyond those that are due once an interval."""
_IN_TIME: Final = 0.7
"""Of the time-out: leaves time for a server that is slow."""


def lost_after(interval: timedelta) -> timedelta:
    """How long a judge may be silent until another attempt takes over: two readings, 5 to 30 s.

    Args:
        interval: between two readings.
    """
    return min(max(_READINGS * interval, SOONEST), LATEST)


class SharedHeartbeat:
    """Paces the heartbeats of the judges of one process."""

    def __init__(self) -> None:
        """Begin without a judge."""
        self._judges = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One more judge, for as long as the block lasts."""
        self._judges += 1
        try:
            yield
        finally:
            self._judges -= 1

    @property
    def judges(self) -> int:
        """How many there are."""
        return self._judges

    @property
    def at_leisure(self) -> bool:
        """Whether each judge may send one for each reading as well."""
        return self._judges <= _RATE * _FASTEST_S

    @property
    def between_readings(self) -> float:
        """Seconds that each judge leaves at least between two readings, but for its interval."""
        return self._judges / _READING_RATE

    def pause(self, timeout: timedelta) -> float:
        """Seconds between two heartbeats of a judge that is taken for lost after `timeout`."""
        latest = _IN_TIME * timeout.total_seconds()
        return min(max(_FASTEST_S, self._judges / _RATE), latest)
