"""Activities that are tried for ever, and whose last failure is known while they are.

An activity's own retries hide from the workflow why it fails, and with it from every page, status
and notice. So a call gets a few attempts, then the workflow keeps the failure and calls again, with
four times as many: the reason is there within seconds, and a history of days has few rounds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, RetryState

with workflow.unsafe.imports_passed_through():
    from workflows import describe

_T = TypeVar("_T")

FIRST_ATTEMPTS: Final = 3
_MORE: Final = 4
_MOST_ATTEMPTS: Final = 3000

TellFailure = Callable[[str], None]
"""Takes the last failure in words; empty once the call is done."""


def rounds(retry: RetryPolicy) -> Iterator[RetryPolicy]:
    """The retries of each call of an activity that is called until it succeeds; without end.

    Args:
        retry: the pauses between attempts.
    """
    attempts = FIRST_ATTEMPTS
    while True:
        yield replace(retry, maximum_attempts=attempts)
        retry = replace(retry, initial_interval=_after(retry, attempts))
        attempts = min(attempts * _MORE, _MOST_ATTEMPTS)


def only_out_of_attempts(error: BaseException) -> bool:
    """Whether another round may succeed."""
    return (
        isinstance(error, ActivityError)
        and error.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED
    )


async def for_ever(
    call: Callable[[RetryPolicy], Awaitable[_T]], retry: RetryPolicy, told: TellFailure
) -> _T:
    """Call until it succeeds.

    Args:
        call: makes one call of an activity, with the retries that it is given.
        retry: the pauses between attempts.
        told: hears why it has failed so far.

    Raises:
        ActivityError: it failed for good, or was cancelled.
    """
    for attempts in rounds(retry):
        try:
            answer = await call(attempts)
        except ActivityError as error:
            if not only_out_of_attempts(error):
                raise
            told(describe.failure(error))
        else:
            told("")
            return answer
    raise AssertionError("rounds has no end")


def _after(retry: RetryPolicy, attempts: int) -> timedelta:
    """The pause that would have come next."""
    doublings = min(attempts, 30)
    cap = retry.maximum_interval or timedelta.max
    longest = cap / 2**doublings
    return cap if retry.initial_interval > longest else retry.initial_interval * 2**doublings
