"""One order carried out: containers made, begun and watched until all of them are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from adapters.backoff import doubling
from adapters.deployers.docker.body import Recipe
from adapters.deployers.docker.images import Images
from adapters.deployers.docker.looking import Look, seasoned
from adapters.deployers.docker.making import Making, Shared
from adapters.deployers.docker.troubles import TroubledError
from adapters.ports import Drain, Report
from schemas.deployment import Instance, InstanceState, Trouble, VersionState

_POLL_S: Final = 0.3
_LONGEST_S: Final = 5.0


class Reporter:
    """Whom to tell of a version, and only when something has changed."""

    def __init__(self, report: Report, drain: Drain | None) -> None:
        self._report = report
        self._drain = drain
        self.last: VersionState | None = None

    def tell(self, state: VersionState) -> None:
        """Report a state that is not the last one."""
        if state != self.last:
            self.last = state
            self._report(state)

    async def drained(self, state: VersionState) -> None:
        """Wait until nobody routes to what is not among the endpoints."""
        if self._drain is not None:
            await self._drain(state)


class Attempt:
    """Carries one order out.

    Args:
        shared: of the deployer.
        recipe: of the version.
        told: of how it goes.
        clock: seconds that only grow.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        shared: Shared,
        recipe: Recipe,
        told: Reporter,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._shared, self._recipe, self._wanted = shared, recipe, recipe.wanted
        self._told, self._clock, self._sleep = told, clock, sleep
        self._making = Making(shared, recipe, clock)
        self._images = Images(shared.engine)
        self._has_image = False
        self._seen: dict[str, tuple[str, float]] = {}
        self._worst: dict[str, Look] = {}

    async def run(self) -> VersionState:
        """Go on until it is so.

        Raises:
            StaleGeneration, Terminal, Retryable: as the port says.
        """
        pauses = doubling(_POLL_S, _LONGEST_S)
        while True:
            troubled = await self._tried()
            state, surplus = await self._state(troubled)
            if troubled is None and self._is_so(state):
                return await self._ended(state, surplus)
            self._told.tell(state)
            await self._shared.fence.check_still(self._wanted)
            if troubled is None:
                pauses = doubling(_POLL_S, _LONGEST_S)
            await self._sleep(next(pauses) if troubled is not None else _POLL_S)

    async def _tried(self) -> TroubledError | None:
        try:
            if not self._has_image and self._wanted.instances:
                await self._images.have(self._recipe.image, self._recipe.options.pull, self._say)
                self._has_image = True
            await self._making.fill()
        except TroubledError as error:
            if error.trouble is Trouble.IMAGE_MISSING:
                self._has_image = False
            return error
        return None

    def _is_so(self, state: VersionState) -> bool:
        return state.trouble is None and state.ready == self._wanted.instances

    async def _ended(self, state: VersionState, surplus: list[str]) -> VersionState:
        """What is not wanted goes, once it is out of the router."""
        if surplus:
            self._told.tell(state)
            await self._told.drained(state)
            await self._shared.fence.check_still(self._wanted)
            await asyncio.gather(*(self._shared.watch.end(one) for one in surplus))
            left = (one for one in state.instances if one.state is not InstanceState.DRAINING)
            state = state.model_copy(update={"instances": tuple(left)})
        self._told.tell(state)
        return state

    async def _state(self, troubled: TroubledError | None) -> tuple[VersionState, list[str]]:
        """How the version is, and which of its containers are not wanted."""
        there = await self._making.there()
        wanted = [one for one in there if self._making.is_wanted(one)][: self._wanted.instances]
        kept = {str(one["Id"]) for one in wanted}
        looks = await self._shared.watch.looks(str(one["Id"]) for one in there)
        trouble, text = (None, "") if troubled is None else (troubled.trouble, troubled.text)
        instances: list[Instance] = []
        for container, one in looks.items():
            if container not in kept:
                instances.append(_draining(one))
                continue
            seasoned = self._seasoned(one)
            instances.append(seasoned.instance)
            if trouble is None and seasoned.trouble is not None:
                trouble = seasoned.trouble
                text = f"{seasoned.instance.name}: {seasoned.instance.text}"
        surplus = [str(one["Id"]) for one in there if str(one["Id"]) not in kept]
        return self._version(tuple(instances), trouble, text), surplus

    def _seasoned(self, one: Look) -> Look:
        """What is seen now, in the light of what was seen before."""
        name = one.instance.name
        since = self._seen.get(name)
        if since is None or since[0] != one.started_at:
            since = self._seen[name] = (one.started_at, self._clock())
        one = seasoned(one, max(self._clock() - since[1], one.age_s))
        if one.state is InstanceState.READY:
            self._worst.pop(name, None)
        elif one.trouble is not None:
            self._worst[name] = one
        elif (before := self._worst.get(name)) is not None:
            instance = one.instance.model_copy(update={"text": before.instance.text})
            return replace(one, instance=instance, trouble=before.trouble)
        return one

    def _version(
        self, instances: tuple[Any, ...], trouble: Trouble | None, text: str
    ) -> VersionState:
        wanted = self._wanted
        return VersionState(
            service=wanted.service,
            version=wanted.version,
            release=wanted.release,
            generation=wanted.generation,
            wanted=wanted.instances,
            instances=instances,
            trouble=trouble,
            text=text,
            order=wanted,
        )

    def _say(self, text: str) -> None:
        instances = self._told.last.instances if self._told.last else ()
        self._told.tell(self._version(instances, None, text))


def _draining(one: Look) -> Instance:
    return one.instance.model_copy(update={"state": InstanceState.DRAINING, "text": "not wanted"})
