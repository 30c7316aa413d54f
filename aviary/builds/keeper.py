"""Beside a worker: makes its build current, looks after builds without workers, and tells.

Every worker looks; of those of the current build, the first by name acts. Two that act at once do
no harm: all that is done is the same a second time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

from aviary.builds.abandoned import MOST, Abandoned, replaying
from aviary.builds.liveness import Liveness
from aviary.builds.server import BuildState, Deployment, Pinned, Routing
from aviary.settings import Settings
from aviary.telemetry.temporal_metrics import HEARTBEAT_S

_SOON_S: Final = 1.0
"""While a new worker's build is not known yet, or not current."""
_log = structlog.get_logger("aviary.builds")


@dataclass(frozen=True)
class Own:
    """The process that keeps."""

    version: WorkerDeploymentVersion
    identity: str
    promotes: bool
    """Whether its build is made current without a person."""


def wants_promotion(own: Own, routing: Routing, live: Liveness, now: float) -> bool:
    """Whether this build is to be made current now.

    A build is, once, when it is new: one that was current before and starts again (a crash, a late
    replica) takes nothing back from its successor. And the newest that has workers is, when the
    current one has none.
    """
    build = own.version.build_id
    known = routing.of(build)
    if not own.promotes or known is None or routing.current == build:
        return False
    if not known.activated:
        return True
    with_workers = (one.build_id for one in routing.builds if one.build_id in live.builds(now))
    newest = next(with_workers, "")
    return bool(routing.current) and newest == build and live.gone(routing.current, now)


