"""All of Aviary dies in mid-canary; `make chaos` has every moment of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.rows import table
from tests.chaos.sentinel import MOMENTS, die_at_all

BUSY_S = 20.0
"""What a machine may add that runs other tests; `make chaos` wants two seconds."""


@pytest.mark.chaos
@pytest.mark.e2e
async def test_users_are_on_stable_soon_after_all_of_aviary_has_died(tmp_path: Path) -> None:
    rows = await die_at_all(tmp_path / "site", MOMENTS[-1:])
    assert all(row.good for row in rows), f"\n{table(rows)}"
    assert all(0 < row.seconds + 1 < BUSY_S for row in rows), f"\n{table(rows)}"
