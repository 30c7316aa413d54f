"""Ports of what puts versions up and takes them down, beside each other and never in place.

A version is a thing of its own on its platform: containers, processes, a Deployment. What a
deployer makes carries owner, release, service, version and generation, and it touches nothing that
does not. Its owner is the name of this Aviary (`AVIARY_CELL`, environment), given as it is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from schemas.deployment import OneOff, OneOffEnd, VersionState, WantedVersion

Report = Callable[[VersionState], None]
"""Is told how a version is, whenever that has changed."""
StillRouted = Callable[[], Awaitable[bool]]
"""Asks the router, now, whether its route names the version."""


@runtime_checkable
class Deployer(Protocol):
    """Puts versions of services up, and takes them down.

    Orders are fenced: one whose generation is smaller than what was obeyed for the same version,
    be it since taken down, is refused. The same order again is a success without effect.
    """

    async def put_up(self, wanted: WantedVersion, report: Report) -> VersionState:
        """Make the version so, and return once all wanted instances are ready.

        Takes on what an earlier attempt left half-made. Trouble that may pass (an image that is
        not there yet, a crash loop, no memory) is reported and waited for, until the caller
        cancels; what was made by then stays, for `take_down`.

        Raises:
            StaleGeneration: a newer order was obeyed.
            Terminal: the platform refuses the recipe; it can never succeed.
            Retryable: the platform could not be asked.
        """

    async def scale(self, wanted: WantedVersion, report: Report) -> VersionState:
        """Have as many instances as wanted of a version that is up; returns once they are ready.

        Where there are too many, those that go are drained first, as by `take_down`.

        Raises:
            UnknownVersion: it is not up.
            StaleGeneration, Terminal, Retryable: as `put_up`.
        """

    async def take_down(
        self, service: str, version: str, generation: int, still_routed: StillRouted
    ) -> None:
        """Take all instances of a version away; returns once they have gone.

        Each is told to end (SIGTERM), has its grace to finish requests in flight, and is then
        killed. What is not there is a success. The router is asked right before anything is told
        to end, and no route may be written to the version by whoever calls.

        Raises:
            StillInUse: the route names the version; nothing was touched.
            StaleGeneration: a newer order was obeyed.
            Retryable: the platform could not be asked.
        """

    async def versions(self, service: str | None = None) -> Sequence[VersionState]:
        """The versions that are up, or half-made, by this owner: of one service, or of all.

        Raises:
            Retryable: the platform could not be asked.
        """

    async def aclose(self) -> None:
        """Let go of connections; what was put up stays up."""


@runtime_checkable
class OneOffRunner(Protocol):
    """Runs a command to its end, with the image and the configuration of a version."""

    async def run(self, one: OneOff) -> OneOffEnd:
        """Run it, or find the run of the same key, and wait for its end.

        A caller that is cancelled leaves it running; the next call with the key finds it. What is
        left of it is removed with the version.

        Raises:
            Terminal: it can't be run.
            Retryable: the platform could not be asked.
        """
