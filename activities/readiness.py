"""Readiness: may the services of a release be touched, before any of them is.

A service that its router does not know, or a version without instances, is found here and not after
other services went out. What the router can't be asked now counts as there: each canary finds out
for itself, and waits.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, NamedTuple

from pydantic import Field
from temporalio import activity

from activities.looking import RouterActivities
from activities.policy import Policy, forever
from adapters.errors import AdapterError, UnknownRoute
from adapters.ports import Routing
from schemas.base import Duration, Model, ServiceName, Version
from schemas.outside import TEXT_MOST, cut
from schemas.router_spec import RouterSpec

READY: Final = "aviary.traffic.ready"
MOST_SERVICES: Final = 100
"""In one request, so that an activity is short and its answer small."""
_AT_ONCE: Final = 10
_EVERY_S: Final = 1.0

READY_POLICY = Policy(
    start_to_close=timedelta(hours=1),
    retry=forever(timedelta(seconds=10)),
    heartbeat=timedelta(seconds=15),
)


class Ready(Model):
    """Look whether versions of some services of one router can take requests."""

    router: RouterSpec
    services: dict[ServiceName, Version] = Field(max_length=MOST_SERVICES)
    within: Duration = Field(description="How long they may take; 0s: one look.")
    deployed: tuple[ServiceName, ...] = Field(
        default=(), description="Those whose versions a deployer puts up, later."
    )


class Lacking(Model):
    """What is missing, in words, by service; nothing of those that may begin."""

    services: dict[ServiceName, str] = Field(default_factory=dict)
    routed: tuple[ServiceName, ...] = Field(
        default=(), description="Those that have a route: none of them is deployed first."
    )


class Found(NamedTuple):
    """What was seen of one service."""

    text: str = ""
    """Why its version can't take requests, in words; empty if it can, or who knows."""
    routed: bool = False
    """Whether it has a route."""


class ReadinessActivities(RouterActivities):
    """Whether services may be touched; see `RouterActivities`."""

    @activity.defn(name=READY)
    async def ready(self, request: Ready) -> Lacking:
        """Look until nothing is missing, or `within` is over."""
        return await self._look_until(
            lambda found: not found.services,
            lambda: self._look(request),
            within=request.within,
            every_s=_EVERY_S,
        )

    async def _look(self, request: Ready) -> Lacking:
        activity.heartbeat()
        try:
            routing = self._router_for(request.router)
        except AdapterError as error:
            text = cut(str(error), TEXT_MOST)
            return Lacking(services=dict.fromkeys(request.services, text))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(service: str, version: str) -> Found:
            async with limit:
                activity.heartbeat()
                there = None if service in request.deployed else version
                return await lacking(routing, service, there)

        looks = await asyncio.gather(*(one(*item) for item in request.services.items()))
        named = dict(zip(request.services, looks, strict=True))
        return Lacking(
            services={name: cut(look.text, TEXT_MOST) for name, look in named.items() if look.text},
            routed=tuple(name for name, look in named.items() if look.routed),
        )


async def lacking(routing: Routing, service: str, version: str | None) -> Found:
    """Whether a version of a service can take requests, as far as its router can be asked.

    Without a version: whether the service may have one.
    """
    try:
        return await _lacking(routing, service, version)
    except AdapterError as error:
        activity.logger.warning(
            "readiness can't be seen", extra={"service": service, "error": str(error)}
        )
        return Found()


async def _lacking(routing: Routing, service: str, version: str | None) -> Found:
    """What the first of its routers lacks that lacks something; there is a route if any has one."""
    looks = [(part, await _lacking_one(part.routing, service, version)) for part in routing.each]
    text = next((part.said(look.text) for part, look in looks if look.text), "")
    return Found(text, any(look.routed for _, look in looks))


async def _lacking_one(routing: Routing, service: str, version: str | None) -> Found:
    unknown = f"its router does not know {service}: register it, or mend the name in the catalog"
    routed = False
    try:
        await routing.router.read(service)
    except UnknownRoute:
        # A first deployment: the canary gives the service its route, if the router takes one.
        if routing.registrar is None:
            return Found(unknown)
    else:
        routed = True
        unknown = f"{version} has no pool of instances that its router knows of"
    there = version is None or await routing.locator.exists(service, version)
    return Found("" if there else unknown, routed)
