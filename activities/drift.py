"""Drift: routes with a canary, and versions that are up, which no workflow looks after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from temporalio import activity

from activities.cell import here
from activities.clock import server_now
from activities.decided import Decided
from activities.leftover import Deployed, InstanceCheck, Leftover, deployed
from activities.policy import Policy, forever, rest
from adapters.errors import Retryable, Terminal, UnknownRoute
from adapters.ports import Deployer, Routing
from schemas.base import Duration, Model, ReleaseId, ServiceName
from schemas.catalog import Catalog
from schemas.deploy_spec import DeploySpec
from schemas.fitting import size_of
from schemas.ids import canary_workflow_id, release_workflow_id
from schemas.outside import Text
from schemas.release import ServicePlan, Tuning
from schemas.route import Route
from schemas.router_spec import RouterSpec

LOOK: Final = "aviary.drift.look"

LOOK_POLICY = Policy(
    start_to_close=timedelta(minutes=2),
    retry=forever(timedelta(seconds=10)),
    heartbeat=timedelta(seconds=20),
    schedule_to_close=timedelta(minutes=10),
)
"""One look; a check that fails for so long is shown as failed, the schedule starts the next one."""

AT_ONCE: Final = 16
"""Routes that are read at the same time."""
MOST: Final = 50
"""Drifts that one check hands back, so that its result stays small; the next check has the rest."""

MOST_BYTES: Final = 1024 * 1024
"""Of them together: Temporal takes results of up to 2 MB."""

REFRESH_EVERY_S: Final = 5.0
"""Seconds between two looks at where instances are."""

_RELEASE_ID: Final = TypeAdapter[str](ReleaseId)


class DriftInput(Model):
    """Starts a drift check."""

    tuning: Tuning = Tuning()
    every: Duration | None = Field(
        default=None, description="Look again so often, for `WATCH`; None: once."
    )
    grace: Duration = Field(
        default=timedelta(minutes=5),
        description="How long a version may be up without anything that needs it.",
    )


class Look(Model):
    """Look at all routes, once or until there is something to report."""

    every: Duration | None = Field(default=None, description="Look again so often; None: once.")
    until: AwareDatetime | None = Field(default=None, description="When to look for the last time.")
    grace: Duration = Field(
        default=timedelta(0),
        description="How long a version may be up without anything that needs it.",
    )


class Drift(Model):
    """A canary with a route and no workflow."""

    route: Route
    plan: ServicePlan = Field(description="What a canary needs to take the route back.")
    routers: tuple[str, ...] = Field(
        default=(), description="Of several routers of the service, those that have the canary."
    )
    away: tuple[str, ...] = Field(
        default=(), description="Likewise, those that could not be asked, and may have it."
    )
    forward: bool = Field(
        default=False,
        description="Its release had begun to finalize: the rest of it may be on the new version.",
    )


class DriftReport(Model):
    """What one look at all routes found."""

    environment: str = Field(description="Of the catalog.")
    services: int = Field(description="Services of the catalog that have a route.")
    found: tuple[Drift, ...] = ()
    leftover: tuple[Leftover, ...] = ()
    left: tuple[ServiceName, ...] = Field(
        default=(), description="Their release still runs, and takes them back itself."
    )
    foreign: tuple[ServiceName, ...] = Field(
        default=(), description="Canaries that no release has written: not ours to take back."
    )
    unreadable: tuple[ServiceName, ...] = Field(
        default=(), description="Their router did not answer; the next check asks again."
    )
    said: tuple[Text, ...] = Field(
        default=(), description="What that router said, of each: of several, with its name."
    )


class _Kind(StrEnum):
    FOUND = "found"
    FINAL = "final"
    LEFT = "left"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    GOOD = "good"
    UNROUTED = "unrouted"


@dataclass(frozen=True)
class _Looked:
    """One service at a moment."""

    kind: _Kind
    route: Route | None = None
    routers: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class Known:
    """What Temporal knows of workflows. Both raise `Retryable` when it can't tell."""

    is_running: Callable[[str], Awaitable[bool]]
    """Whether a workflow of that id runs."""
    went_final: Callable[[Decided], Awaitable[bool]]
    """Whether a release had begun to finalize before it ended."""


@dataclass(frozen=True)
class Platforms:
    """Where services are: who carries their traffic, who puts their versions up."""

    router_for: Callable[[RouterSpec], Routing]
    deployer_for: Callable[[DeploySpec], Deployer]


