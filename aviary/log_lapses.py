"""An attempt of an activity that Temporal has given up: one quiet line, and no traceback.

The SDK logs it as a failure with the stack at which the attempt was cancelled. It is none: a worker
that had no CPU or no network for some seconds finds that another attempt goes on elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from temporalio import activity

_FAILED: Final = "Completing activity as failed"
_WHY: Final = {
    "timed_out": "its heartbeat lapsed",
    "not_found": "Temporal does not know it any more",
    "worker_shutdown": "its worker ends",
}


class Lapses(logging.Filter):
    """Makes such a record say what it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        error = record.exc_info[1] if record.exc_info else None
        given_up = isinstance(error, asyncio.CancelledError)
        if given_up and str(record.msg).startswith(_FAILED):
            record.msg = str(record.msg).replace(_FAILED, f"an attempt was given up: {_why()}", 1)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            return logging.getLogger(record.name).isEnabledFor(logging.INFO)
        return True


def _why() -> str:
    details = activity.cancellation_details() if activity.in_activity() else None
    found = (words for name, words in _WHY.items() if getattr(details, name, False))
    return next(found, "it was cancelled")


def quiet_lapses() -> None:
    """Have the SDK's logger of activities do so; more than once is the same as once."""
    logger = logging.getLogger("temporalio.activity")
    if not any(isinstance(each, Lapses) for each in logger.filters):
        logger.addFilter(Lapses())
