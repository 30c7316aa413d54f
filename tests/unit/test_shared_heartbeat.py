"""The heartbeats of judges: in time for each, and not too many for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.shared_heartbeat import LATEST, SOONEST, SharedHeartbeat, lost_after


@contextmanager
def _with(judges: int) -> Iterator[SharedHeartbeat]:
    shared_heartbeat = SharedHeartbeat()
    with ExitStack() as stack:
        for _ in range(judges):
            stack.enter_context(shared_heartbeat.counted())
        yield shared_heartbeat


@pytest.mark.parametrize(
    ("interval", "expected"), [(0.2, 5), (1, 5), (2.5, 5), (4, 8), (15, 30), (300, 30)]
)
def test_a_judge_is_lost_after_two_readings(interval: float, expected: float) -> None:
    assert lost_after(timedelta(seconds=interval)) == timedelta(seconds=expected)


@given(st.integers(1, 10_000), st.floats(0.1, 3600))
def test_every_judge_is_heard_well_before_it_is_taken_for_lost(
    judges: int, interval: float
) -> None:
    each = timedelta(seconds=interval)
    with _with(judges) as shared_heartbeat:
        assert shared_heartbeat.pause(lost_after(each)) <= 0.7 * lost_after(each).total_seconds()
    assert SOONEST <= lost_after(each) <= LATEST


@given(st.integers(1, 1_600))
def test_all_judges_together_leave_the_server_in_peace(judges: int) -> None:
    with _with(judges) as shared_heartbeat:
        assert judges / shared_heartbeat.pause(LATEST) <= 80.001
        assert shared_heartbeat.at_leisure == (judges <= 133)


def test_a_judge_of_another_version_keeps_the_time_out_it_was_scheduled_with() -> None:
    with _with(1000) as shared_heartbeat:
        assert shared_heartbeat.pause(SOONEST) == 3.5


def test_judges_that_have_ended_do_not_count() -> None:
    with _with(1000) as shared_heartbeat:
        assert shared_heartbeat.pause(LATEST) == 12.5
    with _with(1) as alone:
        assert shared_heartbeat.pause(LATEST) == alone.pause(LATEST)
