"""A real Temporal dev server for all workflow tests, and a world of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.engines.server import TEMPORAL, temporal
from tests.workflows.kit import World

__all__ = ["FAST_TIMERS", "QUICK_TIMERS", "TEMPORAL"]

# The server's defaults add up to a second to every timer.
QUICK_TIMERS = {"history.timerProcessorMaxTimeShift": "10ms"}
FAST_TIMERS = [
    word
    for name, value in QUICK_TIMERS.items()
    for word in ("--dynamic-config-value", f'{name}="{value}"')
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(engine: str) -> AsyncIterator[WorkflowEnvironment]:
    async with temporal(engine, QUICK_TIMERS) as environment:
        yield environment


@pytest.fixture
async def world(server: WorkflowEnvironment) -> AsyncIterator[World]:
    here = World(server.client)
    async with here.working():
        yield here
