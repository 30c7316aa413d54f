"""A Temporal server that soon notices when a build is drained, and several builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.builds.kit import Builds
from tests.engines.server import temporal
from tests.workflows.conftest import QUICK_TIMERS

SOON = {
    "matching.wv.VersionDrainageStatusRefreshInterval": "1s",
    "matching.wv.VersionDrainageStatusVisibilityGracePeriod": "1s",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(engine: str) -> AsyncIterator[WorkflowEnvironment]:
    async with temporal(engine, QUICK_TIMERS | SOON) as environment:
        yield environment


@pytest.fixture
async def builds(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Builds]:
    here = Builds(server.client, tmp_path)
    yield here
    here.kill_all()
