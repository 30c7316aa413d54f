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
Drain = Callable[[VersionState], Awaitable[None]]
"""Takes what is not among the endpoints of this state out of the router, and returns once no new
request goes there. Awaited before any instance that goes is told to end."""
StillRouted = Callable[[], Awaitable[bool]]
"""Asks the router, now, whether its route names the version."""


@runtime_checkable
class Deployer(Protocol):
    """Puts versions of services up, and takes them down.

    Orders are fenced: one whose generation is not larger than what was obeyed for the same version,
    be it since taken down, is refused. The same order again is a success without effect, and to
    take a version down the generation by which it was put up is enough. What is remembered for
    that outlives the version and the worker (`adapters.deployers.fence`).
    """

    async def put_up(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Make the version so, and return once all wanted instances are ready.

        Takes on what an earlier attempt left half-made. Instances of another image, configuration
        or recipe, and those beyond the wanted number, go once the wanted ones are ready.

        Trouble that may pass (an image that is not there yet, a crash loop, no memory) is reported
        and waited for, until the caller cancels; what was made by then stays, for `take_down`.

        Args:
            wanted: the order.
            report: told whenever the state of the version has changed.
            drain: awaited before instances that go are told to end; None: nobody routes to them.

        Raises:
            StaleGeneration: a newer order was obeyed.
            Terminal: the platform refuses the recipe; it can never succeed.
            Retryable: the platform could not be asked.
        """

    async def scale(
        self, wanted: WantedVersion, report: Report, drain: Drain | None = None
    ) -> VersionState:
        """Have as many instances as wanted of a version that is up; returns once they are ready.

        As `put_up`, but it puts nothing up that is not up. There may be none wanted: the version
        stays known, without instances.

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

        The key counts among all runs of this owner. A caller that is cancelled leaves it running;
        the next call with the key finds it. What is left of it is removed with the version.

        Raises:
            Terminal: it can't be run.
            Retryable: the platform could not be asked.
        """
