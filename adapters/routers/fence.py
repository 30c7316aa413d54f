"""What every router checks before it writes: the generation, the service, its pools.

The generation is the fence: it only grows, so a late attempt of an old write changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from adapters.errors import StaleGeneration, UnknownRoute
from schemas.route import Route

TOTAL_WEIGHT = 10_000
"""Parts of a split: 100 percent, so that 0.01 percent is one."""


def parts(weight: float) -> tuple[int, int]:
    """Split the total by the canary's weight in percent: stable's parts, canary's parts."""
    canary = round(weight * TOTAL_WEIGHT / 100)
    return TOTAL_WEIGHT - canary, canary


def check_generation(route: Route, applied: Route) -> None:
    """Let a newer route pass, and the applied one again.

    Raises:
        StaleGeneration: it is neither.
    """
    if route == applied or route.generation > applied.generation:
        return
    raise StaleGeneration(
        f"{route.service}: generation {route.generation} is refused; {applied.generation} is "
        f"applied (by {applied.owner or 'nobody'}), expected a larger one"
    )


def overtaken(route: Route, newer: Route) -> StaleGeneration:
    """The error for a route that a newer one has replaced while it was being applied."""
    return StaleGeneration(
        f"{route.service}: generation {route.generation} was overtaken by {newer.generation} "
        f"(of {newer.owner or 'nobody'})"
    )


def known(route: Route | None, service: str) -> Route:
    """Insist on the route of a service.

    Raises:
        UnknownRoute: there is none.
    """
    if route is None:
        raise UnknownRoute(f"{service}: the router has no such service")
    return route


def check_pools(route: Route, versions: Collection[str]) -> None:
    """Check that the versions of a route have pools.

    Raises:
        UnknownRoute: one has none.
    """
    for version in (route.stable, route.canary):
        if version is not None and version not in versions:
            raise UnknownRoute(
                f"{route.service}: version {version} has no pool of instances; expected one of: "
                f"{', '.join(sorted(versions)) or 'none is known'}"
            )
