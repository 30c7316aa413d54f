"""Traffic: read a service's route, and apply one.

The do and its undo are the same activity: both apply a route with a larger generation than the one
before, so a late attempt of either is refused by the router (`StaleGeneration`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporalio import activity

from activities.policy import Policy, forever, terminal_errors
from adapters.ports import Router
from schemas.base import Model, ServiceName
from schemas.catalog import RouterSpec
from schemas.route import Confirmation, Route

READ: Final = "aviary.traffic.read"
APPLY: Final = "aviary.traffic.apply"

_ATTEMPT = timedelta(seconds=5)


def traffic_policy(cap: timedelta) -> Policy:
    """Short attempts, retried for ever: a route must become what was decided.

    Args:
        cap: longest pause between two attempts.
    """
    return Policy(start_to_close=_ATTEMPT, retry=forever(cap))


class ReadRoute(Model):
    """Ask a router for the route of a service."""

    router: RouterSpec
    service: ServiceName


class ApplyRoute(Model):
    """Have a router apply a route."""

    router: RouterSpec
    route: Route


class TrafficActivities:
    """Activities over the routers; `router_for` finds the router of a specification."""

    def __init__(self, router_for: Callable[[RouterSpec], Router]) -> None:
        self._router_for = router_for

    @activity.defn(name=READ)
    async def read(self, request: ReadRoute) -> Route:
        """The route as the router has it now."""
        with terminal_errors():
            return await self._router_for(request.router).read(request.service)

    @activity.defn(name=APPLY)
    async def apply(self, request: ApplyRoute) -> Confirmation:
        """Apply a route; returns once the router confirmed it."""
        with terminal_errors():
            confirmation = await self._router_for(request.router).apply(request.route)
        activity.logger.info(
            "route applied",
            extra={
                "service": request.route.service,
                "weight": request.route.weight,
                "generation": request.route.generation,
            },
        )
        return confirmation
