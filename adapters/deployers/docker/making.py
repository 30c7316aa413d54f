"""Instances of one version made and begun: what is there is adopted, what is foreign left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.backoff import doubling
from adapters.deployers.docker import labels
from adapters.deployers.docker.body import SECRETS, Recipe, body_of, needs_port
from adapters.deployers.docker.engine import (
    BAD,
    CONFLICT,
    NOT_FOUND,
    UNREACHED,
    Engine,
    EngineError,
)
from adapters.deployers.docker.fence import Fence
from adapters.deployers.docker.looking import OVER
from adapters.deployers.docker.ports import HostPorts
from adapters.deployers.docker.troubles import TroubledError, is_port_taken, of_start
from adapters.deployers.docker.watching import Watch
from adapters.errors import StaleGeneration, Terminal
from schemas.deployment import Trouble

_AT_ONCE: Final = 4
_TRIES: Final = 20
_AGAIN_S: Final = (1.0, 30.0)
"""Pauses before a container that ended for good is started again."""
_FORBIDDEN: Final = 403


@dataclass(frozen=True)
class Shared:
    """What every order of one deployer has in common."""

    engine: Engine
    fence: Fence
    watch: Watch
    owner: str


class Making:
    """Makes the instances of one recipe.

    Args:
        shared: of the deployer.
        recipe: of the version.
        clock: seconds that only grow.
    """

    def __init__(self, shared: Shared, recipe: Recipe, clock: Callable[[], float]) -> None:
        self._shared, self._engine, self._fence = shared, shared.engine, shared.fence
        self._recipe, self._wanted, self._clock = recipe, recipe.wanted, clock
        self._again: dict[str, tuple[float, Iterator[float]]] = {}
        self._ports: HostPorts | None = None
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._looking = asyncio.Lock()

    async def there(self) -> list[dict[str, Any]]:
        """All instances of the version, of whatever recipe, in the order of their numbers."""
        wanted = self._wanted
        found = await self._engine.containers(
            labels.matching(
                self._shared.owner, wanted.service, wanted.version, labels.INSTANCE_KIND
            )
        )
        return sorted(found, key=number_of)

    def is_wanted(self, container: Mapping[str, Any]) -> bool:
        """Whether it is made as the recipe says, and was not told to end."""
        same = labels.labels_of(container).get(labels.RECIPE) == self._wanted.made_of
        return same and not labels.is_going(container)

    async def fill(self) -> None:
        """Have as many as wanted, all begun.

        Raises:
            TroubledError: one can't be, which may pass.
            StaleGeneration, Terminal, Retryable: as the port says.
        """
        there = await self.there()
        kept = [one for one in there if self.is_wanted(one)][: self._wanted.instances]
        taken = {number_of(one) for one in there}
        free = (n for n in range(1, 2 * len(taken) + self._wanted.instances + 2) if n not in taken)
        missing = [next(free) for _ in range(self._wanted.instances - len(kept))]
        self._ports = None
        done = await asyncio.gather(
            *(self._kept(one) for one in kept),
            *(self._made(number) for number in missing),
            return_exceptions=True,
        )
        wrong = [one for one in done if isinstance(one, BaseException)]
        # What ends the attempt before what may pass.
        for error in sorted(wrong, key=lambda one: isinstance(one, TroubledError)):
            raise error

    async def _kept(self, there: Mapping[str, Any]) -> None:
        async with self._few:
            container, status = str(there["Id"]), there.get("State")
            if status == "created" or (status in OVER and self._may_begin_again(container)):
                await self._begun(self._name(number_of(there)), container)

    def _may_begin_again(self, container: str) -> bool:
        """One that the daemon does not start again itself; with pauses that grow."""
        at, pauses = self._again.get(container, (0.0, doubling(*_AGAIN_S)))
        if self._clock() < at:
            return False
        self._again[container] = (self._clock() + next(pauses), pauses)
        return True

    async def _made(self, number: int) -> None:
        name = self._name(number)
        async with self._few:
            for _ in range(_TRIES):
                port = await self._port(name)
                container = await self._created(name, number, port)
                if container is not None and await self._begun(name, container):
                    return
        text = f"{name}: no port that nobody else has, among {self._engine.connection.ports}"
        raise TroubledError(Trouble.NAME_TAKEN, text)

    async def _created(self, name: str, number: int, port: int | None) -> str | None:
        """A new container, or the one of that name; None: that one has gone, try again."""
        address = self._engine.connection.published_at
        body = body_of(self._recipe, self._shared.owner, number, address, port)
        try:
            return await self._engine.create(name, body)
        except EngineError as error:
            if error.status == CONFLICT:
                return await self._adopted(name)
            if error.status == UNREACHED:
                raise
            text = self._recipe.hide(str(error))
            if error.status == BAD:
                raise Terminal(f"{name}: Docker refuses the recipe: {text}") from None
            raise of_start(name, text) from None

    async def _adopted(self, name: str) -> str | None:
        """The container that has the name, made by another attempt since; None: it has gone.

        Raises:
            TroubledError: it is not ours, and was not touched.
        """
        found = await self._engine.inspect(name)
        if found is None:
            return None
        wanted, said = self._wanted, labels.labels_of(found)
        kind, owner = labels.INSTANCE_KIND, self._shared.owner
        if not labels.is_same(found, kind, owner, wanted.service, wanted.version):
            other = said.get(labels.OWNER)
            whose = f"of another Aviary ({other})" if other else "not Aviary's"
            text = f"{name}: a container that is {whose} has the name"
            raise TroubledError(Trouble.NAME_TAKEN, text)
        if not self.is_wanted(found):
            raise TroubledError(Trouble.OTHER, f"{name}: of another recipe, and made just now")
        return str(found["Id"])

    async def _begun(self, name: str, container: str) -> bool:
        """Start a container; False: its port was taken, and it has gone."""
        try:
            await self._prepared(container)
            await self._fence.check_still(self._wanted)
            await self._engine.start(container)
        except StaleGeneration:
            found = await self._engine.inspect(container)
            if found is not None and found.get("State", {}).get("Status") == "created":
                await self._engine.remove(container)
            raise
        except EngineError as error:
            if error.status == UNREACHED:
                raise
            if is_port_taken(str(error)):
                await self._engine.remove(container)
                return False
            if error.status == NOT_FOUND and "no such container" in str(error).lower():
                raise TroubledError(Trouble.OTHER, f"{name}: somebody removed it") from None
            raise of_start(name, self._recipe.hide(str(error))) from None
        return True

    async def _prepared(self, container: str) -> None:
        if self._recipe.files:
            await self._engine.put_files(container, SECRETS, self._recipe.files)
        for network in self._recipe.options.networks[1:]:
            try:
                await self._engine.connect(network, container)
            except EngineError as error:
                if error.status not in {_FORBIDDEN, CONFLICT}:  # it is in it already
                    raise

    async def _port(self, name: str) -> int | None:
        if not needs_port(self._recipe.options):
            return None
        async with self._looking:
            if self._ports is None:
                ports = self._engine.connection.port_range
                self._ports = HostPorts(ports, await self._engine.containers())
        return self._ports.take(name)

    def _name(self, number: int) -> str:
        prefix, wanted = self._engine.connection.prefix, self._wanted
        return labels.name_of(prefix, wanted.service, wanted.version, str(number))


def number_of(container: Mapping[str, Any]) -> int:
    """Of an instance, from 1."""
    return labels.number(labels.labels_of(container), labels.INSTANCE)
