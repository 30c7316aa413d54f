"""What every activity's policy is made of, and how adapter errors become Temporal's.

Each capability keeps its own `Policy` beside its activities; workflows spread it into the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from adapters.errors import Retryable, Terminal, UnknownRoute

_NAP_S = 2.0
FIRST_RETRY = timedelta(milliseconds=100)


def forever(cap: timedelta) -> RetryPolicy:
    """Retry without end, the pause doubling up to `cap`."""
    return RetryPolicy(
        initial_interval=min(FIRST_RETRY, cap), backoff_coefficient=2, maximum_interval=cap
    )


@dataclass(frozen=True)
class Policy:
    """Time-outs and retries of one activity."""

    start_to_close: timedelta
    """Longest attempt; also bounds how long an attempt lost with its worker goes unnoticed."""
    retry: RetryPolicy
    heartbeat: timedelta | None = None
    schedule_to_close: timedelta | None = None
    """Longest for all attempts; None on whatever must not be given up."""


async def rest(seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Sleep with heartbeats, however long: an activity that only waits is alive."""
    while seconds > 0:
        activity.heartbeat()
        nap = min(seconds, _NAP_S)
        await sleep(nap)
        seconds -= nap


@contextmanager
def terminal_errors() -> Iterator[None]:
    """Turn `Terminal` into a non-retryable failure that keeps its type's name.

    Everything else, `Retryable` included, is retried by the activity's policy.
    """
    try:
        yield
    except Terminal as error:
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error


@contextmanager
def may_come_back() -> Iterator[None]:
    """Take a route that is not there for away: somebody may just replace its file.

    For those who only look at a service whose route was there.
    """
    try:
        yield
    except UnknownRoute as error:
        raise Retryable(f"{error} (it may come back)") from error
