"""What callers from outside can make a process log: so many lines of a kind, then their count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PER_S: Final = 10.0
MOST: Final = 20
"""Lines of one kind in each `PER_S` seconds."""
_KINDS: Final = 1000
"""Kinds remembered; there are a few, unless a text from outside is one."""
CALLED_FROM_OUTSIDE: Final = ("uvicorn.error", "asyncio", "aviary.http", "aviary.webhook")


@dataclass
class _Window:
    began: float
    lines: int = 0
    left_out: int = 0


class RateFilter(logging.Filter):
    """Lets `MOST` records of a kind through in each `PER_S`; the next one says how many it did not.

    A kind is a logger, a level and an event (the text without its arguments).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Count by this clock, in seconds."""
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int, str], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written."""
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
        kind = (record.name, record.levelno, str(event)[:100])
        now = self._clock()
        window = self._windows.get(kind)
        if window is None or now - window.began >= PER_S:
            if window is not None and window.left_out:
                _say(record, window.left_out)
            if len(self._windows) >= _KINDS:
                self._windows.clear()
            window = self._windows[kind] = _Window(now)
        window.lines += 1
        if window.lines > MOST:
            window.left_out += 1
            return False
        return True


def _say(record: logging.LogRecord, left_out: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "left_out_before": left_out}
    else:
        record.left_out_before = left_out


def limit_rates() -> None:
    """Bound what callers from outside can make this process log."""
    for name in CALLED_FROM_OUTSIDE:
        logger = logging.getLogger(name)
        logger.filters[:] = [each for each in logger.filters if not isinstance(each, RateFilter)]
        logger.addFilter(RateFilter())
