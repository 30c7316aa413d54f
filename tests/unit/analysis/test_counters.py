"""Counting right: raw counters, differenced."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from analysis.counters import ArmCounters, Increments
from schemas.reading import Series
from tests.unit.analysis.readings import at, series


def grown(*readings: Mapping[str, tuple[Series, ...]], warmup: float = 0.0) -> dict[str, float]:
    """Increments of the last reading over the one before, 15 s apart."""
    counters, increments, since = ArmCounters(), Increments(), None
    for index, parts in enumerate(readings):
        increments, counters = counters.advance(parts, since, warmup=warmup)
        since = at(15 * (index + 1)).timestamp()
    return {part: sum(pods.values()) for part, pods in increments.items()}


def test_increments_are_differences_per_series() -> None:
    before = {"total": (series(100, pod="a"), series(7, pod="b"))}
    after = {"total": (series(130, pod="a"), series(9, pod="b"))}
    assert grown(before, after) == {"total": 32}


def test_the_first_reading_only_starts_the_count() -> None:
    assert grown({"total": (series(100, pod="a"),)}) == {"total": 0}


def test_a_reset_counts_from_zero() -> None:
    assert grown({"total": (series(100, pod="a"),)}, {"total": (series(4, pod="a"),)}) == {
        "total": 4
    }


def test_a_pod_that_was_there_before_is_not_counted_from_zero() -> None:
    before = {"total": (series(100, pod="a"),)}
    after = {"total": (series(100, pod="a"), series(5000, pod="b"))}
    assert grown(before, after) == {"total": 0}


def test_a_pod_born_since_counts_from_zero() -> None:
    before = {"total": (series(100, pod="a"),)}
    after = {"total": (series(100, pod="a"), series(50, started=at(20), pod="b"))}
    assert grown(before, after) == {"total": 50}


def test_a_restart_is_seen_by_its_start_even_if_the_counter_is_larger() -> None:
    before = {"total": (series(10, started=at(0), pod="a"),)}
    after = {"total": (series(30, started=at(20), pod="a"),)}
    assert grown(before, after) == {"total": 30}


def test_an_error_series_is_born_with_the_first_error() -> None:
    before: dict[str, tuple[Series, ...]] = {"total": (series(100, pod="a"),), "bad": ()}
    after = {"total": (series(140, pod="a"),), "bad": (series(3, pod="a", code="503"),)}
    assert grown(before, after) == {"total": 40, "bad": 3}


def test_a_vanished_series_adds_nothing_and_goes_on_when_it_is_back() -> None:
    one, two = series(100, pod="a"), series(10, pod="b")
    gone = grown({"total": (one, two)}, {"total": (series(150, pod="a"),)})
    assert gone == {"total": 50}
    back = grown(
        {"total": (one, two)},
        {"total": (series(150, pod="a"),)},
        {"total": (series(160, pod="a"), series(25, pod="b"))},
    )
    assert back == {"total": 25}


def test_a_pod_that_warms_up_is_left_out() -> None:
    before = {"total": (series(100, pod="a"), series(10, started=at(10), pod="b"))}
    after = {"total": (series(120, pod="a"), series(90, started=at(10), pod="b"))}
    assert grown(before, after, warmup=60) == {"total": 20}


def test_values_that_are_no_numbers_are_left_out() -> None:
    before = {"total": (series(1, pod="a"),)}
    assert grown(before, {"total": (series(float("nan"), pod="a"),)}) == {"total": 0}


rows = st.lists(st.lists(st.integers(0, 1000), min_size=3, max_size=3), min_size=2, max_size=8)


@given(rows, st.randoms())
def test_the_order_of_series_does_not_matter(values: list[list[int]], order: random.Random) -> None:
    straight = [
        {"total": tuple(series(v, pod=f"p{i}") for i, v in enumerate(row))} for row in values
    ]
    shuffled = []
    for parts in straight:
        mixed = list(parts["total"])
        order.shuffle(mixed)
        shuffled.append({"total": tuple(mixed)})
    assert grown(*straight) == grown(*shuffled)


@given(rows)
def test_dumped_counters_go_on_the_same(values: list[list[int]]) -> None:
    counters, since = ArmCounters(), None
    for row in values[:-1]:
        parts = {"total": tuple(series(v, pod=f"p{i}") for i, v in enumerate(row) if v % 7)}
        _, counters = counters.advance(parts, since)
        since = 1.0
    last = {"total": tuple(series(v, pod=f"p{i}") for i, v in enumerate(values[-1]))}
    loaded = ArmCounters.load(json.loads(json.dumps(counters.dump())))
    assert loaded.advance(last, since)[0] == counters.advance(last, since)[0]
    assert len(loaded) == len(counters)
