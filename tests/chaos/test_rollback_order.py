"""Every call of every activity fails, is done twice or comes late: no service is left half-way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.chaos.faults import Mode
from tests.chaos.rollback_order import Haunted, roll_back_all
from tests.chaos.rows import table

STRIDE = 1 if os.environ.get("CHAOS_ALL") else 24
"""Of every so many calls one is taken, another for each mode; `make chaos` takes all."""


@pytest.fixture
async def world(server: WorkflowEnvironment) -> AsyncIterator[Haunted]:
    here = Haunted(server.client)
    async with here.working():
        yield here


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "back",
    [
        pytest.param(False, id="finalize", marks=pytest.mark.acceptance),
        pytest.param(True, id="roll back"),
    ],
)
async def test_a_fault_at_any_call_leaves_no_service_half_way(
    world: Haunted, back: bool, mode: Mode
) -> None:
    rows = await roll_back_all(world, mode, back=back, stride=STRIDE)
    assert rows
    assert all(row.good for row in rows), f"\n{table(rows)}"
