"""A Temporal server that soon notices when a build is drained, and several builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from aviary.converter import DATA_CONVERTER
from tests.builds.kit import Builds
from tests.workflows.conftest import FAST_TIMERS, TEMPORAL

SOON = [
    *("--dynamic-config-value", 'matching.wv.VersionDrainageStatusRefreshInterval="1s"'),
    *("--dynamic-config-value", 'matching.wv.VersionDrainageStatusVisibilityGracePeriod="1s"'),
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL),
        data_converter=DATA_CONVERTER,
        dev_server_extra_args=[*FAST_TIMERS, *SOON],
    ) as environment:
        yield environment


@pytest.fixture
async def builds(server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Builds]:
    here = Builds(server.client, tmp_path)
    yield here
    here.kill_all()
