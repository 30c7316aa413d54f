"""What every activity's policy is made of, and how adapter errors become Temporal's.

Each capability keeps its own `Policy` beside its activities; workflows spread it into the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypedDict

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


class CallOptions(TypedDict):
    """What `workflow.execute_activity` takes of a policy."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy


@dataclass(frozen=True)
class Policy:
    """Time-outs and retries of one activity; `dataclasses.replace` makes another of it."""

    start_to_close: timedelta
    """Longest attempt; also bounds how long an attempt lost with its worker goes unnoticed."""
    retry: RetryPolicy
    heartbeat: timedelta | None = None
    schedule_to_close: timedelta | None = None
    """Longest for all attempts; None on whatever must not be given up."""

    def longer(self, by: timedelta) -> Policy:
        """The same for an activity that waits so much longer by itself."""
        whole = self.schedule_to_close
        return replace(
            self,
            start_to_close=self.start_to_close + by,
            schedule_to_close=None if whole is None else whole + by,
        )

    @property
    def options(self) -> CallOptions:
        """All of it, to be spread into a call: `execute_activity(…, **policy.options)`."""
        return CallOptions(
            start_to_close_timeout=self.start_to_close,
            schedule_to_close_timeout=self.schedule_to_close,
            heartbeat_timeout=self.heartbeat,
            retry_policy=self.retry,
        )


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
