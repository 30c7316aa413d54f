"""Whether a flag is evaluated as its route says, whatever its provider: by counting users. Pure."""

from __future__ import annotations

import math
from typing import Final

from adapters.errors import Retryable
from schemas.route import Route

USERS: Final = 10_000
"""Made-up users who are evaluated after a write."""
_DEVIATIONS: Final = 5.0
"""Of the binomial distribution; one evaluation of 2 million is outside by chance."""


def user(number: int) -> str:
    """The name of a made-up user."""
    return f"aviary-{number}"


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


def grows(earlier: Route, route: Route) -> bool:
    """Whether nobody may lose the canary between two routes."""
    return (
        earlier.canary is not None
        and (earlier.stable, earlier.canary) == (route.stable, route.canary)
        and earlier.weight <= route.weight
    )
