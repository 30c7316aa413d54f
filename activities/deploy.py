"""Versions of services: put up, scaled and taken down by a deployer, and told to the router.

Each is one long activity that heartbeats what it sees. They are on a queue of their own: a pull of
minutes is in no route write's way. An order carries a generation, so that a late attempt of an
older one is refused, by the deployer and by the router.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.clock import server_now
from activities.policy import Policy, forever, terminal_errors
from activities.report_delivery import PendingReport
from adapters.errors import Retryable, StaleGeneration, StillInUse, UnknownRoute
from adapters.ports import Deployer, EndpointWriter, Routing
from adapters.ports.deploying import Drain, Report
from schemas.base import Duration, Model, ServiceName, Version, format_duration
from schemas.deploy_spec import DeploySpec
from schemas.deployment import Generation, InstanceState, VersionState, WantedVersion
from schemas.outside import TEXT_MOST, cut
from schemas.router_spec import RouterSpec

PUT_UP: Final = "aviary.deploy.put_up"
SCALE: Final = "aviary.deploy.scale"
COUNT: Final = "aviary.deploy.count"
RECALL: Final = "aviary.deploy.recall"
TAKE_DOWN: Final = "aviary.deploy.take_down"
NOT_READY: Final = "NotReady"
"""Type of the failure of a version that was not ready in time; its text is the instances' own."""

ORDER_POLICY = Policy(
    start_to_close=timedelta(minutes=1),
    retry=forever(timedelta(seconds=5)),
    heartbeat=timedelta(seconds=10),
    schedule_to_close=timedelta(minutes=1),
)
"""Beside the time that the instances have; what is over then was taken by no worker."""
COUNT_POLICY = Policy(start_to_close=timedelta(seconds=30), retry=forever(timedelta(seconds=10)))
TAKE_DOWN_POLICY = Policy(
    start_to_close=timedelta(hours=1),
    retry=forever(timedelta(seconds=30)),
    heartbeat=timedelta(seconds=10),
)
LETS_GO: Final = timedelta(seconds=1)
"""Between a router that was told to forget instances and the first that is told to end: what it
has just sent arrives."""
REFRESHES_MOST: Final = 1000
"""Changes of endpoints under one order; generations are milliseconds, and changes seconds apart."""
_HEARTBEAT_S: Final = 2.0
_TELL_EVERY_S: Final = 3.0
_TOLD_MOST: Final = 30
"""Reports of one attempt: each costs the release's history four events."""
_WORDS_OF: Final = 3
"""Instances whose own words a failure repeats."""

Obey = Callable[[WantedVersion, Report, Drain | None], Awaitable[VersionState]]
"""How a deployer takes an order: `put_up`, or `scale`."""


class Order(Model):
    """Have so many instances of a version ready, and the router know where they are."""

    router: RouterSpec
    deploy: DeploySpec
    wanted: WantedVersion
    within: Duration = Field(description="How long they may take, from when this was asked.")
    report: PendingReport | None = Field(
        default=None, description="Where the canary is: told on with how the instances are."
    )


class TakeDown(Model):
    """Take a version away that no route names."""

    router: RouterSpec
    deploy: DeploySpec
    service: ServiceName
    version: Version
    generation: Generation


class Asked(Model):
    """Asks for what is known of a version that is up."""

    deploy: DeploySpec
    service: ServiceName
    version: Version


class _Progress:
    """How a version is, as its deployer last reported."""

    def __init__(self, text: str) -> None:
        self.state: VersionState | None = None
        self.text = text
        """In a sentence."""

    def report(self, state: VersionState) -> None:
        self.state = state
        self.text = cut(state.sentence, TEXT_MOST)

    @property
    def words(self) -> str:
        """The sentence, and what the instances that are not ready say themselves."""
        said = [
            f"{one.name} said: {one.text}"
            for one in (self.state.instances if self.state else ())
            if one.state is not InstanceState.READY and one.text
        ]
        return cut("; ".join([self.text, *said[:_WORDS_OF]]), TEXT_MOST)


