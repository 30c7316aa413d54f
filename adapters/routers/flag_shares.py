"""Whether a flag is evaluated as its route says, whatever its provider: by counting users."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from adapters.errors import Retryable
from schemas.route import Route

USERS: Final = 10_000
"""Made-up users who are evaluated after a write."""
EVALUATED_WITHIN: Final = 1.0
"""Seconds after which fewer of them are enough."""
_DEVIATIONS: Final = 5.0
"""Of the binomial distribution; one evaluation of 2 million is outside by chance."""


def user(number: int) -> str:
    """The name of a made-up user."""
    return f"aviary-{number}"


def sample(
    has: Callable[[int], bool],
    users: int,
    within: float = EVALUATED_WITHIN,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[set[int], int]:
    """Made-up users who have a variant, and of how many.

    A write is not held up by its check on a machine that is busy: least of all a rollback.

    Args:
        has: whether a user has it.
        users: to evaluate.
        within: seconds after which a tenth of them is enough.
        clock: seconds that only grow.
    """
    chosen: set[int] = set()
    until, least = clock() + within, users // 10
    for number in range(users):
        if has(number):
            chosen.add(number)
        if number + 1 >= least and clock() > until:
            return chosen, number + 1
    return chosen, users


def check_share(service: str, variant: str, weight: float, chosen: int, users: int) -> None:
    """Check that as many users get a variant as shall.

    Args:
        service: that the flag is released as.
        variant: that was looked for.
        weight: its share of the users, percent.
        chosen: users who get it.
        users: that were looked at.

    Raises:
        Retryable: it is not within five standard deviations of the binomial distribution.
    """
    share = weight / 100
    allowed = _DEVIATIONS * math.sqrt(users * share * (1 - share)) + 1
    if abs(chosen - share * users) > allowed:
        raise Retryable(
            f"{service}: {chosen} of {users} users get {variant}, expected "
            f"{share * users:.0f} ± {allowed:.0f}"
        )


def check_kept(route: Route, before: set[int], now: set[int]) -> None:
    """Check that nobody who had the canary has lost it while its weight grew.

    Raises:
        Retryable: somebody has.
    """
    if lost := before - now:
        raise Retryable(
            f"{route.service}: {len(lost)} of {len(before)} users who had {route.canary} lost it, "
            "though its weight grew"
        )


def looked_at(route: Route) -> tuple[str, float]:
    """The variant that is looked for, and its share in percent: the canary's, or all on stable."""
    return (route.stable, 100.0) if route.canary is None else (route.canary, route.weight)
