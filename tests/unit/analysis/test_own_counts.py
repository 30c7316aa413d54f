"""The router's own counts beside those of the metrics source: sooner, and counted once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.evalues import Tally
from analysis.judge import Judge
from analysis.own_counts import SHARE
from analysis.tracks import Track
from schemas.judging import GaugeMetric, HistogramMetric, JudgeSpec, RatioMetric
from schemas.reading import ArmReading, Fault, Gap, MetricReading, Series, Snapshot
from schemas.verdict import Reason, Source, Verdict, VerdictKind

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = RatioMetric(name="errors", bad="bad", total="total")
SPEC = JudgeSpec(
    interval=timedelta(seconds=1),
    router_interval=timedelta(milliseconds=250),
    burst=timedelta(0),
)
LONG = timedelta(hours=1)


class Counts(NamedTuple):
    """Counters of both arms: bad and all requests."""

    bad_c: float = 0
    n_c: float = 0
    bad_b: float = 0
    n_b: float = 0


def reading(counts: Counts) -> MetricReading:
    def arm(bad: float, total: float) -> ArmReading:
        parts = {"bad": bad, "total": total}
        return ArmReading(
            parts={
                name: (Series(labels={"instance": "a", "__name__": name}, value=value),)
                for name, value in parts.items()
            }
        )

    return MetricReading(canary=arm(counts.bad_c, counts.n_c), stable=arm(counts.bad_b, counts.n_b))


def snapshot(counts: Counts | None, at: float) -> Snapshot:
    gap = Gap(fault=Fault.UNREACHABLE, detail="away")
    found = MetricReading(canary=gap, stable=gap) if counts is None else reading(counts)
    return Snapshot(
        at=T0 + timedelta(seconds=at), weight=50, weight_changed_at=T0, metrics={"errors": found}
    )


def judge_of(spec: JudgeSpec = SPEC) -> Judge:
    return Judge(spec, [ERRORS], subject="payments 2", ask_router=["errors"])


def verdict(judge: Judge, at: float) -> Verdict:
    now = T0 + timedelta(seconds=at)
    return judge.verdict(now, started_at=T0, bake_min=LONG, bake_max=LONG)


def growing(rate: float, *, begins: float = 0.0) -> Iterator[tuple[float, Counts]]:
    """Four readings a second of 100 requests a second on each arm, some of the canary's bad."""
    bad, at = 0.0, 0.0
    while True:
        requests = 100 * at
        yield at, Counts(bad, requests, 0, requests)
        at += 0.25
        bad += 25 * rate if at > begins else 0


def test_the_router_decides_before_the_metrics_source_has_shown_anything() -> None:
    judge = judge_of()
    judge.observe(snapshot(Counts(), 0.001))
    for at, counts in growing(0.3, begins=3):
        judge.observe_router(snapshot(counts, at + 0.002))
        if judge.failure is not None:
            break
    found = verdict(judge, at + 0.003)
    assert at <= 3 + 8 * 0.25
    assert (found.kind, found.reason) == (VerdictKind.FAIL, Reason.WORSE_THAN_STABLE)
    assert found.decided_by is Source.ROUTER
    assert "by the router's own counts; the metrics source had shown no requests" in found.sentence
    (metric,) = found.metrics
    assert metric.router is not None
    assert metric.router.canary.bad > 0
    assert metric.canary.total == 0


def test_the_metrics_source_decides_where_the_router_falls_silent_and_says_so() -> None:
    judge = judge_of()
    for number in range(40):
        at = float(number)
        judge.observe_router(snapshot(None, at + 0.002))
        requests = 100 * at
        judge.observe(snapshot(Counts(30 * at, requests, 0, requests), at + 0.003))
        if judge.failure is not None:
            break
    found = verdict(judge, at + 0.01)
    assert found.decided_by is Source.METRICS
    assert ", by the metrics source; the router had shown no requests yet" in found.sentence
    assert at <= 12


def test_who_is_slower_confirms_what_the_faster_has_shown() -> None:
    judge = judge_of()
    for at, counts in growing(0.3):
        judge.observe_router(snapshot(counts, at + 0.002))
        if at % 1 == 0:
            judge.observe(snapshot(counts, at + 0.001))
        if judge.failure is not None:
            break
    assert "which confirms it" in verdict(judge, at + 0.01).sentence


def test_both_have_the_same_counts_in_the_end() -> None:
    judge = judge_of()
    for at, counts in growing(0.01):
        judge.observe_router(snapshot(counts, at + 0.002))
        if at % 1 == 0:
            judge.observe(snapshot(counts, at + 0.001))
        if at >= 10:
            break
    (metric,) = verdict(judge, 11).metrics
    assert metric.router is not None
    assert (metric.router.canary, metric.router.stable) == (metric.canary, metric.stable)
    assert metric.router.intervals == 40
    assert metric.intervals == 10


