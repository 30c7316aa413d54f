"""The ramp: its formula, its budget, and that it says when it can't end."""

from __future__ import annotations

import random
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.bound import ExcessBound
from analysis.evalues import Tally
from analysis.ramp import Ramp, exposure, feasibility
from analysis.rehearsal import Rates, rehearse
from schemas.judging import JudgeSpec, RampSpec

SPEC = RampSpec(budget=500)
LENGTH = SPEC.interval.total_seconds()


@given(st.floats(0, 1e9))
def test_exposure_leaves_room_for_arrival_noise(allowance: float) -> None:
    allowed = exposure(allowance)
    assert allowed + 3 * allowed**0.5 == pytest.approx(allowance, abs=1e-6, rel=1e-9)


def test_the_first_step_is_safe_for_a_dead_canary() -> None:
    decision = Ramp(SPEC).decide(1.0, rps=1000)
    assert decision.weight == 1.37
    assert decision.allowed * 2 < SPEC.budget


def test_no_request_more_once_the_budget_is_used_up() -> None:
    ramp = Ramp(SPEC)
    ramp.observe(5.0, 15.0, 1000, 15_000)
    assert ramp.decide(0.5).weight == 0.0
    assert ramp.decide(0.1).weight > 0


@given(
    st.floats(0.001, 1), st.floats(0, 1e5), st.floats(1, 1e5), st.floats(1, 1e5), st.floats(1, 100)
)
def test_the_budget_covers_everything_routed_by_the_next_decision(
    bound: float, routed: float, rps: float, budget: float, cap: float
) -> None:
    spec = RampSpec(budget=budget, cap=round(cap, 2), tolerance=1e-6)
    ramp = Ramp(spec)
    ramp.observe(0.0, 15.0, routed, 15 * rps)
    decision = ramp.decide(bound)
    sent = decision.weight / 100 * rps * LENGTH
    assert sent == 0 or bound * (routed + sent) <= budget + 1e-6
    assert decision.weight <= spec.cap


def test_everything_is_given_only_after_a_time_at_high_weight() -> None:
    ramp = Ramp(SPEC)
    ramp.observe(24.0, 600.0, 1000, 1e6)
    assert not ramp.decide(0.0005).full
    ramp.observe(25.0, 60.0, 1000, 1e5)
    assert not ramp.decide(0.0011).full
    decision = ramp.decide(0.001)
    assert (decision.full, decision.weight) == (True, 100.0)


def test_a_low_cap_opens_to_the_high_weight_once_accepted() -> None:
    ramp = Ramp(RampSpec(budget=500, cap=10.0))
    ramp.observe(10.0, 15.0, 100, 1500)
    assert ramp.decide(0.01).weight == 10.0
    assert ramp.decide(0.0001).weight == 25.0


def test_a_dumped_ramp_goes_on_the_same() -> None:
    ramp = Ramp(SPEC)
    ramp.observe(30.0, 15.0, 100, 1500)
    assert Ramp.load(SPEC, ramp.dump()).decide(0.02) == ramp.decide(0.02)


def test_without_a_request_rate_there_is_no_weight() -> None:
    with pytest.raises(ValueError, match="rps"):
        Ramp(SPEC).decide(1.0)
    with pytest.raises(ValueError, match="seconds"):
        Ramp(SPEC).observe(1.0, 0.0, 1, 1)


@pytest.mark.parametrize(("p_b", "p_c"), [(0.001, 0.005), (0.01, 0.5), (0.001, 1.0), (0.0, 0.02)])
def test_no_run_with_a_constant_excess_passes_its_budget(p_b: float, p_c: float) -> None:
    """The bound alone, without the rollback that would end it long before."""
    source = random.Random(11)
    for _ in range(10):
        ramp, bound, harm, weight = Ramp(SPEC), ExcessBound(0.05, 5), 0.0, 0.0
        pending: tuple[float, Tally] | None = None
        for _ in range(120):
            sent = weight / 100 * 100 * LENGTH
            weight = ramp.decide(bound.upper(), rps=100, unseen=sent).weight
            n_c = round(source.gauss(weight * LENGTH, (weight * LENGTH) ** 0.5))
            n_c = max(n_c, 0)
            n_b = round(1500 - n_c)
            bad_c = sum(source.random() < p_c for _ in range(n_c))
            bad_b = sum(source.random() < p_b for _ in range(n_b))
            harm += (p_c - p_b) * n_c
            if pending is not None:
                before, tally = pending
                ramp.observe(before, LENGTH, tally.n_c, tally.n_c + tally.n_b)
                bound.add(tally)
            pending = (weight, Tally(bad_c, n_c, bad_b, n_b))
        assert harm <= SPEC.budget


