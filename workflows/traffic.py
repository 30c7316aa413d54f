"""Traffic during one canary: each do beside its undo, and how an undo is run to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.standing import REGISTER, RegisterRoute
    from activities.traffic import APPLY, READ, ApplyRoute, ReadRoute, traffic_policy
    from adapters.errors import ForeignChange
    from schemas.release import CanaryState, ServicePlan, Tuning
    from schemas.route import Confirmation, Route
    from workflows import describe
    from workflows.reset import resets
    from workflows.trying import Told, for_ever


async def run_to_end(task: asyncio.Task[Any]) -> None:
    """Wait for a task that a cancellation must not cut short, however often it comes."""
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    task.result()


def is_foreign_change(error: ActivityError) -> bool:
    """Whether a write was refused because somebody else has changed the route."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == ForeignChange.__name__


class Traffic:
    """The route of one service while this canary owns it.

    Every write is recorded in `route` before it is sent, so that one with an unknown outcome is
    undone as well; each has a larger generation than the one before, so that a late attempt is
    refused.
    """

    def __init__(self, release: str, plan: ServicePlan, tuning: Tuning, told: Told) -> None:
        """`told` hears why the router's calls fail, while they do."""
        self._told = told
        self._release = release
        self._plan = plan
        self._tuning = tuning
        self.route: Route | None = None
        """As last read, applied or meant."""
        self.weight = 0.0
        """The canary's share, as last confirmed, percent."""
        self.before: str | None = None
        """The version that served when this canary began, once it is known."""
        self.first = False
        """Whether this canary gave the service its first route."""
        self.touched = False
        """Whether a route with this canary was ever sent."""
        self.began_at: datetime | None = None
        """When the first share of requests was sent to the canary."""
        self.confirmed_at: datetime | None = None
        """When the router confirmed the last write."""

    @property
    def suspect(self) -> bool:
        """Whether the canary may have traffic: it was given some, or was reset and can't know."""
        return self.touched or resets() > 0

    def take_over(self, state: CanaryState) -> None:
        """Go on where an earlier run of this canary was."""
        self.route = state.route
        self.weight = state.weight
        self.before = state.before
        self.touched = state.touched
        self.first = state.first
        self.began_at = state.began_at
        self.confirmed_at = state.confirmed_at

    @property
    def stable(self) -> str | None:
        """The version that serves beside the canary, once it is known."""
        return self.route.stable if self.route else None

    @property
    def unchanged(self) -> bool:
        """Whether the version to release already is the stable one."""
        return self.stable == self._plan.version

    async def look(self) -> bool:
        """Read the route; False where the service has none."""
        request = ReadRoute(
            router=self._plan.router, service=self._plan.service, may_be_missing=True
        )
        self.route = await self._call(
            READ, request, Route | None, f"{self._plan.service}: read route"
        )
        self.before = self.route.stable if self.route else None
        return self.route is not None

    async def begin_first(self) -> None:
        """Do: give a service without a route its first one, all to the new version.

        It has no undo: there is nothing to go back to.
        """
        request = RegisterRoute(
            router=self._plan.router, service=self._plan.service, version=self._plan.version
        )
        summary = f"{self._plan.service}: first route, all to {self._plan.version}"
        self.began_at = workflow.now()
        self.route = await self._call(REGISTER, request, Route, summary)
        self.first = self.unchanged
        self.before = None if self.first else self.route.stable
        await self._insist(self._claimed, "confirm its first route")

    async def keep(self) -> None:
        """Instead of going back: the new version has everything, and is stable. Never given up."""
        await self._insist(self._kept, "keep the new version")

    async def take(self) -> None:
        """Clear what an earlier canary may have left on the route."""
        await self._insist(self._without_canary, "clear an earlier canary")

    async def shift(self, weight: float, *, overrule: bool = False) -> str | None:
        """Do: give the canary a share of the requests, in percent.

        Args:
            weight: its share.
            overrule: whether to write over what somebody else has changed.

        Returns:
            What somebody else has changed, in words: nothing was written. None: it was.

        Raises:
            ActivityError: the router refused for good.
        """
        route = self._known()
        stable = route.stable
        summary = f"{self._plan.service} {route.weight:g} % → {weight:g} %"
        touched, began_at = self.touched, self.began_at
        self.touched = True
        self.began_at = self.began_at or workflow.now()
        self.route = self._next(stable=stable, canary=self._plan.version, weight=weight)
        try:
            await self._apply(self.route, summary, over=None if overrule else route)
        except ActivityError as error:
            if not is_foreign_change(error):
                raise
            self.route, self.touched, self.began_at = route, touched, began_at
            return describe.failure(error)
        return None

    async def give_back(self) -> None:
        """Undo: stable has everything again. Never given up."""
        if self.route is None or resets():
            self.route = await self._read_in_the_end()
        await self._insist(self._without_own_canary, "back to stable")

    async def write_again(self) -> None:
        """Have the router apply once more what it confirmed but does not do."""
        written = self._known().generation

        def once_more(now: Route) -> Route | None:
            if now.generation > written or now.owner != self._release:
                return None
            return self._next(stable=now.stable, canary=now.canary, weight=now.weight)

        await self._insist(once_more, "write again")

    async def make_stable(self) -> None:
        """Finalize: the canary's version becomes stable. Never given up.

        Also where it went back already: the release is past the point at which it could.
        """
        if self.route is None or resets():
            self.route = await self._read_in_the_end()
        await self._insist(self._promoted, "finalize")

    def _without_canary(self, current: Route) -> Route | None:
        return None if current.canary is None else self._next(stable=current.stable)

    def _without_own_canary(self, current: Route) -> Route | None:
        mine = current.canary == self._plan.version and current.owner == self._release
        return self._next(stable=current.stable) if mine else None

    def _claimed(self, current: Route) -> Route | None:
        mine = current.stable == self._plan.version and current.canary is None
        return self._next(stable=current.stable) if mine and not current.owner else None

    def _kept(self, current: Route) -> Route | None:
        mine = current.stable != self._plan.version and current.owner == self._release
        return self._next(stable=self._plan.version) if mine else None

    def _promoted(self, current: Route) -> Route | None:
        there = current.stable == self._plan.version and current.canary is None
        mine = current.canary in {self._plan.version, None} and current.owner == self._release
        return self._next(stable=self._plan.version) if mine and not there else None

    def _next(self, *, stable: str, canary: str | None = None, weight: float = 0.0) -> Route:
        return Route.split(
            service=self._plan.service,
            stable=stable,
            canary=canary,
            weight=weight,
            generation=self._known().generation + 1,
            owner=self._release,
        )

    def _known(self) -> Route:
        if self.route is None:
            raise RuntimeError("the route must be read before it is written")
        return self.route

    async def _insist(self, goal: Callable[[Route], Route | None], why: str) -> None:
        """Write until the goal has nothing left to write, reading anew after each refusal."""
        while (wanted := goal(self._known())) is not None:
            self.route = wanted
            try:
                await self._apply(wanted, f"{self._plan.service}: {why}")
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning(
                    "router refused; reading its route anew",
                    extra={"service": self._plan.service, "error": str(error.cause)},
                )
                self._told(describe.failure(error))
                # Its own success mends nothing.
                self.route = await self._read_in_the_end(lambda _: None)
                await workflow.sleep(self._tuning.retry_cap)

    async def _read(self, told: Told | None = None) -> Route:
        request = ReadRoute(router=self._plan.router, service=self._plan.service)
        summary = f"{self._plan.service}: read route"
        route: Route = await self._call(READ, request, Route, summary, told)
        return route

    async def _read_in_the_end(self, told: Told | None = None) -> Route:
        """Read the route, however long the router knows of none: what was begun must be ended."""
        while True:
            try:
                return await self._read(told)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning(
                    "the router has no route to read; asking again",
                    extra={"service": self._plan.service, "error": str(error.cause)},
                )
                self._told(describe.failure(error))
            await workflow.sleep(self._tuning.retry_cap)

    async def _apply(self, route: Route, summary: str, over: Route | None = None) -> None:
        request = ApplyRoute(router=self._plan.router, route=route, over=over)
        await self._call(APPLY, request, Confirmation, summary)
        self.confirmed_at = workflow.now()
        self.weight = route.weight

    async def _call(
        self, name: str, request: Any, answer: Any, summary: str, told: Told | None = None
    ) -> Any:
        policy = traffic_policy(self._tuning.retry_cap)
        return await for_ever(
            lambda retry: workflow.execute_activity(
                name,
                request,
                result_type=answer,
                start_to_close_timeout=policy.start_to_close,
                retry_policy=retry,
                cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
                summary=summary,
            ),
            policy.retry,
            told or self._told,
        )
