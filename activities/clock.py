"""The time, as Temporal's server has it: a worker's own clock may be wrong by hours.

When a bake began, when a weight changed and when an attempt started are the server's times. Held
against a clock that is an hour ahead, a bake would be over at once, and Prometheus would be asked
about a time that has not come.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import datetime, timedelta

from temporalio import activity

_BEGAN: ContextVar[tuple[datetime, float] | None] = ContextVar("began", default=None)


def server_now() -> datetime:
    """Now by the server's clock, in an activity: its start of this attempt, and the time since.

    Call it first at the beginning of the activity; behind the server it is by what the task's way
    to the worker took.
    """
    began = _BEGAN.get()
    if began is None:
        began = (activity.info().started_time, time.monotonic())
        _BEGAN.set(began)
    started, then = began
    return started + timedelta(seconds=time.monotonic() - then)
