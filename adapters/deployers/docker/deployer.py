"""Versions as containers of one Docker host."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from adapters.deployers.docker import labels
from adapters.deployers.docker.attempt import Attempt, Reporter
from adapters.deployers.docker.body import recipe_of
from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.engine import Engine
from adapters.deployers.docker.fence import Fence, Mark
from adapters.deployers.docker.looking import Look, seasoned
from adapters.deployers.docker.making import Shared
from adapters.deployers.docker.one_off import OneOffs
from adapters.deployers.docker.watching import Watch
from adapters.deployers.fence import check_take_down, check_wanted
from adapters.errors import StillInUse, UnknownVersion
from adapters.ports import Drain, Report, StillRouted
from schemas.base import ServiceName, Version
from schemas.deployment import (
    INSTANCES_MOST,
    Instance,
    InstanceState,
    OneOff,
    OneOffEnd,
    Trouble,
    VersionState,
    WantedVersion,
)

_NOBODY: Final = "none"
"""The release of an order that has none: of taking down what nobody knows any more."""
_SERVICE: Final = TypeAdapter[str](ServiceName)
_VERSION: Final = TypeAdapter[str](Version)


class DockerDeployer:
    """A `Deployer`, and a `OneOffRunner`, over the Engine API.

    Args:
        connection: what reaches the daemon.
        owner: the name of this Aviary; containers of other owners are foreign.
        clock: seconds that only grow.
        now: the time of day.
        sleep: waits so many seconds.
        ssh: the program for hosts behind SSH.
    """

    def __init__(  # noqa: PLR0913 - clocks, for tests
        self,
        connection: DockerConnection,
        owner: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ssh: str = "ssh",
    ) -> None:
        self._connection, self._owner = connection, owner
        self._clock, self._sleep = clock, sleep
        self._engine = Engine(connection, ssh)
        self._fence = Fence(self._engine, owner, now)
        self._watch = Watch(self._engine, now)
        self._shared = Shared(self._engine, self._fence, self._watch, owner)
        self._one_offs = OneOffs(self._engine, self._fence, owner, sleep)

    async def put_up(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Make the containers of a version, or take on what is there (see the port)."""
        recipe = await asyncio.to_thread(recipe_of, wanted, self._connection)
        await self._fence.take(wanted)
        attempt = Attempt(self._shared, recipe, Reporter(report, drain), self._clock, self._sleep)
        return await attempt.run()

    async def scale(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """The same for one that is up (see the port)."""
        newest = await self._fence.newest(wanted.service, wanted.version)
        check_wanted(wanted, newest.obeyed if newest else None)
        if newest is None or newest.obeyed.down:
            raise UnknownVersion(f"{wanted.service} {wanted.version}: it is not up")
        return await self.put_up(wanted, report, drain)

    async def take_down(
        self, service: str, version: str, generation: int, still_routed: StillRouted
    ) -> None:
        """Take all containers of a version away, those of its one-offs too (see the port)."""
        newest = await self._fence.newest(service, version)
        order = WantedVersion(
            service=service,
            version=version,
            release=(newest.release if newest else "") or _NOBODY,
            generation=generation,
            instances=0,
        )
        check_take_down(service, version, generation, newest.obeyed if newest else None)
        if await still_routed():
            raise StillInUse(f"{service} {version}: its route names it; nothing was touched")
        await self._fence.take_down(order)
        while things := await self._things(service, version):
            await asyncio.gather(*(self._watch.end(str(one["Id"])) for one in things))
        await self._fence.sweep()

    async def versions(self, service: str | None = None) -> Sequence[VersionState]:
        """The versions that have containers, or shall have (see the port)."""
        found = await self._engine.containers(
            labels.matching(self._owner, service, kind=labels.INSTANCE_KIND)
        )
        looks = await self._watch.looks(str(one["Id"]) for one in found)
        groups: dict[tuple[str, str], list[tuple[Mapping[str, str], Look]]] = defaultdict(list)
        for one in found:
            said = labels.labels_of(one)
            whose = (said.get(labels.SERVICE, ""), said.get(labels.VERSION, ""))
            if str(one["Id"]) in looks and _are_names(*whose):
                seen = looks[str(one["Id"])]
                groups[whose].append((said, seasoned(seen, seen.age_s)))
        marks = {(one.service, one.version): one for one in await self._fence.marks(service)}
        up = groups.keys() | {
            whose for whose, mark in marks.items() if not mark.obeyed.down and _are_names(*whose)
        }
        return tuple(_state(whose, groups[whose], marks.get(whose)) for whose in sorted(up))

    async def run(self, one: OneOff) -> OneOffEnd:
        """Run a command in a container of its own, once for its key (see the port)."""
        recipe = await asyncio.to_thread(recipe_of, one.wanted, self._connection)
        return await self._one_offs.run(one, recipe)

    async def aclose(self) -> None:
        """Let go of connections; containers stay."""
        await self._watch.aclose()
        await self._engine.aclose()

    async def _things(self, service: str, version: str) -> list[dict[str, Any]]:
        return await self._engine.containers(labels.matching(self._owner, service, version))


def _are_names(service: str, version: str) -> bool:
    """Whether labels can be Aviary's: somebody else may have written others."""
    try:
        _SERVICE.validate_python(service)
        _VERSION.validate_python(version)
    except ValidationError:
        return False
    return True


def _state(
    whose: tuple[str, str], found: list[tuple[Mapping[str, str], Look]], mark: Mark | None
) -> VersionState:
    found = sorted(found, key=lambda one: labels.number(one[0], labels.INSTANCE))[:INSTANCES_MOST]
    down = mark is not None and mark.obeyed.down
    wanted = 0 if down else min(INSTANCES_MOST, mark.wanted if mark is not None else len(found))
    newest = max(found, key=lambda one: labels.number(one[0], labels.GENERATION), default=None)
    said = newest[0] if newest is not None else {}
    first = next((one for _, one in found if one.trouble), None)
    trouble, text = None, ""
    if first is not None and wanted:
        trouble, text = first.trouble, f"{first.instance.name}: {first.instance.text}"
    elif len(found) < wanted:
        gone = wanted - len(found)
        text = f"{gone} of its containers {'is' if gone == 1 else 'are'} not there"
        trouble = Trouble.OTHER
    return VersionState(
        service=whose[0],
        version=whose[1],
        release=mark.release if mark and not down else said.get(labels.RELEASE, ""),
        generation=mark.obeyed.generation if mark else labels.number(said, labels.GENERATION),
        wanted=wanted,
        instances=tuple(_instance(one, down) for _, one in found),
        trouble=trouble,
        text=text,
        order=mark.order if mark and not down else None,
    )


def _instance(one: Look, down: bool) -> Instance:
    if not down and not one.instance.name.endswith(labels.GOING):
        return one.instance
    return one.instance.model_copy(update={"state": InstanceState.DRAINING})
