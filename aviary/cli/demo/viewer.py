"""Where the demo's releases are watched: a live table on a terminal, plain lines without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from temporalio.client import Client

from aviary.cli.failing import CommandError
from aviary.cli.watch import follow
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from aviary.releases.remote import Releases
from aviary.releases.sight import Sight
from aviary.settings import load_settings
from schemas.release import CanaryStatus, ReleaseStatus

_EVERY_S: Final = 0.5
_PATIENCE_S: Final = 30.0
_ENDED_WITHIN_S: Final = 300.0

Look = Callable[[ReleaseStatus], Awaitable[None]]


class ReleaseViewer:
    """Asks for releases and shows them until they end.

    Args:
        stack: running.
        temporal: connected to it.
    """

    def __init__(self, stack: Stack, temporal: Client) -> None:
        self.temporal = temporal
        self._stack = stack
        settings = load_settings(
            temporal_address=stack.addresses["temporal"],
            kafka_bootstrap=stack.addresses["kafka"],
        )
        self._releases = Releases(temporal, settings)

    async def watch(
        self,
        release: str,
        versions: Mapping[str, str],
        look: Look | None = None,
        faults: Mapping[str, Fault] | None = None,
    ) -> ReleaseStatus:
        """Ask for a release as a pipeline does, and show it until it ends.

        Args:
            release: its id.
            versions: by service.
            look: called with each state that is shown.
            faults: what is wrong with some of the versions.

        Raises:
            TimeoutError: it did not end.
            CommandError: it never began, or nobody answers.
        """
        await self._stack.request(release, versions, faults=faults)
        async with asyncio.timeout(_ENDED_WITHIN_S):
            return await follow(_Looked(self._releases, look), release, _EVERY_S)


class _Looked:
    """A watch's source that waits for the beginning and passes each look on."""

    def __init__(self, releases: Releases, look: Look | None) -> None:
        self._releases = releases
        self._look = look

    async def status(self, release: str) -> ReleaseStatus:
        status = await self._patiently(release)
        if self._look is not None:
            await self._look(status)
        return status

    async def canaries(self, status: ReleaseStatus) -> dict[str, CanaryStatus]:
        return await self._releases.canaries(status)

    async def sights(self, status: ReleaseStatus) -> dict[str, Sight]:
        return await self._releases.sights(status)

    async def _patiently(self, release: str) -> ReleaseStatus:
        """The bridge needs a moment to begin a release, and a busy worker one to answer."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return await self._releases.status(release)
            except CommandError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_EVERY_S)
