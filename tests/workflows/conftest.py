"""A real Temporal dev server for all workflow tests, and a world of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from aviary.local.parts import DEVELOPMENT_SERVER, run_time_settings
from tests.engines.server import TEMPORAL, temporal
from tests.workflows.kit import World

__all__ = ["FAST_TIMERS", "QUICK_TIMERS", "TEMPORAL"]

QUICK_TIMERS: Final = {
    name: DEVELOPMENT_SERVER[name]
    for name in (
        "history.timerProcessorMaxTimeShift",  # by default up to a second is added to every timer
        "matching.numTaskqueueReadPartitions",
        "matching.numTaskqueueWritePartitions",
    )
}
FAST_TIMERS: Final = run_time_settings(QUICK_TIMERS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(engine: str) -> AsyncIterator[WorkflowEnvironment]:
    async with temporal(engine, QUICK_TIMERS) as environment:
        yield environment


@pytest.fixture
async def world(server: WorkflowEnvironment) -> AsyncIterator[World]:
    here = World(server.client)
    async with here.working():
        yield here
