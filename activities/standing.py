"""What stands behind a version: instances that the router finds healthy, and a first route."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.looking import RouterActivities
from activities.policy import Policy, forever, terminal_errors
from activities.traffic import ATTEMPT
from adapters.errors import AdapterError, UnknownRoute
from adapters.ports import Instances, Router
from schemas.base import Duration, Model, ServiceName, Version
from schemas.route import Health, Route
from schemas.router_spec import RouterSpec

STAND: Final = "aviary.traffic.stand"
FIRST: Final = "aviary.traffic.first"
REGISTER: Final = "aviary.traffic.register"

LOOK_POLICY = Policy(
    start_to_close=timedelta(seconds=5),
    retry=forever(timedelta(seconds=1)),
    schedule_to_close=timedelta(seconds=10),
)
"""One look: whatever hinders it for longer is a reason to go on without."""
WAIT_POLICY = Policy(
    start_to_close=timedelta(days=1),
    retry=forever(timedelta(seconds=5)),
    heartbeat=timedelta(seconds=10),
)
_EVERY_S = 0.5


class Stand(Model):
    """Look at the instances of some versions of a service."""

    router: RouterSpec
    service: ServiceName
    target: Version = Field(description="The version that must have a healthy instance.")
    others: tuple[Version, ...] = ()
    within: Duration | None = Field(
        description="How long the target may take to have one; None: until it has."
    )


class Standing(Model):
    """What the router knows of instances; a version that it can't tell of is left out."""

    target: Version
    health: dict[Version, Health] = Field(default_factory=dict)

    @property
    def down(self) -> bool:
        """Whether the router knows of no healthy instance of the target."""
        return self.target in self.health and self.health[self.target].healthy == 0

    @property
    def sentence(self) -> str:
        """`1.1.0 has 0 healthy instances of 2; 1.2.0 has 1 of 1`."""
        return "; ".join(
            f"{version} has {one.healthy} healthy instances of {one.known}"
            for version, one in self.health.items()
        )


class First(Model):
    """Find out whether a service has no route yet, and wait until its version can take requests."""

    router: RouterSpec
    service: ServiceName
    version: Version
    absent_for: Duration | None = Field(
        description="How long the route must be missing to be believed; None: it has to come."
    )


class FirstLook(Model):
    """What was found."""

    route: Route | None = Field(default=None, description="The route that is there after all.")


class RegisterRoute(Model):
    """Give a service its first route, all to one version."""

    router: RouterSpec
    service: ServiceName
    version: Version


class StandingActivities(RouterActivities):
    """What routers know of instances; see `RouterActivities`."""

    @activity.defn(name=STAND)
    async def stand(self, request: Stand) -> Standing:
        """Look until the target has a healthy instance, or `within` is over."""
        instances = self._router_for(request.router).instances
        return await self._look_until(
            lambda standing: not standing.down,
            lambda: _look(instances, request),
            within=request.within,
            every_s=_EVERY_S,
        )

    @activity.defn(name=FIRST)
    async def first(self, request: First) -> FirstLook:
        """Return once there is a route, or there was none for long and an instance is healthy."""
        routing = self._router_for(request.router)
        began = self._clock()
        asked = Stand(
            router=request.router, service=request.service, target=request.version, within=None
        )

        async def look() -> FirstLook | None:
            try:
                with terminal_errors():
                    return FirstLook(route=await _read(routing.router, request.service))
            except _Absent:
                absent = self._is_over(began, request.absent_for)
                standing = await _look(routing.instances, asked)
            return FirstLook() if absent and not standing.down else None

        found = await self._look_until(
            lambda one: one is not None, look, within=None, every_s=_EVERY_S
        )
        return found or FirstLook()

    @activity.defn(name=REGISTER)
    async def register(self, request: RegisterRoute) -> Route:
        """Give the service its first route; return the route that it has."""
        registrar = self._router_for(request.router).registrar
        with terminal_errors():
            if registrar is None:
                raise UnknownRoute(
                    f"{request.service}: the router has no such service, and "
                    f"{request.router.text} can't be given one"
                )
            return await registrar.register(request.service, request.version)


class _Absent(Exception):  # noqa: N818 - a finding, not an error
    """The router has no such route."""


async def _read(router: Router, service: str) -> Route:
    try:
        return await router.read(service)
    except UnknownRoute as error:
        raise _Absent from error


async def _look(instances: Instances | None, request: Stand) -> Standing:
    standing = await _seen(instances, request)
    activity.heartbeat(standing.sentence)
    return standing


async def _seen(instances: Instances | None, request: Stand) -> Standing:
    """What the router knows now; nothing where it can't tell or does not answer."""
    if instances is None:
        return Standing(target=request.target)
    try:
        found = await instances.instances(request.service)
    except AdapterError as error:
        activity.logger.warning("instances can't be seen", extra={"error": str(error)})
        found = None
    if found is None:
        return Standing(target=request.target)
    versions = (request.target, *request.others)
    nothing = Health(known=0, healthy=0)
    return Standing(
        target=request.target, health={one: found.get(one, nothing) for one in versions}
    )


REGISTER_POLICY = Policy(start_to_close=ATTEMPT, retry=forever(timedelta(seconds=10)))
