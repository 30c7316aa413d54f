"""What tests of deployers do: order, gather what is reported, stop in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.ports import Deployer
from schemas.deployment import VersionState, WantedVersion

LONGEST_S = 120.0
"""Seconds that any order may take."""


class Reports(list[VersionState]):
    """What a deployer reports, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, state: VersionState) -> None:
        self.append(state)
        self._more.set()

    async def until(self, fits: Callable[[VersionState], bool]) -> VersionState:
        """The first report that fits, of now or later."""
        seen = 0
        async with asyncio.timeout(LONGEST_S):
            while True:
                for state in self[seen:]:
                    if fits(state):
                        return state
                seen = len(self)
                self._more.clear()
                await self._more.wait()


async def put_up(deployer: Deployer, wanted: WantedVersion) -> VersionState:
    """Order a version, and return its state once it is ready."""
    async with asyncio.timeout(LONGEST_S):
        return await deployer.put_up(wanted, Reports())


async def begin(
    deployer: Deployer, wanted: WantedVersion
) -> tuple[asyncio.Task[VersionState], Reports]:
    """Begin to put a version up."""
    reports = Reports()
    return asyncio.create_task(deployer.put_up(wanted, reports)), reports


async def stop(task: asyncio.Task[VersionState]) -> None:
    """Cancel an order, as a worker that ends does."""
    task.cancel()
    await asyncio.wait([task], timeout=LONGEST_S)
    assert task.done()
