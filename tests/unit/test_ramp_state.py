"""A ramp's decisions from what the router counts, and its first weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.ramp import BeginRamp, RampActivities, RampState, next_state
from adapters.errors import Retryable, UnknownRoute
from adapters.memory import MemoryMetricsSource
from adapters.routers.memory.trial import TrialRouter
from schemas.capabilities import Grid, TotalGrid, at_most
from schemas.judging import JudgeSpec, MetricSpec, RampSpec, RatioMetric
from schemas.reading import Series
from tests.catalogs import MEMORY

FINE = TotalGrid(total=10_000)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = RampSpec(budget=500, interval=timedelta(seconds=15), tolerance=0.001)
BEGUN = RampState(
    spec=SPEC,
    spent={"routed": 0.0, "seen_at_full": 0.0, "rps": 0.0},
    counts={"1": 1000},
    counted_at=T0,
    weight=1.0,
)


def _after(
    state: RampState, stable: int, canary: int, bound: float | None, weights: Grid = FINE
) -> RampState:
    counts = {"1": state.counts.get("1", 0) + stable, "2": state.counts.get("2", 0) + canary}
    now = state.counted_at + timedelta(seconds=15)
    return next_state(
        state, canary="2", weight=state.weight, counts=counts, bound=bound, now=now, weights=weights
    )


def test_a_better_bound_allows_a_larger_weight() -> None:
    first = _after(BEGUN, 14_850, 150, bound=0.1)
    second = _after(first, 14_000, 1_000, bound=0.01)
    assert 0 < first.weight < second.weight <= SPEC.cap


def test_a_weight_between_two_of_the_router_is_rounded_down_and_said() -> None:
    exact = _after(BEGUN, 14_850, 150, bound=0.1).weight
    coarse = TotalGrid(total=256)
    state = _after(BEGUN, 14_850, 150, bound=0.1, weights=coarse)
    assert state.weight == at_most(coarse, exact) < exact
    assert state.sentence.endswith(f"next {state.weight:g} %")


def test_a_budget_below_the_least_weight_of_the_router_is_said() -> None:
    exact = _after(BEGUN, 14_850, 150, bound=0.1).weight
    state = _after(BEGUN, 14_850, 150, bound=0.1, weights=TotalGrid(total=2))
    assert state.weight == 0
    assert f"allows {exact:g} %, and the least that the router can do is 50 %" in state.sentence


async def test_the_first_weight_is_one_that_the_router_can_do() -> None:
    router = Users(15_000)
    exact = (await _begin(SPEC)).weight
    router.capabilities = router.capabilities.model_copy(update={"weights": TotalGrid(total=256)})
    coarse = (await _begin(SPEC, router=router)).weight
    assert 0 < coarse < exact
    assert coarse == at_most(TotalGrid(total=256), exact)


def test_it_is_full_once_accepted_and_seen_for_a_minute_at_high_weight() -> None:
    state = BEGUN.model_copy(update={"weight": 50.0})
    for _ in range(4):
        assert not state.full
        state = _after(state, 7_500, 7_500, bound=0.0009)
    assert state.full


def test_requests_between_two_intervals_are_counted_as_well() -> None:
    late = _after(BEGUN, 10_000, 5_000, bound=None)
    assert late.spent["routed"] == 5_000


def test_a_restarted_router_counts_from_its_new_beginning() -> None:
    state = BEGUN.model_copy(update={"counts": {"1": 9_000, "2": 800}})
    after = next_state(
        state,
        canary="2",
        weight=1,
        counts={"1": 100, "2": 40},
        bound=None,
        now=T0 + timedelta(seconds=15),
        weights=FINE,
    )
    assert after.spent["routed"] == 40


def test_without_traffic_the_weight_stays() -> None:
    assert _after(BEGUN, 0, 0, bound=None).weight == BEGUN.weight


@given(st.lists(st.tuples(st.integers(1, 20_000), st.floats(1e-4, 1)), min_size=1, max_size=30))
def test_what_is_sent_at_the_bound_never_passes_the_budget(
    intervals: list[tuple[int, float]],
) -> None:
    """The canary gets what the last decision allowed; the bound is what the judge then knows."""
    state, bound = BEGUN, 1.0
    for requests, better in intervals:
        bound = min(bound, better)
        state = _after(state, requests, 0, bound)
        sent = int(requests * state.weight / 100)
        state = _after(state, requests - sent, sent, bound)
        assert state.spent["routed"] * bound <= SPEC.budget + 1


class Users(TrialRouter):
    """A router that sees some requests whenever it is asked."""

    def __init__(self, each: int) -> None:
        super().__init__()
        self._each = each
        self._seen = 0

    async def requests(self, service: str) -> Mapping[str, int]:
        self._seen += self._each
        return {"1": self._seen}


class Growing(MemoryMetricsSource):
    """Counters of a stable version that fails 1 in 1000."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        self._asked += 1
        total = 1000.0 * self._asked
        return [Series(labels={}, value=total / 1000 if promql == "bad" else total)]


def _resolve(_: JudgeSpec, metric: MetricSpec) -> MetricSpec:
    return metric


async def _begin(
    ramp: RampSpec, each: int = 15_000, router: TrialRouter | None = None
) -> RampState:
    async def at_once(_: float) -> None:
        return None

    users = router or Users(each)
    activities = RampActivities(
        Growing(), lambda _: users.routing, _resolve, clock=lambda: T0, sleep=at_once
    )
    request = BeginRamp(
        router=MEMORY,
        service="payments",
        stable="1",
        spec=JudgeSpec(),
        metrics=(RatioMetric(name="errors", bad="bad", total="total"),),
        ramp=ramp,
    )
    return await ActivityEnvironment().run(activities.begin, request)


async def test_the_first_weight_is_safe_for_a_dead_canary() -> None:
    """At 1000 requests per second and a budget of 500: 15 s of it stay under the budget."""
    state = await _begin(SPEC)
    assert 0 < state.weight / 100 * 1000 * 15 <= 250


async def test_a_route_that_is_away_for_a_moment_ends_no_ramp() -> None:
    class Away(Users):
        async def requests(self, service: str) -> Mapping[str, int]:
            raise UnknownRoute(f"{service}: the router has no such service")

    with pytest.raises(Retryable, match="it may come back"):
        await _begin(SPEC, router=Away(15_000))


async def test_a_budget_that_can_never_show_a_good_canary_is_refused_with_the_least_one() -> None:
    with pytest.raises(ApplicationError, match="expected at least about") as caught:
        await _begin(SPEC.model_copy(update={"budget": 5.0}))
    assert caught.value.non_retryable
    assert caught.value.type == "InfeasibleRamp"