class DriftActivities:
    """Activities over all routes.

    Args:
        platforms: where services are.
        catalog: gives the newest catalog; called in a thread, may block and raise `Retryable`.
        plan_for: what a canary needs to take a route back.
        known: what Temporal knows of canaries and releases.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        platforms: Platforms,
        catalog: Callable[[], Catalog],
        plan_for: Callable[[Catalog, Route], ServicePlan],
        known: Known,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._router_for = platforms.router_for
        self._deployer_for = platforms.deployer_for
        self._catalog = catalog
        self._plan_for = plan_for
        self._known = known
        self._sleep = sleep

    @activity.defn(name=LOOK)
    async def look(self, asked: Look | None = None) -> DriftReport:
        """Compare routes and versions of the catalog's services with the workflows that run.

        A service whose router does not answer hides no other service's drift. Between two looks the
        routers are told of instances that have moved.
        """
        asked = asked or Look()
        instances = InstanceCheck(
            self._router_for, self._deployer_for, self._known.is_running, asked.grace
        )
        foreign: tuple[str, ...] = ()
        while True:
            services, report = await self._look(instances)
            if report.foreign != foreign:
                foreign = report.foreign
                activity.logger.warning(
                    "canaries that no release has written", extra={"services": foreign}
                )
            over = asked.until is None or server_now() >= asked.until
            if over or asked.every is None or report.found or report.leftover:
                return report
            await self._refresh(instances, services, asked.every.total_seconds())

    async def _refresh(
        self, instances: InstanceCheck, services: Sequence[Deployed], seconds: float
    ) -> None:
        """Until the next look, see to it that the routers know where instances are."""
        while seconds > 0:
            nap = min(seconds, REFRESH_EVERY_S if services else seconds)
            await rest(nap, self._sleep)
            seconds -= nap
            await instances.refresh(services)

    async def _look(self, instances: InstanceCheck) -> tuple[Sequence[Deployed], DriftReport]:
        catalog = await asyncio.to_thread(self._catalog)
        services_up = deployed(catalog)
        kinds: dict[_Kind, list[str]] = {kind: [] for kind in _Kind}
        drifted: list[_Looked] = []
        said: list[str] = []
        for services in _batches(sorted(catalog.services)):
            looks = await asyncio.gather(*(self._look_at(catalog, one) for one in services))
            for service, looked in zip(services, looks, strict=True):
                kinds[looked.kind].append(service)
                if looked.kind in {_Kind.FOUND, _Kind.FINAL}:
                    drifted.append(looked)
                if looked.kind is _Kind.UNREADABLE:
                    said.append(looked.said)
            activity.heartbeat(services[-1])
        report = DriftReport(
            environment=catalog.environment,
            services=len(catalog.services) - len(kinds[_Kind.UNROUTED]),
            found=self._found(catalog, drifted[:MOST]),
            left=tuple(kinds[_Kind.LEFT][:MOST]),
            foreign=tuple(kinds[_Kind.FOREIGN][:MOST]),
            unreadable=tuple(kinds[_Kind.UNREADABLE][:MOST]),
            said=tuple(said[:MOST]),
            leftover=await instances.leftover(services_up),
        )
        return services_up, report

    def _found(self, catalog: Catalog, drifted: Sequence[_Looked]) -> tuple[Drift, ...]:
        """As many as a result may carry, and at least one; the next check has the rest."""
        found: list[Drift] = []
        left = MOST_BYTES
        for one in drifted:
            if one.route is None:
                continue
            drift = Drift(
                route=one.route,
                plan=self._plan_for(catalog, one.route),
                routers=one.routers,
                away=one.away,
                forward=one.kind is _Kind.FINAL,
            )
            left -= size_of(drift)
            if found and left < 0:
                break
            found.append(drift)
        return tuple(found)

    async def _look_at(self, catalog: Catalog, service: str) -> _Looked:
        routing = self._router_for(catalog.resolve(service).router)
        router = routing.router
        try:
            route = await router.read(service)
            if route.canary is None or await self._known.is_running(
                canary_workflow_id(service, here())
            ):
                return _Looked(_Kind.GOOD)
            # A canary closes after its last write: only what is so even now has been left behind.
            if await router.read(service) != route:
                return _Looked(_Kind.GOOD)
        except UnknownRoute:
            return _Looked(_Kind.UNROUTED)
        except (Retryable, Terminal) as error:
            activity.logger.warning(
                "route can't be checked", extra={"service": service, "error": str(error)}
            )
            return _Looked(_Kind.UNREADABLE, said=str(error))
        try:
            kind = await self._whose(route)
        except Retryable as error:
            activity.logger.warning(
                "release of a route can't be asked",
                extra={"service": service, "error": str(error)},
            )
            return _Looked(_Kind.UNREADABLE, said=str(error))
        routers, away = await _where(routing, service)
        return _Looked(kind, route, routers, away)

    async def _whose(self, route: Route) -> _Kind:
        """Who sees to a canary without a workflow.

        Raises:
            Retryable: that can't be told.
        """
        try:
            _RELEASE_ID.validate_python(route.owner)
        except ValidationError:
            return _Kind.FOREIGN
        release = release_workflow_id(route.owner, here())
        if await self._known.is_running(release):
            return _Kind.LEFT
        forward = await self._known.went_final(Decided(workflow_id=release))
        return _Kind.FINAL if forward else _Kind.FOUND


async def _where(routing: Routing, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of several routers, those that have a canary of the service, and those that do not answer."""
    having: list[str] = []
    away: list[str] = []
    for part in routing.parts:
        try:
            route = await part.routing.router.read(service)
        except UnknownRoute:
            continue
        except (Retryable, Terminal):
            away.append(part.name)
        else:
            having += [part.name] if route.canary is not None else []
    return tuple(having), tuple(away)


def _batches(services: Sequence[str]) -> list[Sequence[str]]:
    return [services[start : start + AT_ONCE] for start in range(0, len(services), AT_ONCE)]
