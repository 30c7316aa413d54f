"""A canary through hours of bakes, with skipped time."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from schemas.ids import (
    QUERY_STATUS,
    SIGNAL_FINALIZE,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
)
from schemas.release import CanaryPhase, CanaryStatus
from tests.workflows.kit import Canary, World

TEST_SERVER = Path(sys.executable).parent / "temporal-test-server"
HOUR = timedelta(hours=1)


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEST_SERVER), data_converter=pydantic_data_converter
    ) as environment:
        yield environment


async def _status(canary: Canary) -> CanaryStatus:
    status: CanaryStatus = await canary.query(QUERY_STATUS, result_type=CanaryStatus)
    return status


async def test_every_step_bakes_as_long_as_the_strategy_says(
    server: WorkflowEnvironment, world: World
) -> None:
    canary = await world.canary({"steps": [10, 50], "bake": "10h"})
    await server.sleep(9 * HOUR)
    assert ((await _status(canary)).weight, (await _status(canary)).step) == (10, 0)
    await server.sleep(2 * HOUR)
    assert (await _status(canary)).weight == 50
    await server.sleep(10 * HOUR)
    assert (await _status(canary)).phase is CanaryPhase.HOLDING
    await server.sleep(1000 * HOUR)
    assert (await _status(canary)).phase is CanaryPhase.HOLDING
    await canary.signal(SIGNAL_FINALIZE)
    assert (await canary.result()).phase is CanaryPhase.FINALIZED


async def test_a_pause_holds_the_weight_for_days(server: WorkflowEnvironment, world: World) -> None:
    canary = await world.canary({"steps": [10, 50], "bake": "1h"})
    await canary.signal(SIGNAL_PAUSE)
    await server.sleep(100 * HOUR)
    status = await _status(canary)
    assert (status.phase, status.weight) == (CanaryPhase.PAUSED, 0)
    await canary.signal(SIGNAL_RESUME)
    await server.sleep(3 * HOUR)
    assert (await _status(canary)).phase is CanaryPhase.HOLDING
    await canary.cancel()
    assert (await canary.result()).phase is CanaryPhase.ROLLED_BACK
