"""A real Temporal dev server for all workflow tests, and a world of its own for each."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from aviary.converter import DATA_CONVERTER
from tests.workflows.kit import World

TEMPORAL = Path(sys.executable).parent / "temporal"
# The server's defaults add up to a second to every timer.
FAST_TIMERS = ["--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"']


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL),
        data_converter=DATA_CONVERTER,
        dev_server_extra_args=FAST_TIMERS,
    ) as environment:
        yield environment


@pytest.fixture
async def world(server: WorkflowEnvironment) -> AsyncIterator[World]:
    here = World(server.client)
    async with here.working():
        yield here
