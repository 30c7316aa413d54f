"""A deployer in this process, for tests, trials and first steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from adapters.deployers.fence import Obeyed, check_still, check_take_down, check_wanted
from adapters.deployers.memory.platform import Labels, MemoryPlatform, Run, Thing, Version
from adapters.errors import StillInUse, UnknownVersion
from adapters.ports.deploying import Drain, Report, StillRouted
from schemas.deployment import (
    InstanceState,
    OneOff,
    OneOffEnd,
    Trouble,
    VersionState,
    WantedVersion,
)

GRACE_S: Final = 0.0
"""Seconds that an instance has to end, by the platform's clock."""
POLL_S: Final = 0.01
"""Seconds between two looks at a version that is not ready, by the platform's clock."""
_ALIVE: Final = {InstanceState.STARTING, InstanceState.READY, InstanceState.NOT_READY}


class MemoryDeployer:
    """A `Deployer` and a `OneOffRunner` over a `MemoryPlatform`.

    Args:
        platform: what it puts things up on; one of its own if left out.
        owner: written on what it makes.
        grace: seconds that an instance has to end.
    """

    def __init__(
        self, platform: MemoryPlatform | None = None, owner: str = "aviary", grace: float = GRACE_S
    ) -> None:
        self.platform = platform or MemoryPlatform()
        self._owner = owner
        self._grace = grace

    async def put_up(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Make the version so (see the port)."""
        await self._obey(wanted)
        return await self._until_ready(wanted, report, drain)

    async def scale(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Have as many instances as wanted (see the port)."""
        key = self._key(wanted.service, wanted.version)
        check_wanted(wanted, self.platform.obeyed.get(key))
        if key not in self.platform.wanted:
            raise UnknownVersion(f"{wanted.service} {wanted.version}: is not up")
        return await self.put_up(wanted, report, drain)

    async def take_down(
        self, service: str, version: str, generation: int, still_routed: StillRouted
    ) -> None:
        """Take all instances of a version away (see the port)."""
        key = self._key(service, version)
        check_take_down(service, version, generation, self.platform.obeyed.get(key))
        if await still_routed():
            raise StillInUse(f"{service} {version}: the route names it; it stays up")
        # Asked again: somebody may have ordered meanwhile.
        check_take_down(service, version, generation, self.platform.obeyed.get(key))
        down = Obeyed(generation=generation)
        await self.platform.step(
            f"order {service} {version} down", lambda: self.platform.obeyed.update({key: down})
        )
        for thing in self._things(key):
            await self._end(thing)
        for run in [one for one, run in self.platform.runs.items() if run.version == key]:
            del self.platform.runs[run]
        self.platform.wanted.pop(key, None)
        self.platform.orders.pop(key, None)

    async def versions(self, service: str | None = None) -> Sequence[VersionState]:
        """What is up, or half-made, by this owner (see the port)."""
        mine = {key for key in self.platform.wanted if key[0] == self._owner}
        mine |= {
            thing.labels.key
            for thing in self.platform.things.values()
            if thing.labels is not None and thing.labels.owner == self._owner
        }
        return [self._state(key) for key in sorted(mine) if service in {None, key[1]}]

    async def run(self, one: OneOff) -> OneOffEnd:
        """Run a command, or find its run (see the port)."""
        at = (self._owner, one.key)
        if at not in self.platform.runs:
            key = self._key(one.wanted.service, one.wanted.version)
            await self.platform.step(f"run {one.key}", lambda: self._begin(at, one, key))
        run = self.platform.runs[at]
        left = run.since + self.platform.runs_for - self.platform.clock()
        if left > 0:
            await self.platform.pause(left)
        return self.platform.ends(run.one)

    async def aclose(self) -> None:
        """It holds nothing."""

    def _begin(self, at: tuple[str, str], one: OneOff, key: Version) -> None:
        self.platform.runs[at] = Run(one, key, self.platform.clock())
        self.platform.began[one.key] += 1

    def _key(self, service: str, version: str) -> Version:
        return (self._owner, service, version)

    def _things(self, key: Version) -> list[Thing]:
        every = sorted(self.platform.things.values(), key=lambda thing: thing.name)
        return [one for one in every if one.labels is not None and one.labels.key == key]

    async def _obey(self, wanted: WantedVersion) -> None:
        key = self._key(wanted.service, wanted.version)
        check_wanted(wanted, self.platform.obeyed.get(key))
        order = Obeyed.of(wanted)
        if self.platform.obeyed.get(key) == order:
            return

        def effect() -> None:
            check_wanted(wanted, self.platform.obeyed.get(key))
            self.platform.obeyed[key] = order
            self.platform.wanted[key] = wanted.instances
            self.platform.orders[key] = wanted

        await self.platform.step(f"order {wanted.service} {wanted.version} up", effect)

    async def _until_ready(
        self, wanted: WantedVersion, report: Report, drain: Drain | None
    ) -> VersionState:
        key = self._key(wanted.service, wanted.version)
        told: VersionState | None = None
        while True:
            check_still(wanted, self.platform.obeyed.get(key))
            taken = await self._make(wanted, key)
            self._look(wanted, key)
            kept = self._current(wanted, key)[: wanted.instances]
            is_ready = sum(one.state is InstanceState.READY for one in kept) == wanted.instances
            if is_ready:
                await self._end_surplus(wanted, key, kept, drain)
            state = self._state(key, taken)
            if state != told:
                report(state)
                told = state
            if is_ready:
                return state
            await self.platform.pause(POLL_S)

    async def _make(self, wanted: WantedVersion, key: Version) -> str:
        """Make what is missing; returns the name that somebody else has, or nothing."""
        labels = Labels(
            self._owner, wanted.release, wanted.service, wanted.version, wanted.generation
        )
        for slot in range(wanted.instances):
            name = f"{wanted.service}-{wanted.version}-{wanted.made_of[:6]}-{slot:04d}"
            found = self.platform.things.get(name)
            if found is not None and (found.labels is None or found.labels.key != key):
                return name
            if found is not None and found.state in _ALIVE:
                if found.labels != labels:
                    await self.platform.step(f"adopt {name}", partial(self._label, name, labels))
                continue
            await self.platform.step(
                f"make {name}", partial(self._start, name, labels, wanted.made_of)
            )
            check_still(wanted, self.platform.obeyed.get(key))
        return ""

    def _label(self, name: str, labels: Labels) -> None:
        self.platform.things[name].labels = labels

    def _start(self, name: str, labels: Labels, made_of: str) -> None:
        here = self.platform
        here.things[name] = Thing(name, here.next_port(), labels, made_of, here.clock())

    def _look(self, wanted: WantedVersion, key: Version) -> None:
        """Let time and trouble have their effect on the instances."""
        ailment = self.platform.ailment(wanted.service, wanted.version)
        since = self.platform.clock() - self.platform.takes
        for at, thing in enumerate(self._current(wanted, key)):
            if ailment is not None and at >= ailment.healthy:
                thing.text = ailment.text
                thing.state = InstanceState.STARTING
            elif thing.state is InstanceState.STARTING and thing.since <= since:
                thing.state, thing.text = InstanceState.READY, ""

    def _current(self, wanted: WantedVersion, key: Version) -> list[Thing]:
        """Instances of the wanted recipe that are not on their way out, in the order of names."""
        return [
            one
            for one in self._things(key)
            if one.made_of == wanted.made_of and one.state is not InstanceState.DRAINING
        ]

    async def _end_surplus(
        self, wanted: WantedVersion, key: Version, kept: list[Thing], drain: Drain | None
    ) -> None:
        going = [one for one in self._things(key) if one not in kept]
        if not going:
            return
        for thing in going:
            thing.state = InstanceState.DRAINING
        if drain is not None:
            await drain(self._state(key))
        for thing in going:
            check_still(wanted, self.platform.obeyed.get(key))
            await self._end(thing)

    async def _end(self, thing: Thing) -> None:
        def drain() -> None:
            thing.state = InstanceState.DRAINING

        def kill() -> None:
            if self.platform.things.get(thing.name) is thing:  # and not one made in its place
                del self.platform.things[thing.name]

        await self.platform.step(f"drain {thing.name}", drain)
        if self._grace:
            await self.platform.pause(self._grace)
        await self.platform.step(f"kill {thing.name}", kill)

    def _state(self, key: Version, taken: str = "") -> VersionState:
        _, service, version = key
        things = self._things(key)
        labels = [thing.labels for thing in things if thing.labels is not None]
        newest = max(labels, key=lambda one: one.generation, default=None)
        obeyed = self.platform.obeyed.get(key)
        ailment = self.platform.ailment(service, version)
        state = VersionState(
            service=service,
            version=version,
            release=newest.release if newest else "",
            generation=obeyed.generation if obeyed else 0,
            wanted=self.platform.wanted.get(key, 0),
            instances=tuple(thing.instance for thing in things),
            order=self.platform.orders.get(key),
        )
        if taken:
            text = f"{taken} is the name of something that is not Aviary's"
            return state.model_copy(update={"trouble": Trouble.NAME_TAKEN, "text": text})
        if ailment is not None and state.ready < state.wanted:
            return state.model_copy(update={"trouble": ailment.trouble, "text": ailment.text})
        return state
