"""A part of the crash matrix, small enough for every test run; `make chaos` has all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from activities.traffic import APPLY
from schemas.stages import KINDS, stages_of
from schemas.strategy import Strategy
from tests.chaos.matrix import record_all, run_all
from tests.chaos.points import RELEASE, AfterEvent, InActivity, Point, every_point
from tests.chaos.rows import table
from tests.chaos.scenarios import NOT_HERE, SCENARIOS, STEPS, Scenario
from tests.chaos.testbed import Testbed
from tests.workflows.stage_examples import unmet

SLOTS = 6


@pytest.mark.chaos
async def test_a_worker_that_dies_leaves_every_service_on_one_version(tmp_path: Path) -> None:
    async with Testbed(tmp_path / "testbed", SLOTS).started() as testbed:
        recorded = await record_all(testbed)
        faultless = [one.row for one in recorded]
        assert all(row.good for row in faultless), f"\n{table(faultless)}"
        work: list[tuple[Scenario, Point]] = [
            (one.scenario, point) for one in recorded for point in _chosen(one.points)
        ]
        rows = await run_all(testbed, work)
    assert len(rows) == 3 * len(recorded)
    assert all(row.good for row in rows), f"\n{table(rows)}"
    assert all(row.struck for row in rows), f"\n{table(rows)}"


def _chosen(points: list[Point]) -> list[Point]:
    """A weight written and not reported; a dependency that holds; the middle of the release."""
    of_release = [
        point for point in points if isinstance(point, AfterEvent) and point.history == RELEASE
    ]
    return [
        InActivity(APPLY, 2, "after"),
        next(p for p in points if isinstance(p, AfterEvent) and p.history == "payments"),
        of_release[len(of_release) // 2],
    ]


def test_every_kind_of_stage_is_met_by_a_release() -> None:
    plain = stages_of(Strategy.model_validate(STEPS))
    met = set(KINDS) - set(unmet(plain)) | {one.stage for one in SCENARIOS}
    assert met - {None} == set(KINDS) - set(NOT_HERE)
    assert set(NOT_HERE) <= set(KINDS)


def test_a_point_for_each_state_that_a_history_can_be_found_in() -> None:
    history = [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
        "WORKFLOW_TASK_COMPLETED",
        "TIMER_STARTED",
        "ACTIVITY_TASK_SCHEDULED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
        "ACTIVITY_TASK_STARTED",
        "ACTIVITY_TASK_COMPLETED",
    ]
    found = [
        point.number
        for point in every_point({RELEASE: history}, {})
        if isinstance(point, AfterEvent)
    ]
    assert found == [2, 3, 6, 8, 10]