class DeployActivities:
    """Activities over deployers, and the routers that are told of their instances.

    Args:
        router_for: finds the router of a specification.
        deployer_for: finds the deployer of a specification.
        tell: delivers a report of a canary to its release.
        sleep: waits that many seconds.
        clock: the time, as Temporal has it.
    """

    def __init__(
        self,
        router_for: Callable[[RouterSpec], Routing],
        deployer_for: Callable[[DeploySpec], Deployer],
        tell: Callable[[PendingReport], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], datetime] = server_now,
    ) -> None:
        self._router_for = router_for
        self._deployer_for = deployer_for
        self._tell = tell
        self._sleep = sleep
        self._clock = clock

    @activity.defn(name=PUT_UP)
    async def put_up(self, order: Order) -> None:
        """Put a version up; returns once its instances are ready and the router knows them."""
        await self._obey(order, lambda one: one.put_up)

    @activity.defn(name=SCALE)
    async def scale(self, order: Order) -> None:
        """Have so many instances of a version that is up; returns once they are ready."""
        await self._obey(order, lambda one: one.scale)

    @activity.defn(name=COUNT)
    async def count(self, asked: Asked) -> int:
        """The instances that a version is to have; 0 of one that is not up by us."""
        return sum(one.wanted for one in await self._versions(asked))

    @activity.defn(name=RECALL)
    async def recall(self, asked: Asked) -> WantedVersion | None:
        """The order that a version is up by; None where that is not ours, or not remembered."""
        return next((one.order for one in await self._versions(asked)), None)

    async def _versions(self, asked: Asked) -> list[VersionState]:
        with terminal_errors():
            found = await self._deployer_for(asked.deploy).versions(asked.service)
        return [one for one in found if one.version == asked.version]

    @activity.defn(name=TAKE_DOWN)
    async def take_down(self, asked: TakeDown) -> None:
        """Take a version away: out of the router first, then its instances, which drain."""
        progress = _Progress(f"taking {asked.service} {asked.version} down")
        self._clock()
        async with self._heartbeating(progress, None):
            with terminal_errors():
                await self._take_down(asked)

    async def _take_down(self, asked: TakeDown) -> None:
        routing, deployer = self._router_for(asked.router), self._deployer_for(asked.deploy)

        async def still_routed() -> bool:
            return await is_routed(routing, asked.service, asked.version)

        if await still_routed():
            raise StillInUse(f"{asked.service}: its route names {asked.version}")
        up = {one.version: one for one in await deployer.versions(asked.service)}
        state = up.get(asked.version)
        if state is not None and state.generation > asked.generation:
            raise StaleGeneration(f"{asked.service} {asked.version}: it was put up again")
        if routing.endpoints is not None and state is not None:
            await routing.endpoints.drop_endpoints(asked.service, asked.version, asked.generation)
            await self._sleep(LETS_GO.total_seconds())
        await deployer.take_down(asked.service, asked.version, asked.generation, still_routed)

    async def _obey(self, order: Order, method: Callable[[Deployer], Obey]) -> None:
        known = activity.info().heartbeat_details
        progress = _Progress(known[0] if known else f"{order.wanted.service}: not begun yet")
        left = order.within - (self._clock() - activity.info().scheduled_time)
        async with self._heartbeating(progress, order.report):
            try:
                with terminal_errors():
                    await self._in_time(order, progress, left.total_seconds(), method)
            except Retryable as error:
                progress.text = cut(str(error), TEXT_MOST)
                activity.heartbeat(progress.text)
                raise

    async def _in_time(
        self,
        order: Order,
        progress: _Progress,
        left_s: float,
        method: Callable[[Deployer], Obey],
    ) -> None:
        """Have it so before the time is over; else say why not, in the instances' words."""

        async def drain(state: VersionState) -> None:
            await self._tell_router(order, state)

        deadline = asyncio.timeout(max(left_s, 0))
        try:
            async with deadline:
                obey = method(self._deployer_for(order.deploy))
                state = await obey(order.wanted, progress.report, drain)
                await drain(state)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise _not_ready(order, progress) from None

    async def _tell_router(self, order: Order, state: VersionState) -> None:
        writer = self._router_for(order.router).endpoints
        if writer is not None and state.endpoints:
            await put_endpoints(writer, state, order.wanted.generation)

    @asynccontextmanager
    async def _heartbeating(
        self, progress: _Progress, pending: PendingReport | None
    ) -> AsyncIterator[None]:
        """Heartbeat what is seen while the work inside goes on, and tell the release of it."""
        tasks = [asyncio.create_task(self._heartbeat(progress))]
        if pending is not None:
            tasks.append(asyncio.create_task(self._tell_on(progress, pending)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _heartbeat(self, progress: _Progress) -> None:
        while True:
            activity.heartbeat(progress.text)
            await self._sleep(_HEARTBEAT_S)

    async def _tell_on(self, progress: _Progress, pending: PendingReport) -> None:
        """Nothing is lost where this is cut short: the canary's next report says all."""
        told = ""
        for number in range(1, 1 + _TOLD_MOST):
            while progress.state is None or progress.text == told:
                await self._sleep(_TELL_EVERY_S / 10)
            told = progress.text
            news = {"waits_for": told, "at": self._clock(), "sequence": pending.report.sequence}
            report = pending.report.model_copy(update=news)
            await self._tell(pending.model_copy(update={"report": report}))
            await self._sleep(_TELL_EVERY_S * number)


async def is_routed(routing: Routing, service: str, version: str) -> bool:
    """Whether the router's route names a version now: of several routers, that of any.

    Raises:
        Retryable: it could not be asked.
    """
    for part in routing.each:
        try:
            if version in (await part.routing.router.read(service)).versions:
                return True
        except UnknownRoute:
            continue
    return False


async def put_endpoints(writer: EndpointWriter, state: VersionState, generation: int) -> None:
    """Have a router know where the ready instances of a version are.

    Under one order they may move: what is there by the same order, or by a refresh of it, is
    overruled; what a newer one has written is not.

    Raises:
        StaleGeneration: a newer order was obeyed.
        Terminal, Retryable: as `EndpointWriter.put_endpoints`.
    """
    there = (await writer.endpoints(state.service)).get(state.service, {}).get(state.version)
    if there is not None:
        if there.endpoints == state.endpoints and there.generation >= generation:
            return
        if generation <= there.generation < generation + REFRESHES_MOST:
            generation = there.generation + 1
    await writer.put_endpoints(state.service, state.version, state.endpoints, generation)


def _not_ready(order: Order, progress: _Progress) -> ApplicationError:
    text = f"not ready within {format_duration(order.within)}: {progress.words}"
    return ApplicationError(text, type=NOT_READY, non_retryable=True)
