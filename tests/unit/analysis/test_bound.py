"""The upper bound: known values, and that it is one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.bound import ExcessBound
from analysis.evalues import Tally


@pytest.mark.parametrize(
    ("tally", "cluster", "expected"),
    [
        (Tally(0, 3000, 0, 57000), 1, 0.0019410),
        (Tally(0, 3000, 0, 57000), 5, 0.0097048),
        (Tally(30, 30000, 30, 30000), 1, 0.00086139),
        (Tally(30, 30000, 30, 30000), 5, 0.0022116),
    ],
)
def test_known_values(tally: Tally, cluster: int, expected: float) -> None:
    bound = ExcessBound(0.05, cluster)
    bound.add(tally)
    assert bound.upper() == pytest.approx(expected, rel=3e-5)


def test_without_data_everything_is_possible() -> None:
    bound = ExcessBound(0.05, 5)
    assert bound.upper() == 1.0
    assert not bound.within(1.0)
    bound.add(Tally(0, 100, 0, 0))
    assert bound.upper() == 1.0, "an excess over stable needs stable requests"


tallies = st.lists(
    st.tuples(st.integers(0, 5), st.integers(5, 500), st.integers(0, 20), st.integers(20, 5000)),
    min_size=1,
    max_size=15,
)


@given(tallies, st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_within_agrees_with_the_bound(rows: list[tuple[int, ...]], tolerance: float) -> None:
    bound = ExcessBound(0.05, 5)
    for row in rows:
        bound.add(Tally(*row))
    upper = bound.upper()
    if abs(upper - tolerance) > 1e-9:
        assert bound.within(tolerance) == (upper <= tolerance)


@given(tallies)
def test_a_dumped_bound_goes_on_the_same(rows: list[tuple[int, ...]]) -> None:
    whole, first = ExcessBound(0.05, 5), ExcessBound(0.05, 5)
    half = len(rows) // 2
    for row in rows:
        whole.add(Tally(*row))
    for row in rows[:half]:
        first.add(Tally(*row))
    second = ExcessBound.load(first.dump(), 0.05, 5)
    for row in rows[half:]:
        second.add(Tally(*row))
    assert second.dump() == whole.dump()
    assert second.upper() == whole.upper()


def test_the_bound_covers_a_moving_excess_and_split() -> None:
    source = random.Random(7)
    missed = 0
    for _ in range(200):
        bound, excess, requests = ExcessBound(0.05, 1), 0.0, 0.0
        for look in range(25):
            n_c, n_b = 40 + 8 * look, 400
            p_b = 0.02 if look % 5 else 0.08
            p_c = p_b + (0.03 if look > 12 else -0.01)
            bad_c = sum(source.random() < p_c for _ in range(n_c))
            bad_b = sum(source.random() < p_b for _ in range(n_b))
            bound.add(Tally(bad_c, n_c, bad_b, n_b))
            excess += n_c * (p_c - p_b)
            requests += n_c
            if bound.upper() < excess / requests:
                missed += 1
                break
    assert missed <= 0.05 * 200


def test_dispersion_above_the_cluster_size_widens_the_bound() -> None:
    calm, wild = ExcessBound(0.05, 5), ExcessBound(0.05, 5)
    for look in range(40):
        calm.add(Tally(4, 1000, 4, 1000))
        wild.add(Tally(160 if look % 40 == 0 else 0, 1000, 4, 1000))
    assert wild.upper() > 1.5 * calm.upper()


def test_a_limit_needs_no_stable_requests() -> None:
    bound = ExcessBound(0.05, 1, against_stable=False)
    bound.add(Tally(10, 10_000, 0, 0))
    assert 0.001 < bound.upper() < 0.004
