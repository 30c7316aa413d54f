"""Traffic: read a service's route, and apply one.

The do and its undo are the same activity: both apply a route with a larger generation than the one
before, so a late attempt of either is refused by the router (`StaleGeneration`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.clock import server_now
from activities.policy import Policy, forever, terminal_errors
from adapters.errors import Retryable, UnknownRoute
from adapters.ports import Routing
from schemas.base import Model, ServiceName
from schemas.route import Confirmation, Route
from schemas.router_spec import RouterSpec

READ: Final = "aviary.traffic.read"
APPLY: Final = "aviary.traffic.apply"

ATTEMPT = timedelta(seconds=5)
"""Longest attempt of one write."""
HEALS_WITHIN: Final = timedelta(seconds=60)
"""A route that was there, and is not, is waited for: somebody may just replace its file."""


def traffic_policy(cap: timedelta) -> Policy:
    """Short attempts, retried for ever: a route must become what was decided.

    Args:
        cap: longest pause between two attempts.
    """
    return Policy(start_to_close=ATTEMPT, retry=forever(cap))


class ReadRoute(Model):
    """Ask a router for the route of a service."""

    router: RouterSpec
    service: ServiceName
    may_be_missing: bool = Field(
        default=False, description="Whether a service without a route is an answer, and no error."
    )


class ApplyRoute(Model):
    """Have a router apply a route."""

    router: RouterSpec
    route: Route
    over: Route | None = Field(
        default=None,
        description="What must be applied until then; None: whatever is there is overruled.",
    )


class TrafficActivities:
    """Activities over the routers.

    Args:
        router_for: finds the router of a specification.
        heals_within: how long a route or pool that has vanished may take to come back.
        clock: the time, as Temporal has it.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        heals_within: timedelta = HEALS_WITHIN,
        clock: Callable[[], datetime] = server_now,
    ) -> None:
        self._router_for = router_for
        self._heals_within = heals_within
        self._clock = clock

    @activity.defn(name=READ)
    async def read(self, request: ReadRoute) -> Route | None:
        """The route as the router has it now; None where it has none and that may be so."""
        with terminal_errors():
            try:
                return await self._router_for(request.router).router.read(request.service)
            except UnknownRoute:
                if request.may_be_missing:
                    return None
                raise

    @activity.defn(name=APPLY)
    async def apply(self, request: ApplyRoute) -> Confirmation:
        """Apply a route; returns once the router confirmed it.

        Nobody applies a route without having read one: that the router knows of none, or of no
        pool for its version, heals when whoever writes its files has written them.
        """
        with terminal_errors(), self._in_time():
            router = self._router_for(request.router).router
            confirmation = await router.apply(request.route, request.over)
        activity.logger.info(
            "route applied",
            extra={
                "service": request.route.service,
                "weight": request.route.weight,
                "generation": request.route.generation,
            },
        )
        return confirmation

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Take what has vanished for away, until it should have come back."""
        try:
            yield
        except UnknownRoute as error:
            if self._clock() - activity.info().scheduled_time < self._heals_within:
                raise Retryable(f"{error} (it may come back)") from error
            raise
