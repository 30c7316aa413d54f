"""What the contract suite needs of a deployer: a platform, and recipes that work or don't."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final, Protocol

from adapters.deployers.memory.deployer import MemoryDeployer
from adapters.deployers.memory.platform import MemoryPlatform
from adapters.ports import Deployer, OneOffRunner
from schemas.deployment import (
    Endpoint,
    Instance,
    InstanceState,
    OneOff,
    OneOffEnd,
    Trouble,
    WantedVersion,
)

OLD: Final = "1.4.1"
NEW: Final = "1.4.2"
OWNER: Final = "aviary"

_ANSWERS: Final = {InstanceState.READY, InstanceState.DRAINING}

_names = itertools.count(1)


def new_name() -> str:
    """Of a service that nobody has used yet."""
    return f"svc-{next(_names)}"


class Subject(Protocol):
    """One member of the port, under test."""

    @property
    def troubles(self) -> frozenset[Trouble]:
        """What instances of it can be given."""

    def deployer(self, owner: str = OWNER) -> Deployer:
        """A new one on the same platform, as after a restart of its worker."""

    def wanted(
        self,
        service: str,
        version: str,
        generation: int,
        instances: int = 1,
        *,
        trouble: Trouble | None = None,
        config: dict[str, str] | None = None,
    ) -> WantedVersion:
        """An order whose instances become ready at once, or get into trouble."""

    async def heal(self, wanted: WantedVersion) -> None:
        """End the trouble that an order was given, from outside."""

    async def answer(self, endpoint: Endpoint) -> str:
        """The version that answers a request there; empty where nobody does."""

    async def things(self) -> frozenset[str]:
        """Names of all that runs on the platform, whoever put it up."""

    async def plant(self, like: Instance) -> str:
        """Put something up that is not Aviary's, as like an instance as the platform allows.

        The instance is gone; returns the name among `things`.
        """

    async def kill(self, instance: Instance) -> None:
        """Have an instance end, from outside."""


class Running(Subject, Protocol):
    """One whose deployer runs commands."""

    def runner(self, owner: str = OWNER) -> OneOffRunner:
        """As `deployer`."""

    def command(self, text: str, exit_code: int, seconds: float = 0.0) -> tuple[str, ...]:
        """A command that prints a text and ends so, after a while."""

    async def runs(self, text: str) -> int:
        """How often the command that prints this text was begun."""


class MemorySubject:
    """The deployer in memory."""

    remembers = True
    troubles = frozenset(Trouble) - {Trouble.NAME_TAKEN}

    def __init__(self) -> None:
        self.platform = MemoryPlatform(ends=self._ends)

    def deployer(self, owner: str = OWNER) -> MemoryDeployer:
        return MemoryDeployer(self.platform, owner)

    def runner(self, owner: str = OWNER) -> MemoryDeployer:
        return self.deployer(owner)

    def wanted(
        self,
        service: str,
        version: str,
        generation: int,
        instances: int = 1,
        *,
        trouble: Trouble | None = None,
        config: dict[str, str] | None = None,
    ) -> WantedVersion:
        if trouble is not None:
            self.platform.give_trouble(service, version, trouble, f"words of {trouble}")
        return order(service, version, generation, instances, config=config or {})

    async def heal(self, wanted: WantedVersion) -> None:
        self.platform.heal(wanted.service, wanted.version)

    async def answer(self, endpoint: Endpoint) -> str:
        for thing in self.platform.things.values():
            if thing.port == endpoint.port and thing.state in _ANSWERS:
                return thing.labels.version if thing.labels is not None else ""
        return ""

    async def things(self) -> frozenset[str]:
        return frozenset(
            name
            for name, thing in self.platform.things.items()
            if thing.state is not InstanceState.FAILED
        )

    async def plant(self, like: Instance) -> str:
        return self.platform.plant(like.name).name

    async def kill(self, instance: Instance) -> None:
        self.platform.kill(instance.name)

    def command(self, text: str, exit_code: int, seconds: float = 0.0) -> tuple[str, ...]:
        self.platform.runs_for = seconds
        return (text, str(exit_code))

    async def runs(self, text: str) -> int:
        return sum(run.one.command[0] == text for run in self.platform.runs.values())

    @staticmethod
    def _ends(one: OneOff) -> OneOffEnd:
        text, code = one.command
        return OneOffEnd(exit_code=int(code), lines=(text,))


def order(
    service: str, version: str, generation: int, instances: int = 1, **more: Any
) -> WantedVersion:
    """An order of a release that is named after the generation."""
    return WantedVersion(
        service=service,
        version=version,
        release=f"r{generation}",
        generation=generation,
        instances=instances,
        **more,
    )


async def free() -> bool:
    """No route names the version."""
    return False


async def routed() -> bool:
    """The route names the version."""
    return True


def names(instances: Sequence[Instance]) -> set[str]:
    """Of instances."""
    return {one.name for one in instances}


SUBJECTS: Final = ("memory", "process", "docker")
"""Every deployer there is; each has a fixture `<name>_deployer_subject`."""
RUNNERS: Final = ("memory", "process", "docker")
"""Those that run commands."""
