"""Bridge and webhook die between any two of their steps, on a real broker and a real Temporal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.intake import die_everywhere
from tests.chaos.rows import table


@pytest.mark.chaos
async def test_each_input_has_its_effect_once_whoever_dies_and_when(tmp_path: Path) -> None:
    rows = await die_everywhere(tmp_path)
    assert all(row.struck for row in rows), f"\n{table(rows)}"
    assert all(row.good for row in rows), f"\n{table(rows)}"
