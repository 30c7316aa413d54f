"""Bridge and webhook die between any two of their steps, on a real broker and a real Temporal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.dying import Between
from tests.chaos.ingestion import die_everywhere
from tests.chaos.rows import table

CHOSEN = (
    Between.SIGNAL_COMMIT,
    Between.DEAD_LETTER_COMMIT,
    Between.PRODUCE_RESPONSE,
    Between.ASK_PRODUCE,
)
"""`make chaos` has all; `start | commit` is in `tests/contract/kafka` as well."""


@pytest.mark.chaos
async def test_each_input_has_its_effect_once_whoever_dies_and_when(tmp_path: Path) -> None:
    rows = await die_everywhere(tmp_path / "ingestion", CHOSEN)
    assert all(row.struck for row in rows), f"\n{table(rows)}"
    assert all(row.good for row in rows), f"\n{table(rows)}"