def test_a_budget_that_is_too_small_is_refused_with_the_smallest_that_is_not() -> None:
    spec = RampSpec(budget=300, tolerance=0.003)
    told = feasibility(spec, rate=0.01, rps=1000, cluster=5, beta=0.05)
    assert not told.feasible
    assert f"expected at least about {told.smallest:g}" in told.message
    enough = spec.model_copy(update={"budget": told.smallest})
    assert feasibility(enough, rate=0.01, rps=1000, cluster=5, beta=0.05).feasible


def test_a_time_that_is_too_short_for_the_traffic_is_refused() -> None:
    spec = RampSpec(budget=5000, tolerance=0.001, hold_after=timedelta(hours=1))
    told = feasibility(spec, rate=0.001, rps=10, cluster=5, beta=0.05)
    assert not told.feasible
    assert "ramp.hold_after: 60 min is too short at 10 requests per second" in told.message


def test_the_smallest_budget_is_one_with_which_a_healthy_canary_ends() -> None:
    for rate in (0.0, 0.001, 0.01):
        spec = RampSpec(budget=1e9, tolerance=0.003, hold_after=timedelta(hours=3))
        smallest = feasibility(spec, rate=rate, rps=1000, cluster=5, beta=0.05).smallest
        for factor, ends in ((1.2, True), (0.5, False)):
            budgeted = spec.model_copy(update={"budget": smallest * factor})
            last = rehearse(budgeted, JudgeSpec(), Rates(rate, rate, 1000))[-1]
            assert (last.event == "full") is ends, (rate, factor, last)


@given(
    st.sampled_from([0.0, 0.0001, 0.001, 0.01, 0.05]),
    st.sampled_from([10, 100, 1000, 20_000]),
    st.sampled_from([0.0005, 0.001, 0.005]),
    st.sampled_from([5.0, 25.0, 50.0, 90.0]),
)
@settings(max_examples=60)
def test_what_is_called_feasible_ends_with_everything(
    rate: float, rps: float, tolerance: float, cap: float
) -> None:
    plenty = RampSpec(budget=1e9, tolerance=tolerance, cap=cap)
    told = feasibility(plenty, rate=rate, rps=rps, cluster=5, beta=0.05)
    enough = plenty.model_copy(update={"budget": told.smallest})
    assert not told.feasible or cap > 50 or _feasible(enough, rate, rps)
    if _feasible(enough, rate, rps):
        last = rehearse(enough, JudgeSpec(), Rates(rate, rate, rps))[-1]
        assert last.event == "full", (last, told)


def _feasible(spec: RampSpec, rate: float, rps: float) -> bool:
    return feasibility(spec, rate=rate, rps=rps, cluster=5, beta=0.05).feasible


@pytest.mark.parametrize(("rate", "tolerance"), [(0.001, 0.001), (0.01, 0.003), (0.001, 0.005)])
def test_the_smallest_budget_leaves_room_for_noise(rate: float, tolerance: float) -> None:
    plenty = RampSpec(budget=1e9, tolerance=tolerance)
    told = feasibility(plenty, rate=rate, rps=1000, cluster=5, beta=0.05)
    spec = plenty.model_copy(update={"budget": told.smallest})
    source = np.random.default_rng(7)
    assert sum(_ends(spec, rate, 1000, source) for _ in range(20)) >= 14


def _ends(spec: RampSpec, rate: float, rps: float, source: np.random.Generator) -> bool:
    ramp, bound = Ramp(spec), ExcessBound(0.05, 5)
    unseen: tuple[float, Tally] | None = None
    for _ in range(241):
        sent = 0.0 if unseen is None else unseen[1].n_c
        decision = ramp.decide(bound.upper(), rps=rps, unseen=sent)
        if decision.full:
            return True
        if unseen is not None:
            bound.add(unseen[1])
            ramp.observe(unseen[0], LENGTH, sent, rps * LENGTH)
        n_c = int(source.poisson(rps * LENGTH * decision.weight / 100))
        n_b = int(source.poisson(rps * LENGTH * (1 - decision.weight / 100)))
        bad = int(source.binomial(n_c, rate)), int(source.binomial(n_b, rate))
        unseen = decision.weight, Tally(bad[0], n_c, bad[1], n_b)
    return False


def test_a_rehearsal_of_a_bad_canary_is_rolled_back_within_budget() -> None:
    moments = rehearse(SPEC, JudgeSpec(), Rates(0.001, 1.0, 1000))
    assert moments[-1].event == "rolled back"
    assert moments[-1].harm <= SPEC.budget
