"""What is up and what is needed, held against each other: versions left behind, endpoints moved.

A part of the drift check, which always runs, and in one place: instances move without a release,
too, and every worker that looked would write the same.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.cell import here
from activities.deploy import is_routed, put_endpoints
from adapters.errors import AdapterError, Retryable
from adapters.ports import Deployer, Routing
from schemas.base import Model, ServiceName, Version
from schemas.catalog import Catalog
from schemas.deploy_spec import DeploySpec
from schemas.deployment import Generation, VersionState
from schemas.ids import canary_workflow_id, release_workflow_id, retire_workflow_id
from schemas.router_spec import RouterSpec

MOST: Final = 50
"""Versions that one check hands back; the next one has the rest."""


class Leftover(Model):
    """A version that is up, that no route names and nothing looks after."""

    service: ServiceName
    version: Version
    release: str = Field(description="That had it put up.")
    instances: int
    generation: Generation
    router: RouterSpec
    deploy: DeploySpec


@dataclass(frozen=True)
class Deployed:
    """A service whose versions are put up here."""

    service: str
    router: RouterSpec
    deploy: DeploySpec


def deployed(catalog: Catalog) -> tuple[Deployed, ...]:
    """The services of a catalog that have a deployer."""
    found = []
    for name in sorted(catalog.services):
        resolved = catalog.resolve(name)
        if resolved.deploy is not None:
            found.append(Deployed(name, resolved.router, resolved.deploy))
    return tuple(found)


class InstanceCheck:
    """Looks again and again; what is unneeded for as long as the grace is left over.

    Args:
        router_for: finds the router of a specification.
        deployer_for: finds the deployer of a specification.
        runs: whether a workflow of that id runs; raises `Retryable` where that can't be told.
        grace: how long a version may be unneeded: a release may just be beginning.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        deployer_for: Callable[[DeploySpec], Deployer],
        runs: Callable[[str], Awaitable[bool]],
        grace: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router_for = router_for
        self._deployer_for = deployer_for
        self._runs = runs
        self._grace = grace.total_seconds()
        self._clock = clock
        self._since: dict[tuple[str, str], float] = {}

    async def leftover(self, services: Iterable[Deployed]) -> tuple[Leftover, ...]:
        """The versions that nothing needs, and has not needed for the grace."""
        unneeded: dict[tuple[str, str], Leftover] = {}
        for one, state in await self._up(services):
            activity.heartbeat(one.service)
            try:
                if await self._is_needed(one, state):
                    continue
            except AdapterError as error:
                _not_told(one.service, error)
                continue
            unneeded[one.service, state.version] = _left(one, state)
        now = self._clock()
        self._since = {key: self._since.get(key, now) for key in unneeded}
        found = [one for key, one in unneeded.items() if now - self._since[key] >= self._grace]
        return tuple(found[:MOST])

    async def refresh(self, services: Iterable[Deployed]) -> None:
        """Tell the routers where the instances are now, of the versions that they know."""
        for one, state in await self._up(services):
            activity.heartbeat(one.service)
            try:
                writer = self._router_for(one.router).endpoints
                if writer is None or not state.endpoints:
                    continue
                told = (await writer.endpoints(one.service)).get(one.service, {})
                known = told.get(state.version)
                if known is not None and set(known.endpoints) != set(state.endpoints):
                    await put_endpoints(writer, state, state.generation)
            except AdapterError as error:
                _not_told(one.service, error)

    async def _up(self, services: Iterable[Deployed]) -> list[tuple[Deployed, VersionState]]:
        """All versions that are up, each deployer asked once."""
        by_deployer: dict[tuple[str, str | None], dict[str, Deployed]] = {}
        for one in services:
            key = (one.deploy.kind, one.deploy.connection)
            by_deployer.setdefault(key, {})[one.service] = one
        found: list[tuple[Deployed, VersionState]] = []
        for members in by_deployer.values():
            first = next(iter(members.values()))
            try:
                states = await self._deployer_for(first.deploy).versions()
            except AdapterError as error:
                _not_told(first.service, error)
                continue
            found += [(members[one.service], one) for one in states if one.service in members]
        return found

    async def _is_needed(self, one: Deployed, state: VersionState) -> bool:
        """By a route, or by a workflow that sees to it."""
        if await is_routed(self._router_for(one.router), one.service, state.version):
            return True
        by = [
            canary_workflow_id(one.service, here()),
            retire_workflow_id(one.service, state.version, here()),
        ]
        if state.release:
            by.append(release_workflow_id(state.release, here()))
        for workflow_id in by:
            if await self._runs(workflow_id):
                return True
        # A canary closes after its last write: asked once more, when nothing runs any more.
        return await is_routed(self._router_for(one.router), one.service, state.version)


def _left(one: Deployed, state: VersionState) -> Leftover:
    return Leftover(
        service=one.service,
        version=state.version,
        release=state.release,
        instances=len(state.instances),
        generation=state.generation,
        router=one.router,
        deploy=one.deploy,
    )


def _not_told(service: str, error: AdapterError) -> None:
    what = "instances can't be checked"
    retried = isinstance(error, Retryable)
    extra = {"service": service, "error": str(error), "retried": retried}
    activity.logger.warning(what, extra=extra)
