"""A part of the outages, small enough for every test run; `make chaos` has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.outages.faults import FAULTS
from tests.chaos.outages.run import meet_all
from tests.chaos.rows import table

CHOSEN = {"temporal killed", "network to Temporal frozen"}


@pytest.mark.chaos
@pytest.mark.e2e
async def test_parts_that_die_or_fall_silent_under_load_cost_no_state(tmp_path: Path) -> None:
    chosen = [fault for fault in FAULTS if fault.name in CHOSEN]
    rows = await meet_all(tmp_path, chosen, quick=True)
    assert len(rows) == 4 * len(CHOSEN)
    assert all(row.good for row in rows), f"\n{table(rows)}"