def test_the_router_has_no_say_in_going_on() -> None:
    asked, alone = judge_of(), Judge(SPEC, [ERRORS])
    for at, counts in growing(0.0):
        asked.observe_router(snapshot(counts, at + 0.002))
        if at >= 5:
            break
    assert not asked.good_enough()
    for judge in (asked, alone):
        judge.observe(snapshot(Counts(), 5.001))
        judge.observe(snapshot(Counts(0, 5000, 0, 5000), 6.0))
    assert asked.upper_bound == alone.upper_bound


counts_of_readings = st.lists(
    st.tuples(*(st.integers(0, 30) for _ in range(4))), min_size=1, max_size=40
)


@given(counts_of_readings, st.integers(1, 8))
@example([(8, 17, 0, 25)] * 12, 1)  # both double their odds at most, and so pass each part of alpha
def test_no_request_is_evidence_twice(steps: list[tuple[int, ...]], every: int) -> None:
    """The canary fails by one source's own odds, with its own part of alpha, or not at all."""
    judge, sums = judge_of(), Counts()
    for number, (bad_c, more_c, bad_b, more_b) in enumerate([(0, 0, 0, 0), *steps]):
        sums = Counts(
            sums.bad_c + bad_c,
            sums.n_c + bad_c + more_c,
            sums.bad_b + bad_b,
            sums.n_b + bad_b + more_b,
        )
        judge.observe_router(snapshot(sums, number + 0.2))
        if number % every == 0:
            judge.observe(snapshot(sums, number + 0.1))
        track = judge.tracks["errors"]
        assert isinstance(track, Track)
        assert track.own is not None
        own, slower = track.own.test.e_value, track.test.e_value
        enough = own >= judge.threshold / SHARE or slower >= judge.threshold / (1 - SHARE)
        if enough or judge.failure is not None:
            assert enough
            assert judge.failure is not None
            return


@pytest.mark.parametrize("burst", [1, 30])
def test_good_canaries_are_failed_no_more_often_than_alpha_says(burst: int) -> None:
    """Bursts that fall on either arm as one, seen by both sources, at a pace each."""
    dice, failed = random.Random(7), 0
    for _ in range(100):
        track = judge_of().tracks["errors"]
        assert isinstance(track, Track)
        assert track.own is not None
        worst, second = 0.0, Tally(0, 0, 0, 0)
        for number in range(1, 241):
            bad = burst if dice.random() < 0.3 else 0
            canary = dice.random() < 0.5
            tally = Tally(bad * canary, 50, bad * (not canary), 50)
            track.own.test.count([[tally]], number - 1, number)
            second = Tally(*map(sum, zip(second, tally, strict=True)))
            if number % 4 == 0:
                track.test.count([[second]], 0, 1)
                second = Tally(0, 0, 0, 0)
            worst = max(worst, track.e_value)
        failed += worst >= 1 / SPEC.alpha
    assert failed <= 11  # of 100 at alpha = 5 %: more has a chance of 1/200


def test_another_attempt_goes_on_from_both() -> None:
    first = judge_of()
    for at, counts in growing(0.1):
        first.observe_router(snapshot(counts, at + 0.002))
        if at % 1 == 0:
            first.observe(snapshot(counts, at + 0.001))
        if at >= 1:
            break
    state = json.loads(json.dumps(first.dump()))
    second = Judge.load(SPEC, [ERRORS], state, subject="payments 2")
    assert second.ask_router == {"errors"}
    assert second.dump() == first.dump()
    for at, counts in growing(0.1):
        if at > 1:
            first.observe_router(snapshot(counts, at + 0.002))
            second.observe_router(snapshot(counts, at + 0.002))
        if first.failure is not None:
            break
    assert second.failure == first.failure
    assert Judge.load(SPEC, [ERRORS], second.dump()).failure == first.failure


def test_evidence_that_began_without_the_router_goes_on_without() -> None:
    state = Judge(SPEC, [ERRORS]).dump()
    assert Judge.load(SPEC, [ERRORS], state).ask_router == frozenset()


def test_a_gauge_is_not_the_routers_to_count() -> None:
    memory = GaugeMetric(name="memory", value="memory")
    with pytest.raises(TypeError, match="a router does not count it"):
        Judge(SPEC, [memory], ask_router=["memory"])


def test_metrics_that_the_router_does_not_count_take_nothing_from_those_it_does() -> None:
    latency = HistogramMetric(name="latency", buckets="buckets", edges=(0.25,))
    judge = Judge(SPEC, [ERRORS, latency], ask_router=["errors"])
    for at, counts in growing(0.3):
        judge.observe_router(snapshot(counts, at + 0.002))
        if judge.failure is not None:
            break
    assert at <= 8 * 0.25
