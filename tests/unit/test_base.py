"""Durations and percentages: what is read, what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import format_duration, parse_duration


@given(st.integers(0, 366 * 86_400_000))
def test_what_is_written_reads_the_same(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    "wrong",
    ["", "5", 5, 5.0, True, "5 minutes", "-5m", "5m\n", "٣s", "99999999999999d", "367d", ".inf"],
)
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(wrong)
