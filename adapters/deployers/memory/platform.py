"""What deployers in memory put things up on: it outlives them, as a host outlives a worker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from adapters.deployers.fence import Obeyed
from adapters.errors import AdapterError
from schemas.deployment import (
    Endpoint,
    Instance,
    InstanceState,
    OneOff,
    OneOffEnd,
    Trouble,
    WantedVersion,
)

Version = tuple[str, str, str]
"""Owner, service and version."""
_FIRST_PORT: Final = 10_000


@dataclass(frozen=True)
class Labels:
    """What is written on all that a deployer makes."""

    owner: str
    release: str
    service: str
    version: str
    generation: int

    @property
    def key(self) -> Version:
        """Whose version it is."""
        return (self.owner, self.service, self.version)


@dataclass
class Thing:
    """Something that runs; without labels it is not Aviary's."""

    name: str
    port: int
    labels: Labels | None = None
    made_of: str = ""
    since: float = 0.0
    state: InstanceState = InstanceState.STARTING
    text: str = ""

    @property
    def instance(self) -> Instance:
        """As a deployer reports it."""
        where = Endpoint(host="127.0.0.1", port=self.port)
        return Instance(name=self.name, state=self.state, endpoint=where, text=self.text)


@dataclass(frozen=True)
class Ailment:
    """What a version has instead of ready instances."""

    trouble: Trouble
    text: str = ""
    healthy: int = 0
    """Instances that are ready all the same."""


@dataclass
class Run:
    """A command that was begun."""

    one: OneOff
    version: Version
    since: float


def _well(_: OneOff) -> OneOffEnd:
    return OneOffEnd(exit_code=0)


@dataclass
class MemoryPlatform:
    """Things by name, and what was ordered of them.

    Attributes:
        takes: seconds from when an instance is made until it is ready.
        ends: how commands end.
        runs_for: seconds that a command takes.
        clock: seconds that only grow.
        pause: waits for seconds of that clock.
        steps: what was done to it, in order: `make checkout-1.4.2-…`, `drain …`, `kill …`.
        before: called before each step with its text, for tests that stop or count.
        after: called after each.
    """

    takes: float = 0.0
    ends: Callable[[OneOff], OneOffEnd] = _well
    runs_for: float = 0.0
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    before: Callable[[str], Awaitable[None]] | None = None
    after: Callable[[str], Awaitable[None]] | None = None
    things: dict[str, Thing] = field(default_factory=dict)
    obeyed: dict[Version, Obeyed] = field(default_factory=dict)
    wanted: dict[Version, int] = field(default_factory=dict)
    orders: dict[Version, WantedVersion] = field(default_factory=dict)
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    began: Counter[str] = field(default_factory=Counter)
    """How often a command was begun, by key."""
    steps: list[str] = field(default_factory=list)
    _ailments: dict[tuple[str, str], Ailment] = field(default_factory=dict)
    _errors: deque[AdapterError | None] = field(default_factory=deque)
    _port: int = _FIRST_PORT

    def give_trouble(
        self, service: str, version: str, trouble: Trouble, text: str = "", *, healthy: int = 0
    ) -> None:
        """Let instances of a version not become ready, but for so many, until `heal`."""
        self._ailments[service, version] = Ailment(trouble, text, healthy)

    def heal(self, service: str, version: str) -> None:
        """End the trouble of a version."""
        self._ailments.pop((service, version), None)

    def ailment(self, service: str, version: str) -> Ailment | None:
        """The trouble of a version."""
        return self._ailments.get((service, version))

    def fail(self, error: AdapterError, *, at: int = 1) -> None:
        """Let one of the next steps fail before it has an effect: the first, or the `at`-th."""
        self._errors.extend([None] * (at - 1) + [error])

    def plant(self, name: str) -> Thing:
        """Put something up that is not Aviary's."""
        return self.things.setdefault(name, Thing(name, self.next_port()))

    def kill(self, name: str) -> None:
        """Have an instance end by itself."""
        self.things[name].state = InstanceState.FAILED
        self.things[name].text = "exit code 137"

    def next_port(self) -> int:
        """One that nobody has."""
        self._port += 1
        return self._port

    async def step(self, text: str, effect: Callable[[], None]) -> None:
        """Do one thing, with what tests have asked for before and after."""
        if self.before is not None:
            await self.before(text)
        error = self._errors.popleft() if self._errors else None
        if error is not None:
            raise error
        effect()
        self.steps.append(text)
        if self.after is not None:
            await self.after(text)
        # As where a platform is asked: others have their turn.
        await asyncio.sleep(0)
