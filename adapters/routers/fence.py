"""What every router checks before it writes: what it can do, the generation, the versions.

The generation is the fence: it only grows, so a late attempt of an old write changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from adapters.errors import ForeignChange, StaleGeneration, UnknownRoute, Unsupported
from schemas.capabilities import Capabilities, lacking
from schemas.route import Route


def check_able(route: Route, can: Capabilities) -> None:
    """Check that a router can do a route to the letter.

    Raises:
        Unsupported: it can't; says what it can.
    """
    if missing := lacking(route, can):
        raise Unsupported(f"{route.service}: the router can't do {'; '.join(missing)}")


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


def check_over(route: Route, applied: Route, over: Route | None) -> None:
    """Check that what is applied is what the writer believes, or is the same write once more.

    Args:
        route: what shall be written.
        applied: what the router has; its generation is smaller (`check_generation`).
        over: what the writer believes; None if it does not matter.

    Raises:
        ForeignChange: it is something else.
    """
    if over is not None and applied not in {over, route}:
        raise ForeignChange(route.service, f"found {applied.text}, expected {over.text}")


def overtaken(route: Route, newer: Route) -> StaleGeneration:
    """The error for a route that a newer one has replaced while it was being applied."""
    return StaleGeneration(
        f"{route.service}: generation {route.generation} was overtaken by {newer.generation} "
        f"(of {newer.owner or 'nobody'})"
    )


def change_in(check: Callable[[], object]) -> str:
    """What somebody else has changed, as the check of an applied route over itself finds it.

    Empty: nothing; nor is a newer route a change under this one.
    """
    try:
        check()
    except ForeignChange as found:
        return str(found)
    except StaleGeneration:
        pass
    return ""


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
    for version in route.versions:
        if version not in versions:
            raise UnknownRoute(
                f"{route.service}: version {version} has no pool of instances; expected one of: "
                f"{', '.join(sorted(versions)) or 'none is known'}"
            )
