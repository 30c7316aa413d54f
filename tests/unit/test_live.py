"""What people see of a bake that runs: how close it is to FAIL and to going on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment

from adapters.errors import Retryable
from analysis.boundaries import LiveEvidence, to_fail, to_go_on
from aviary.history.events import decoded
from schemas.judging import ThresholdMetric
from schemas.live import Live
from schemas.verdict import Counts, MetricEvidence, Reason, Verdict, VerdictKind
from tests.unit.test_judge_activity import T0, Shop, _judge, _request

ODDS = st.floats(min_value=0, max_value=1e9)
SHARE = st.floats(min_value=1e-6, max_value=1)


async def _heartbeats_of(shop: Shop, **over: Any) -> list[Live]:
    """The live view of each heartbeat, as the command line reads it from Temporal."""
    environment = ActivityEnvironment()
    heartbeats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: heartbeats.append(details)
    await _judge(shop, _request(**over), environment)
    views = []
    for details in heartbeats:
        payloads = await pydantic_data_converter.encode(details)
        view = Live.of(decoded(payloads[1]))
        assert view is not None
        views.append(view)
    return views


async def test_a_good_canary_comes_closer_to_going_on_and_not_to_fail() -> None:
    views = await _heartbeats_of(Shop())
    assert views[-1].to_fail < 0.1
    onward = [one.to_go_on for one in views]
    assert onward == sorted(onward, key=lambda one: one or 0)
    assert onward[-1] == 1
    assert (views[-1].bake_min, views[-1].bake_max) == (10, 30)


async def test_a_bad_canary_comes_closer_to_fail_until_it_is_there() -> None:
    views = await _heartbeats_of(Shop(bad=0.08))
    near = [one.to_fail for one in views]
    assert near[0] == 0
    assert near[-1] == 1
    assert any(0.1 < one < 0.9 for one in near)
    assert views[-1].kind is VerdictKind.FAIL


async def test_rates_are_of_the_last_minute_and_counts_of_everything() -> None:
    shop = Shop(bad=0.02)
    views = await _heartbeats_of(shop)
    errors = views[-1].metrics[0]
    assert errors.name == "errors"
    assert errors.canary_now == pytest.approx(0.02)
    assert errors.stable_now == 0
    assert errors.canary.total == pytest.approx(100 * (shop.now - T0).total_seconds(), rel=0.2)


async def test_the_share_of_requests_is_what_the_router_counted() -> None:
    views = await _heartbeats_of(Shop(share=0.5))
    assert views[-1].share == pytest.approx(0.5, abs=0.01)
    assert views[-1].requests


async def test_a_source_that_does_not_answer_shows_no_rate() -> None:
    shop = Shop()
    shop.error = Retryable("away")
    views = await _heartbeats_of(shop)
    assert {one.metrics[0].canary_now for one in views} == {None}
    assert {(one.to_fail, one.to_go_on) for one in views} == {(0, 0)}


async def test_a_limit_has_no_bound_to_come_closer_to() -> None:
    limit = ThresholdMetric(name="queue", value="total {{version}}", limit=1e9)
    views = await _heartbeats_of(Shop(), metrics=(limit,), bake={"min": "5s", "max": "5s"})
    assert views[-1].to_go_on is None
    assert views[-1].metrics[0].kind == "threshold"
    assert views[-1].metrics[0].to_fail == 0


def _seen(second: int, bad: float, total: float, edge: float | None = None) -> Verdict:
    counts = Counts(bad=bad, total=total, rate=bad / total if total else None)
    metric = MetricEvidence(
        name="m",
        canary=counts,
        stable=counts,
        e_value=1,
        threshold=20,
        upper_bound=None,
        tolerance=None,
        intervals=1,
        since=T0,
        until=T0,
        edge=edge,
    )
    return Verdict(
        kind=VerdictKind.INCONCLUSIVE,
        reason=Reason.COLLECTING,
        sentence="",
        metrics=(metric,),
        at=T0 + timedelta(seconds=second),
    )


def test_what_was_bad_long_ago_is_not_bad_now() -> None:
    glance = LiveEvidence({"m": "ratio"})
    for second in range(0, 61, 15):
        glance.metrics(_seen(second, 50, 100 + second))
    for second in range(75, 181, 15):
        found = glance.metrics(_seen(second, 50, 100 + second))
    assert found[0].canary_now == 0
    assert found[0].canary.rate == pytest.approx(50 / 280)


def test_counts_of_another_edge_are_not_compared() -> None:
    glance = LiveEvidence({"m": "ratio"})
    glance.metrics(_seen(0, 50, 100, edge=0.1))
    found = glance.metrics(_seen(15, 60, 200, edge=0.5))
    assert found[0].canary_now == pytest.approx(0.3)


@given(ODDS, ODDS, st.floats(min_value=1.01, max_value=1e6))
def test_more_odds_are_closer_to_fail(one: float, other: float, threshold: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= to_fail(low, threshold) <= to_fail(high, threshold) <= 1
    assert to_fail(threshold, threshold) == 1


@given(SHARE, SHARE, SHARE)
def test_a_smaller_bound_is_closer_to_going_on(one: float, other: float, tolerance: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= to_go_on(high, tolerance) <= to_go_on(low, tolerance) <= 1
    assert to_go_on(tolerance, tolerance) == 1


def test_a_live_view_of_another_version_is_no_error() -> None:
    assert Live.of({"at": "then"}) is None
    assert Live.of(None) is None
