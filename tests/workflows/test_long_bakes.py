"""A canary through hours of bakes, with skipped time."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.ids import (
    CANARY_WORKFLOW,
    QUERY_STATUS,
    SIGNAL_FINALIZE,
    SIGNAL_PAUSE,
    SIGNAL_RESUME,
    canary_workflow_id,
)
from schemas.release import CanaryInput, CanaryOutcome, CanaryPhase, CanaryStatus
from tests.workflows.kit import QUICK, World
from workflows.planning import plan_release

TEST_SERVER = Path(sys.executable).parent / "temporal-test-server"
HOUR = timedelta(hours=1)


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEST_SERVER), data_converter=pydantic_data_converter
    ) as environment:
        yield environment


Canary = WorkflowHandle[Any, CanaryOutcome]


async def _canary(world: World, strategy: Mapping[str, Any]) -> Canary:
    """A canary by itself, without a release that orders it."""
    service = world.service("ledger")
    catalog = Catalog.model_validate(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "test"},
            "strategies": {"test": strategy},
            "services": {service: {}},
        }
    )
    asked = {"release": "r", "services": [{"service": service, "version": "2"}]}
    plan = plan_release(catalog, DeployRequested.model_validate(asked))
    return await world.client.start_workflow(
        CANARY_WORKFLOW,
        CanaryInput(release="r", plan=plan.services[service], tuning=QUICK),
        id=canary_workflow_id(service),
        task_queue=world.queue,
        result_type=CanaryOutcome,
    )


async def _status(canary: Canary) -> CanaryStatus:
    status: CanaryStatus = await canary.query(QUERY_STATUS, result_type=CanaryStatus)
    return status


async def test_every_step_bakes_as_long_as_the_strategy_says(
    server: WorkflowEnvironment, world: World
) -> None:
    canary = await _canary(world, {"steps": [10, 50], "bake": "10h"})
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
    canary = await _canary(world, {"steps": [10, 50], "bake": "1h"})
    await canary.signal(SIGNAL_PAUSE)
    await server.sleep(100 * HOUR)
    status = await _status(canary)
    assert (status.phase, status.weight) == (CanaryPhase.PAUSED, 0)
    await canary.signal(SIGNAL_RESUME)
    await server.sleep(3 * HOUR)
    assert (await _status(canary)).phase is CanaryPhase.HOLDING
    await canary.cancel()
    assert (await canary.result()).phase is CanaryPhase.ROLLED_BACK
