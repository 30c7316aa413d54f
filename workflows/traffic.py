"""Traffic during one canary: the writes of its route, forward and back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.standing import RegisterRoute
    from activities.traffic import ApplyRoute, ReadRoute
    from adapters.errors import ForeignChange, HalfWritten, StaleGeneration
    from schemas.blame import CHANGES_MOST, WeightChange
    from schemas.lane import Lane
    from schemas.mirroring import MirrorTerms
    from schemas.release import CanaryState, CauseKind, ServicePlan, Tuning
    from schemas.route import Mirror, Route
    from workflows.calls import Call, Calls, Stop, never, rest
    from workflows.outcomes import Failed, Stopped
    from workflows.portion import Portion
    from workflows.reset import resets
    from workflows.trying import TellFailure


def is_foreign(stopped: Stopped | None) -> bool:
    """Whether a write was refused because somebody else has changed the route."""
    kinds = {ForeignChange.__name__, HalfWritten.__name__}
    return isinstance(stopped, Failed) and stopped.error in kinds


def is_half_written(stopped: Stopped | None) -> bool:
    """Whether another of several routers has the new route all the same."""
    return isinstance(stopped, Failed) and stopped.error == HalfWritten.__name__


class Traffic:
    """The route of one service while this canary owns it.

    Every write is recorded in `route` before it is sent, so that one with an unknown outcome is
    undone as well; each has a larger generation than the one before, so that a late attempt is
    refused. Whatever goes forward is given `stop`, which is asked right before each write.

    Args:
        release: that owns what is written.
        plan: of the service.
        tuning: its times.
        calls: makes the calls.
        told: hears why the router's calls fail, while they do.
    """

    def __init__(
        self, release: str, plan: ServicePlan, tuning: Tuning, calls: Calls, told: TellFailure
    ) -> None:
        self._told = told
        self._release = release
        self._plan = plan
        self._tuning = tuning
        self._calls = calls
        self.route: Route | None = None
        """As last read, applied or meant."""
        self.weight = 0.0
        """The canary's share, as last confirmed, percent."""
        self.apart = False
        """Whether the canary gets only what no split sends there, as last confirmed: copies, and
        requests that ask for it."""
        self.whom = ""
        """Name of the audience whose requests that is a share of; empty: everybody's."""
        self.unlike = ""
        """Why it can't be compared with stable there; empty: it can."""
        self.before: str | None = None
        """The version that served before this one, once it is known."""
        self.first = False
        """Whether this canary gave the service its first route."""
        self.began_at: datetime | None = None
        """When the first share of requests was sent to the canary."""
        self.confirmed_at: datetime | None = None
        """When the router confirmed the last write."""
        self.exposure: tuple[WeightChange, ...] = ()
        """Its weights, and since when it has each, oldest first."""

    def take_over(self, state: CanaryState) -> None:
        """Go on where an earlier run of this canary was."""
        self.route = state.route
        self.weight = state.weight
        self.apart = state.apart
        self.whom = state.whom
        self.unlike = state.unlike
        self.before = state.before
        self.first = state.first
        self.began_at = state.began_at
        self.confirmed_at = state.confirmed_at
        self.exposure = state.exposure

    @property
    def stable(self) -> str | None:
        """The version that serves beside the canary, once it is known."""
        return self.route.stable if self.route else None

    @property
    def unchanged(self) -> bool:
        """Whether the version to release already is the stable one."""
        return self.stable == self._plan.version

    # --- forward ---

    async def look(self, stop: Stop) -> Stopped | None:
        """Read the route, which the service may not have."""
        request = ReadRoute(
            router=self._plan.router, service=self._plan.service, may_be_missing=True
        )
        summary = f"{self._plan.service}: read route"
        answer = await self._calls.make(Call.READ_ROUTE, request, summary, stop=stop)
        if isinstance(answer, Stopped):
            return answer
        self.route = answer
        self.before = answer.stable if answer else None
        return None

    async def take(self, stop: Stop) -> Stopped | None:
        """Clear what an earlier canary may have left on the route, where there is one."""
        if self.route is None:
            return None
        return await self._insist(self._without_canary, "clear an earlier canary", stop)

    async def begin_first(self, stop: Stop) -> Stopped | None:
        """Give a service without a route its first one, all to the new version."""
        if (stopped := stop()) is not None:
            return stopped
        request = RegisterRoute(
            router=self._plan.router, service=self._plan.service, version=self._plan.version
        )
        summary = f"{self._plan.service}: first route, all to {self._plan.version}"
        self.began_at = workflow.now()
        answer = await self._calls.make(Call.REGISTER_ROUTE, request, summary, stop=stop)
        if isinstance(answer, Stopped):
            return answer
        self.route = route = answer
        self.first = self.unchanged
        self._expose(100.0 if self.first else 0.0, self.began_at)
        self.before = None if self.first else route.stable
        return await self._insist(self._claimed, "confirm its first route", stop)

    async def shift(self, portion: Portion, stop: Stop, *, overrule: bool) -> Stopped | None:
        """Give the canary a share of the requests, or only what no split sends there.

        Args:
            portion: what it gets.
            stop: asked right before the write.
            overrule: whether to write over what somebody else has changed.

        Returns:
            What stopped it; of a change by somebody else `is_foreign`: nothing was written then,
            or `is_half_written`: one of several routers has it.
        """
        if (stopped := stop()) is not None:
            return stopped
        route, began_at = self._known(), self.began_at
        summary = f"{self._plan.service} {self.portion.text} → {portion.text}"
        self.began_at = began_at or workflow.now()
        self.route = self._next(
            stable=route.stable,
            canary=self._plan.version,
            weight=portion.weight,
            mirror=portion.mirror(self._plan.version),
        ).model_copy(
            update={
                "audience": portion.audience,
                "kept": portion.kept,
                "sticky": self._plan.strategy.sticky,
                "lane": self._lane,
                "lease": self._plan.lease,
            }
        )
        stopped = await self._apply(self.route, summary, stop, None if overrule else route)
        if is_foreign(stopped) and not is_half_written(stopped):
            self.route, self.began_at = route, began_at
        elif stopped is None:
            self.apart, self.whom, self.unlike = portion.apart, portion.whom, portion.unlike
        elif isinstance(stopped, Failed) and stopped.error == StaleGeneration.__name__:
            return await self._as_taken_back(stopped)
        return stopped

    def lost(self, route: Route) -> None:
        """A sentinel gave stable everything: nothing is left to be written."""
        self.route = route
        self.weight, self.apart, self.whom, self.unlike = 0.0, False, "", ""
        self._expose(0.0, workflow.now())

    async def _as_taken_back(self, refused: Failed) -> Failed:
        """Why a newer route is there: where a sentinel wrote it, in its words."""
        request = ReadRoute(router=self._plan.router, service=self._plan.service)
        summary = f"{self._plan.service}: who wrote a newer route?"
        answer = await self._calls.make(Call.READ_ROUTE, request, summary)
        if not isinstance(answer, Route) or not answer.taken_back or answer.owner != self._release:
            return refused
        self.lost(answer)
        told = {"kind": CauseKind.LEASE, "text": answer.taken_back}
        return Failed(refused.cause.model_copy(update=told))

    @property
    def _lane(self) -> Lane | None:
        """The lane of the release: each of its canaries has the same."""
        if self._plan.lane is None:
            return None
        info = workflow.info()
        run = info.parent.run_id if info.parent else info.first_execution_run_id
        return self._plan.lane.of(self._release, run)

    @property
    def portion(self) -> Portion:
        """What the canary gets, as last confirmed."""
        mirror = self.route.mirror if self.route and self.apart else None
        if mirror is None:
            route = self.route
            return Portion(
                self.weight,
                apart=self.apart,
                whom=self.whom,
                audience=route.audience if route else None,
                kept=route.kept if route else (),
                unlike=self.unlike,
            )
        terms = MirrorTerms(writes=mirror.writes, unmarked=mirror.unmarked)
        return Portion(self.weight, apart=True, copied=mirror.share, terms=terms)

    # --- never given up ---

    async def give_back(self) -> None:
        """Stable has everything again."""
        if self.route is None or resets():
            await self._read_in_the_end(never)
        await self._insist(self._without_own_canary, "back to stable")

    async def find_first(self) -> None:
        """Find out whether the service has the first route that it was to be given."""
        request = ReadRoute(
            router=self._plan.router, service=self._plan.service, may_be_missing=True
        )
        summary = f"{self._plan.service}: was it given its first route?"
        answer = await self._calls.make(Call.READ_ROUTE, request, summary)
        while isinstance(answer, Failed):
            self._note("the router's route can't be read; asking again", answer)
            await rest(self._tuning.retry_cap, never)
            answer = await self._calls.make(Call.READ_ROUTE, request, summary)
        if answer is not None and answer.owner in {"", self._release}:
            self.route = answer
            self.first = self.unchanged

    async def keep(self) -> None:
        """Instead of going back: the new version has everything, and is stable."""
        await self._insist(self._kept, "keep the new version")

    async def write_again(self) -> None:
        """Have the router apply once more what it confirmed but does not do."""
        written = self._known().generation

        def once_more(now: Route) -> Route | None:
            if now.generation > written or now.owner != self._release:
                return None
            again = {"generation": self._known().generation + 1, "owner": self._release}
            return now.model_copy(update=again)

        await self._insist(once_more, "write again")

    async def make_stable(self, overruled: TellFailure) -> None:
        """The canary's version becomes stable.

        Also where it went back already: the release is past the point at which it could.

        Args:
            overruled: hears what somebody else had changed of the route, before that is written
                over.
        """
        if self.route is None or resets():
            await self._read_in_the_end(never)
        route = self._known()
        if self.before is None and not self.first and route.stable != self._plan.version:
            self.before = route.stable
        await self._insist(self._promoted, "finalize", overruled=overruled)

    # --- what is written ---

    def _without_canary(self, current: Route) -> Route | None:
        if current.canary is None and current.mirror is None:
            return None
        return self._next(stable=current.stable)

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

    def _next(
        self,
        *,
        stable: str,
        canary: str | None = None,
        weight: float = 0.0,
        mirror: Mirror | None = None,
    ) -> Route:
        return Route.split(
            service=self._plan.service,
            stable=stable,
            canary=canary,
            weight=weight,
            mirror=mirror,
            generation=self._known().generation + 1,
            owner=self._release,
        )

    def _known(self) -> Route:
        if self.route is None:
            raise RuntimeError("the route must be read before it is written")
        return self.route

    async def _insist(
        self,
        goal: Callable[[Route], Route | None],
        why: str,
        stop: Stop = never,
        *,
        overruled: TellFailure | None = None,
    ) -> Stopped | None:
        """Write until the goal has nothing left to write, reading anew after each refusal.

        What somebody else has changed is written over; `overruled`, where it is given, hears of it.
        """
        while (wanted := goal(self._known())) is not None:
            if (stopped := stop()) is not None:
                return stopped
            over, self.route = self.route if overruled else None, wanted
            refused = await self._apply(wanted, f"{self._plan.service}: {why}", stop, over)
            if isinstance(refused, Failed) and is_foreign(refused) and overruled is not None:
                overruled(refused.cause.text)
                overruled, self.route = None, over
                continue
            if isinstance(refused, Failed):
                self._note("router refused; reading its route anew", refused)
                # Its own success mends nothing.
                refused = await self._read_in_the_end(stop, lambda _: None)
                refused = refused or await rest(self._tuning.retry_cap, stop)
            if refused is not None:
                return refused
        return None

    async def _read_in_the_end(self, stop: Stop, told: TellFailure | None = None) -> Stopped | None:
        """Read the route, however long the router knows of none: what was begun must be ended."""
        request = ReadRoute(router=self._plan.router, service=self._plan.service)
        summary = f"{self._plan.service}: read route"
        while True:
            answer: Any = await self._calls.make(
                Call.READ_ROUTE, request, summary, stop=stop, told=told
            )
            if isinstance(answer, Failed):
                self._note("the router has no route to read; asking again", answer)
                answer = await rest(self._tuning.retry_cap, stop)
            if isinstance(answer, Stopped):
                return answer
            if answer is not None:
                self.route = answer
                return None

    def _note(self, what: str, failed: Failed) -> None:
        text = failed.cause.text
        workflow.logger.warning(what, extra={"service": self._plan.service, "error": text})
        self._told(text)

    async def _apply(
        self, route: Route, summary: str, stop: Stop, over: Route | None = None
    ) -> Stopped | None:
        request = ApplyRoute(router=self._plan.router, route=route, over=over)
        sent = workflow.now()
        answer = await self._calls.make(Call.APPLY_ROUTE, request, summary, stop=stop)
        if isinstance(answer, Stopped):
            return answer
        self.confirmed_at = workflow.now()
        self.weight = route.weight
        self.apart = False
        if route.canary is None:
            self.whom = self.unlike = ""
        self._expose(100.0 if route.stable == self._plan.version else route.weight, sent)
        return None

    def _expose(self, weight: float, since: datetime) -> None:
        """Remember a weight, which whoever looks for a culprit asks for."""
        if weight != (self.exposure[-1].weight if self.exposure else 0.0):
            self.exposure = (*self.exposure, WeightChange(at=since, weight=weight))[-CHANGES_MOST:]