class Gauges:
    """What is told of builds; the same from every worker but for its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.own = Gauge(
            "aviary_build_info",
            "1, for the build of this worker and its state.",
            ["deployment", "build", "state"],
            registry=registry,
        )
        self.workers = Gauge(
            "aviary_build_workers",
            "Worker processes that live, by build; the same from every worker.",
            ["build", "state"],
            registry=registry,
        )
        self.pinned = Gauge(
            "aviary_build_workflows",
            "Running releases and canaries that are pinned to a build.",
            ["build"],
            registry=registry,
        )
        self.abandoned = Gauge(
            "aviary_abandoned_workflows",
            "Running releases and canaries whose build has no workers, by build.",
            ["build"],
            registry=registry,
        )

    def clear(self) -> None:
        """Tell nothing."""
        for gauge in (self.own, self.workers, self.pinned, self.abandoned):
            gauge.clear()


class Keeper:
    """Looks every few seconds. What it can't learn it does not show."""

    def __init__(
        self,
        deployment: Deployment,
        own: Own,
        abandoned: Abandoned,
        registry: CollectorRegistry,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """Nothing is asked yet.

        Args:
            deployment: that it keeps.
            own: the process that it runs in.
            abandoned: takes on what builds leave behind.
            registry: for its metrics.
            heartbeat_s: seconds between two heartbeats of every worker of the deployment.
        """
        self._deployment = deployment
        self._own = own
        self._abandoned = abandoned
        self._heartbeat_s = heartbeat_s
        self._live = Liveness(time.monotonic(), heartbeat_s)
        self._gauges = Gauges(registry)
        self._state: BuildState | None = None
        self._trouble = ""
        self._was_current = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            settled = False
            try:
                settled = await self.look()
                self._trouble = ""
            except RPCError as error:
                self._failed(error)
            await asyncio.sleep(self._heartbeat_s if settled else _SOON_S)

    async def look(self) -> bool:
        """Look once, and do what is to be done; whether this build has its place.

        Raises:
            RPCError: Temporal did not answer, or refused.
        """
        now = time.monotonic()
        self._live.see(await self._deployment.heartbeats(), now)
        routing = await self._deployment.routing()
        if wants_promotion(self._own, self._remembered(routing), self._live, now):
            await self._promote(routing)
            routing = await self._deployment.routing()
        self._tell(routing)
        await self._count(routing, now)
        await self._look_after(routing, now)
        known = routing.of(self._own.version.build_id)
        return known is not None and (known.activated or not self._own.promotes)

    def _remembered(self, routing: Routing) -> Routing:
        """The routing, with what this process has seen before: its build was current.

        Where another has just become current, Temporal may say for a moment that this one never
        was; it would take its place back.
        """
        build = self._own.version.build_id
        self._was_current |= routing.current == build
        if not self._was_current:
            return routing
        known = (
            replace(one, activated=True) if one.build_id == build else one for one in routing.builds
        )
        return replace(routing, builds=tuple(known))

    async def _promote(self, routing: Routing) -> None:
        build = self._own.version.build_id
        try:
            await self._deployment.promote(build)
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            if error.message != self._trouble:  # at first not all of its queues are polled yet
                self._trouble = error.message
                _log.info("not_promoted_yet", build=build, reason=error.message)
            return
        self._was_current = True
        _log.info("promoted", build=build, before=routing.current or "(none)")

    def _tell(self, routing: Routing) -> None:
        """Log a change of this build's state: one that is drained may be stopped."""
        version = self._own.version
        known = routing.of(version.build_id)
        state = known.state if known else BuildState.INACTIVE
        self._gauges.own.clear()
        self._gauges.own.labels(version.deployment_name, version.build_id, state).set(1)
        if state is not self._state:
            self._state = state
            _log.info("build_state", state=state, build=version.build_id, current=routing.current)

    async def _count(self, routing: Routing, now: float) -> None:
        """Count workers and releases of all builds that are in use."""
        counts = []
        for build in routing.builds:
            workers = len(self._live.identities(build.build_id, now))
            if workers or build.state not in {BuildState.DRAINED, BuildState.INACTIVE}:
                pinned = await self._deployment.pinned_to(build.build_id)
                counts.append((build, workers, pinned))
        self._gauges.workers.clear()
        self._gauges.pinned.clear()
        for build, workers, pinned in counts:
            self._gauges.workers.labels(build.build_id, build.state).set(workers)
            self._gauges.pinned.labels(build.build_id).set(pinned)

    async def _look_after(self, routing: Routing, now: float) -> None:
        """Find what is pinned to builds without workers; take it on where it is ours to do so."""
        build = self._own.version.build_id
        if build not in self._live.builds(now):
            return  # this worker lives: whoever does not know that knows nothing of others either
        found = await self._pinned_to_gone(now)
        waiting = Counter(one.build_id for one in found)
        first = min(self._live.identities(build, now))
        if found and routing.current == build and first == self._own.identity:
            waiting = await self._abandoned.take_on(
                found, lambda one: self._live.silent_s(one, now)
            )
        self._gauges.abandoned.clear()
        for one, count in waiting.items():
            self._gauges.abandoned.labels(one).set(count)

    async def _pinned_to_gone(self, now: float) -> list[Pinned]:
        found: list[Pinned] = []
        async for one in self._deployment.pinned_elsewhere(self._live.builds(now)):
            if one.build_id and self._live.gone(one.build_id, now):
                found.append(one)
            if len(found) >= MOST:
                break
        return found

    def _failed(self, error: RPCError) -> None:
        text = f"{error.status.name}: {error.message}"
        if text != self._trouble:
            self._trouble = text
            _log.warning("builds_not_known", error=text)
        self._gauges.clear()


def keeper_of(
    client: Client,
    settings: Settings,
    version: WorkerDeploymentVersion,
    registry: CollectorRegistry,
) -> Keeper:
    """The keeper of a worker's process.

    Args:
        client: of the worker.
        settings: of the process.
        version: the build of the process.
        registry: for its metrics.
    """
    deployment = Deployment(client, version.deployment_name)
    own = Own(version, client.identity, settings.build_promotion == "automatic")
    abandoned = Abandoned(deployment, version.build_id, settings.build_gone_s, replaying(client))
    return Keeper(deployment, own, abandoned, registry)
