"""The judging activity: what it asks, resumes from, gives up on and never guesses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.judge import JudgeActivities, JudgeRequest, JudgeResult
from activities.shared_heartbeat import SharedHeartbeat
from adapters.errors import Retryable, Terminal, Unanswered, UnknownRoute
from adapters.ports import Routing
from adapters.routers.memory.trial import TrialRouter
from schemas.ids import STOPPED_SHORT
from schemas.judging import (
    Direction,
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    MetricSpec,
    RatioMetric,
)
from schemas.lane import LaneSpec
from schemas.reading import Answer, Fault, Series
from schemas.route import Route
from schemas.router_spec import RouterSpec
from schemas.strategy import Bake
from schemas.verdict import Reason, Verdict, VerdictKind
from tests.catalogs import MEMORY

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = RatioMetric(name="errors", bad="bad {{version}}", total="total {{version}}")


class Shop:
    """A metrics source whose counters grow with the clock, and a router that counts alike."""

    def __init__(self, *, bad: float = 0.0, share: float = 0.5) -> None:
        self.now = T0
        self.bad = bad
        self.share = share
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.labels: dict[str, str] = {"pod": "1"}
        self.vanishes: tuple[float, float] = (0, 0)
        """From when to when the router has no such service, in seconds."""

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        self.asked.append(promql)
        if self.error is not None:
            raise self.error
        requests = 100 * (at - T0).total_seconds() + 100
        part, version = promql.split()
        wrong = self.bad if version == "2" else 0.0
        value = requests * wrong if part == "bad" else requests
        return [Series(labels=self.labels, value=value)]


class Counting(TrialRouter):
    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self._shop = shop

    async def requests(self, service: str) -> Mapping[str, int]:
        passed = (self._shop.now - T0).total_seconds()
        if self._shop.vanishes[0] <= passed < self._shop.vanishes[1]:
            raise UnknownRoute(f"{service}: the router has no such service")
        sent = 200 * passed
        return {"1": int(sent * (1 - self._shop.share)), "2": int(sent * self._shop.share)}


def _resolve(_: JudgeSpec, metric: MetricSpec) -> MetricSpec:
    return metric


def _request(metric: MetricSpec = ERRORS, **over: Any) -> JudgeRequest:
    asked = {
        "router": MEMORY,
        "service": "payments",
        "stable": "1",
        "canary": "2",
        "spec": JudgeSpec(interval=timedelta(seconds=1), tolerance=0.2),
        "metrics": (metric,),
        "weight": 50,
        "weight_changed_at": T0,
        "started_at": T0,
        "bake": Bake(min=timedelta(seconds=10), max=timedelta(seconds=30)),
    }
    return JudgeRequest.model_validate(asked | over)


DICE = RouterSpec(kind="dice")
"""A router that draws each request anew."""


def _routing(shop: Shop, spec: RouterSpec) -> Routing:
    routing = Counting(shop).routing
    if spec != DICE:
        return routing
    drawn = routing.capabilities.model_copy(update={"sticky": ()})
    return replace(routing, capabilities=drawn)


async def _judge(
    shop: Shop,
    request: JudgeRequest,
    environment: ActivityEnvironment | None = None,
    shared_heartbeat: SharedHeartbeat | None = None,
) -> JudgeResult:
    activities = JudgeActivities(
        shop,
        lambda spec: _routing(shop, spec),
        _resolve,
        clock=shop.clock,
        sleep=shop.sleep,
        shared_heartbeat=shared_heartbeat,
    )
    return await (environment or ActivityEnvironment()).run(activities.judge, request)


FAST = JudgeSpec(interval=timedelta(seconds=4), fastest=timedelta(milliseconds=250), tolerance=0.2)
MEMORY_USED = GaugeMetric(name="memory", value="total {{version}}", dry_run=True)


async def test_a_fault_is_found_at_the_pace_of_the_traffic() -> None:
    shop = Shop(bad=0.5)
    result = await _judge(shop, _request(spec=FAST))
    assert result.verdict.kind is VerdictKind.FAIL
    assert shop.now - T0 <= timedelta(seconds=2)
    unhurried = Shop(bad=0.5)
    spec = FAST.model_copy(update={"fastest": None})
    long = Bake(min=timedelta(minutes=1), max=timedelta(minutes=2))
    result = await _judge(unhurried, _request(spec=spec, bake=long))
    assert result.verdict.kind is VerdictKind.FAIL
    assert unhurried.now - T0 >= timedelta(seconds=20)


async def test_a_faster_pace_makes_neither_heartbeats_nor_the_history_longer() -> None:
    kept: list[tuple[int, int]] = []
    long = Bake(min=timedelta(seconds=40), max=timedelta(minutes=2))
    for spec in (FAST, FAST.model_copy(update={"fastest": None})):
        heartbeats: list[Any] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *told, heartbeats=heartbeats: heartbeats.append(told)
        result = await _judge(Shop(), _request(spec=spec, bake=long), environment)
        assert result.verdict.kind is VerdictKind.PASS
        assert result.evidence_series is not None
        readings = {told[1].at for told in heartbeats if len(told) > 1}
        kept.append((len(readings), len(result.evidence_series["at"])))
    assert kept[0] == kept[1]


async def test_a_gauge_is_read_once_an_interval_at_any_pace() -> None:
    shop = Shop()
    metrics = (ERRORS, MEMORY_USED)
    result = await _judge(shop, _request(spec=FAST, metrics=metrics, bake=LONG))
    intervals = {one.name: one.intervals for one in result.verdict.metrics}
    took = (shop.now - T0).total_seconds()
    assert intervals["memory"] <= took / 4 + 1
    assert intervals["errors"] >= 3 * took


async def test_a_good_canary_passes_after_the_shortest_bake() -> None:
    shop = Shop()
    result = await _judge(shop, _request())
    assert result.verdict.kind is VerdictKind.PASS
    assert shop.now == T0 + timedelta(seconds=10)
    assert {"bad 2", "total 2", "bad 1", "total 1"} == set(shop.asked)


async def test_a_bad_canary_fails_before_the_bake_ends() -> None:
    shop = Shop(bad=0.5)
    result = await _judge(shop, _request())
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.FAIL,
        Reason.WORSE_THAN_STABLE,
    )
    assert shop.now < T0 + timedelta(seconds=10)


@pytest.mark.parametrize("vanishes", [(0, 4), (3, 8), (9, 30), (0, 30)])
async def test_a_route_that_is_away_for_a_moment_takes_no_good_canary_back(
    vanishes: tuple[float, float],
) -> None:
    shop = Shop()
    shop.vanishes = vanishes
    result = await _judge(shop, _request())
    assert result.verdict.kind is VerdictKind.PASS


async def test_the_share_is_held_against_the_weight_once_the_route_is_back() -> None:
    shop = Shop(share=0.0)
    shop.vanishes = (0, 6)
    long = Bake(min=timedelta(seconds=50), max=timedelta(seconds=60))
    result = await _judge(shop, _request(bake=long))
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.FAIL,
        Reason.SAMPLE_RATIO_MISMATCH,
    )
    assert shop.now >= T0 + timedelta(seconds=6)


async def test_a_source_that_never_answers_is_inconclusive_and_not_good() -> None:
    shop = Shop()
    shop.error = Retryable("away")
    result = await _judge(shop, _request())
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.INCONCLUSIVE,
        Reason.NO_DATA,
    )
    assert shop.now == T0 + timedelta(seconds=30)


async def test_a_source_that_falls_silent_lets_no_canary_pass_on_what_it_said_before() -> None:
    shop = Shop()
    asked = shop.query

    async def falls_silent(promql: str, at: datetime) -> Sequence[Series]:
        if at > T0 + timedelta(seconds=5):
            raise Retryable("away")
        return await asked(promql, at)

    shop.query = falls_silent  # type: ignore[method-assign]
    result = await _judge(shop, _request())
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.INCONCLUSIVE,
        Reason.NO_DATA,
    )
    assert shop.now == T0 + timedelta(seconds=30)


async def test_a_wrong_query_is_not_retried() -> None:
    shop = Shop()
    shop.error = Terminal("parse error")
    with pytest.raises(ApplicationError) as caught:
        await _judge(shop, _request())
    assert caught.value.non_retryable


async def test_buckets_without_their_label_are_not_retried() -> None:
    histogram = HistogramMetric(name="latency", buckets="buckets {{version}}")
    with pytest.raises(ApplicationError, match="le") as caught:
        await _judge(Shop(), _request(histogram))
    assert caught.value.non_retryable


@pytest.mark.parametrize("elements", [1, 2], ids=["without a live view", "with one"])
async def test_another_attempt_goes_on_from_the_last_heartbeat(elements: int) -> None:
    whole = await _judge(Shop(bad=0.02), _request())
    shop = Shop(bad=0.02)
    first = ActivityEnvironment()
    heartbeats: list[Any] = []

    def on_heartbeat(*details: Any) -> None:
        heartbeats.append(details)
        if shop.now >= T0 + timedelta(seconds=5):
            raise ConnectionError("the worker is gone")

    first.on_heartbeat = on_heartbeat
    with pytest.raises(ApplicationError, match="the worker is gone"):
        await _judge(shop, _request(), first)
    second = ActivityEnvironment()
    second.info = dataclasses.replace(
        ActivityEnvironment.default_info(), heartbeat_details=heartbeats[-1][:elements]
    )
    resumed = await _judge(shop, _request(), second)
    assert resumed.verdict.metrics[0].canary == whole.verdict.metrics[0].canary


class Crowded(SharedHeartbeat):
    """A process with so many judges; remembers for which time-outs it was asked."""

    def __init__(self, judges: int) -> None:
        super().__init__()
        self._judges = judges
        self.timeouts: list[timedelta] = []

    def pause(self, timeout: timedelta) -> float:
        self.timeouts.append(timeout)
        return super().pause(timeout)


@pytest.mark.parametrize(("judges", "heartbeats_per_reading"), [(10, 1), (1000, 0)])
async def test_where_judges_are_many_no_reading_is_a_heartbeat(
    judges: int, heartbeats_per_reading: int
) -> None:
    heartbeats: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: heartbeats.append(details)
    result = await _judge(Shop(), _request(), environment, Crowded(judges))
    assert result.verdict.kind is VerdictKind.PASS
    assert len(heartbeats) == heartbeats_per_reading * 11


@pytest.mark.parametrize(
    ("scheduled", "paced"), [(None, 30), (timedelta(seconds=5), 5)], ids=["by us", "before us"]
)
async def test_a_heartbeat_comes_in_time_for_the_time_out_it_was_scheduled_with(
    scheduled: timedelta | None, paced: int
) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        ActivityEnvironment.default_info(), heartbeat_timeout=scheduled
    )
    spec = JudgeSpec(interval=timedelta(seconds=15), tolerance=0.2)
    shared_heartbeat = Crowded(1000)
    await _judge(Shop(bad=0.5), _request(spec=spec), environment, shared_heartbeat)
    assert shared_heartbeat.timeouts == [timedelta(seconds=paced)]


async def test_cancelled_it_hands_back_its_evidence() -> None:
    shop = Shop()
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *_: (
        environment.cancel() if shop.now >= T0 + timedelta(seconds=5) else None
    )
    result = await _judge(shop, _request(bake=None), environment)
    assert not result.verdict.final
    assert result.evidence["tracks"]["errors"]


async def test_a_router_that_does_not_do_what_it_confirmed_is_found_and_named() -> None:
    result = await _judge(Shop(share=0.0), _request(bake=None))
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.FAIL,
        Reason.SAMPLE_RATIO_MISMATCH,
    )
    assert "the router confirmed 50 % for payments 2" in result.verdict.sentence


LONG = Bake(min=timedelta(seconds=60), max=timedelta(seconds=600))


async def test_one_heavy_user_fails_no_healthy_version() -> None:
    """15 of 50 requests are one sticky user's, who is on the canary at 5 %."""
    result = await _judge(Shop(share=0.335), _request(weight=5, bake=LONG))
    assert result.verdict.kind is VerdictKind.PASS
    assert "the canary got 34 % of requests" in result.verdict.sentence
    assert "at a weight of 5 %: one user's own rate may explain it" in result.verdict.sentence


@pytest.mark.parametrize(
    ("share", "over"),
    [
        (0.335, {"router": DICE}),
        (0.335, {"spec": JudgeSpec(interval=timedelta(seconds=1), largest_user=1)}),
        (1.0, {}),
        (0.0, {"weight": 50}),
        (0.5, {"weight": 100}),
    ],
)
async def test_what_no_user_explains_is_found(share: float, over: dict[str, Any]) -> None:
    result = await _judge(Shop(share=share), _request(**{"weight": 5, "bake": LONG, **over}))
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.FAIL,
        Reason.SAMPLE_RATIO_MISMATCH,
    )
    assert "the router confirmed" in result.verdict.sentence


async def test_nothing_passes_that_got_no_request_by_the_router_s_count() -> None:
    bake = Bake(min=timedelta(seconds=300), max=timedelta(seconds=600))
    result = await _judge(Shop(share=0.0), _request(weight=5, bake=bake))
    assert result.verdict.kind is VerdictKind.INCONCLUSIVE
    assert result.verdict.reason is Reason.SAMPLE_RATIO_MISMATCH
    assert result.verdict.final
    assert "started on the canary at a weight of 5 %" in result.verdict.sentence


async def test_an_attempt_that_fails_hands_on_what_it_has_seen() -> None:
    shop = Shop()

    async def sleep(seconds: float) -> None:
        await Shop.sleep(shop, seconds)
        if shop.now - T0 > timedelta(seconds=5):
            shop.error = OSError(28, "No space left on device")

    shop.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(ApplicationError, match="No space left on device") as caught:
        await _judge(shop, _request(bake=LONG))
    assert (caught.value.type, caught.value.non_retryable) == (STOPPED_SHORT, False)
    seen = {k: v for k, v in caught.value.details[0].items() if k != "evidence_series"}
    shop.error, shop.sleep = None, lambda seconds: Shop.sleep(shop, seconds)  # type: ignore[method-assign]
    whole = await _judge(Shop(), _request())
    result = await _judge(shop, _request(evidence=seen))
    assert result.verdict.metrics[0].canary == whole.verdict.metrics[0].canary


class Knowing(Counting):
    """A router that counts the requests of each user: one has 30 %, and is on the canary."""

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        sent = 200_000 * (self._shop.now - T0).total_seconds()
        on_canary = round(1000 * self._shop.share) - 300
        others = {str(n): {"2" if n < on_canary else "1": int(sent / 1000)} for n in range(700)}
        return {"heavy": {"2": int(sent * 0.3)}} | others


@pytest.mark.parametrize(("share", "kind"), [(0.307, VerdictKind.PASS), (0.6, VerdictKind.FAIL)])
async def test_counts_of_users_say_what_they_explain(share: float, kind: VerdictKind) -> None:
    shop = Shop(share=share)
    activities = JudgeActivities(
        shop, lambda _: Knowing(shop).routing, _resolve, clock=shop.clock, sleep=shop.sleep
    )
    asked = _request(weight=1, bake=LONG)
    result = await ActivityEnvironment().run(activities.judge, asked)
    assert result.verdict.kind is kind


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Unanswered("no whole answer within 10 s", Fault.TIMED_OUT), Fault.TIMED_OUT),
        (Unanswered("a web page", Fault.WEB_PAGE), Fault.WEB_PAGE),
        (Retryable("away"), Fault.OTHER),
        (Answer(partial="No StoreAPIs matched for this query"), Fault.PARTIAL),
        (Answer([Series(labels={"pod": "1"}, value=float("nan"))]), Fault.NOT_A_NUMBER),
        (Answer(), Fault.EMPTY),
    ],
)
async def test_each_fault_of_the_source_is_told_apart(
    answer: Answer | Exception, fault: Fault
) -> None:
    shop = Shop()
    missed: list[Fault] = []

    async def query(promql: str, at: datetime) -> Sequence[Series]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    shop.query = query  # type: ignore[method-assign]
    activities = JudgeActivities(
        shop,
        lambda _: Counting(shop).routing,
        _resolve,
        clock=shop.clock,
        sleep=shop.sleep,
        missed=missed.append,
    )
    result = await ActivityEnvironment().run(activities.judge, _request())
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.INCONCLUSIVE,
        Reason.NO_DATA,
    )
    assert {one.fault for one in result.verdict.metrics} == {fault}
    assert set(missed) == {fault}
    seen = str(answer) if isinstance(answer, Exception) else answer.partial
    assert seen in result.verdict.sentence


@pytest.mark.parametrize(("accepted", "kind"), [(False, "INCONCLUSIVE"), (True, "PASS")])
async def test_warnings_count_where_the_catalog_does_not_say_otherwise(
    *, accepted: bool, kind: str
) -> None:
    shop = Shop()
    asked = shop.query

    async def warned(promql: str, at: datetime) -> Sequence[Series]:
        return Answer(await asked(promql, at), "a store is away")

    shop.query = warned  # type: ignore[method-assign]
    spec = JudgeSpec(interval=timedelta(seconds=1), tolerance=0.2, accept_warnings=accepted)
    result = await _judge(shop, _request(spec=spec))
    assert result.verdict.kind.value == kind


async def test_a_bad_version_does_not_pass_because_its_errors_are_in_the_store_that_is_away() -> (
    None
):
    """30 % fail, and no series of errors comes, but warnings, which are accepted or are not."""
    for accepted in (False, True):
        shop = Shop(bad=0.3)
        asked = shop.query

        async def half(promql: str, at: datetime, shop_query: Any = asked) -> Sequence[Series]:
            found = () if promql == "bad 2" else await shop_query(promql, at)
            return Answer(found, "No StoreAPIs matched for this query")

        shop.query = half  # type: ignore[method-assign]
        spec = JudgeSpec(interval=timedelta(seconds=1), tolerance=0.2, accept_warnings=accepted)
        result = await _judge(shop, _request(spec=spec))
        assert result.verdict.kind is VerdictKind.INCONCLUSIVE


async def test_an_attempt_that_resumes_after_the_bake_still_reads_an_interval() -> None:
    shop = Shop()
    shop.now = T0 + timedelta(seconds=60)
    result = await _judge(shop, _request())
    assert result.verdict.metrics[0].intervals == 1
    assert result.verdict.reason is not Reason.NO_DATA


# --- what somebody else has changed ---

ROUTE = Route.split("payments", "1", "2", 5, generation=3, owner="r")


async def _by_hand(share: float, weight: float | None, **over: Any) -> Verdict:
    """Judge 5 % of a service; somebody else has written another weight, or nobody has."""
    shop = Shop(share=share)
    router = Counting(shop)
    router.add_pool("payments", "1")
    router.add_pool("payments", "2")
    router.change(
        ROUTE if weight is None else Route.split("payments", "1", "2", weight, generation=3)
    )
    drawn = router.capabilities.model_copy(update={"sticky": ()})
    activities = JudgeActivities(
        shop,
        lambda _: replace(router.routing, capabilities=drawn),
        _resolve,
        clock=shop.clock,
        sleep=shop.sleep,
    )
    asked = _request(**{"router": DICE, "weight": 5, "route": ROUTE, "bake": LONG, **over})
    result = await ActivityEnvironment().run(activities.judge, asked)
    return result.verdict


async def test_a_share_that_is_somebody_elses_is_blamed_on_no_version() -> None:
    verdict = await _by_hand(0.9, 90)
    assert (verdict.kind, verdict.reason, verdict.final) == (
        VerdictKind.INCONCLUSIVE,
        Reason.FOREIGN_CHANGE,
        True,
    )
    assert "somebody else changed its route: found 1 10 %, 2 90 %" in verdict.sentence


async def test_a_share_that_nobody_changed_is_the_routers() -> None:
    assert (await _by_hand(0.9, None)).reason is Reason.SAMPLE_RATIO_MISMATCH


async def test_a_change_that_is_known_is_not_blamed_on_the_router_either() -> None:
    verdict = await _by_hand(0.9, 90, overruled=True)
    assert verdict.kind is VerdictKind.PASS


class InLane(Counting):
    """A router that counts what comes with a lane: a tenth of the requests."""

    async def requests_in_lane(self, service: str) -> int:
        return int(20 * (self._shop.now - T0).total_seconds())


@pytest.mark.parametrize(("lane", "kind"), [(True, VerdictKind.PASS), (False, VerdictKind.FAIL)])
async def test_a_lane_may_bring_more_than_the_weight_and_is_counted(
    *, lane: bool, kind: VerdictKind
) -> None:
    shop = Shop(share=0.5)
    of = LaneSpec().of("shop-1", "0123456789abcdef") if lane else None
    route = Route.split("payments", "1", "2", 5, generation=1, lane=of)
    router = InLane(shop)
    await router.apply(route)
    drawn = router.routing.capabilities.model_copy(update={"sticky": ()})
    routing = replace(router.routing, capabilities=drawn)
    activities = JudgeActivities(
        shop, lambda _: routing, _resolve, clock=shop.clock, sleep=shop.sleep
    )
    told: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *given: told.extend(given[1:])
    asked = _request(weight=5, route=route, bake=Bake(min=LONG.min, max=LONG.min))
    result = await environment.run(activities.judge, asked)
    assert result.verdict.kind is kind
    if not lane:
        assert result.lane is None
        assert {one.lane for one in told} == {None}
        return
    assert result.lane is not None
    seconds = result.lane.lasted.total_seconds()
    assert seconds >= 10
    # Nothing is held against the weight before it has reached every request.
    assert result.lane.began_at >= T0 + timedelta(seconds=2)
    assert result.lane.weight == 5
    assert result.lane.canary == result.lane.stable == 100 * seconds
    assert result.lane.came == 20 * seconds
    assert told[-1].lane.weight == 5


@pytest.mark.parametrize(
    ("bad", "direction", "kind", "reason", "took"),
    [
        (0.3, Direction.LOWER_IS_BAD, VerdictKind.PASS, Reason.BETTER, 60),
        (0.3, Direction.HIGHER_IS_BAD, VerdictKind.INCONCLUSIVE, Reason.WORSE, 60),
        (0.0, Direction.HIGHER_IS_BAD, VerdictKind.INCONCLUSIVE, Reason.NO_DIFFERENCE, 120),
    ],
)
async def test_an_ab_test_ends_as_a_difference_is_shown_or_its_time_is_over(
    bad: float, direction: Direction, kind: VerdictKind, reason: Reason, took: float
) -> None:
    shop = Shop(bad=bad)
    declared = ERRORS.model_copy(update={"direction": direction, "dry_run": True})
    bake = Bake(min=timedelta(seconds=60), max=timedelta(seconds=120))
    asked = _request(declared, bake=bake, compare="errors")
    told: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *given: told.append(given)
    result = await _judge(shop, asked, environment)
    assert (result.verdict.kind, result.verdict.reason) == (kind, reason)
    assert result.verdict.final
    assert (shop.now - T0).total_seconds() == pytest.approx(took, abs=1)
    began = {
        Reason.BETTER: "2 is better than 1: errors 30",
        Reason.WORSE: "2 is worse than 1: errors 30",
        Reason.NO_DIFFERENCE: "no difference shown in 2m: errors 0",
    }
    assert result.verdict.sentence.startswith(began[reason])
    assert " on 2 and 0" in result.verdict.sentence
    assert result.verdict.sentence.endswith(" of 20)")
    live = [given[1] for given in told if len(given) > 1]
    assert {one.kind for one in live[:-1]} == {VerdictKind.INCONCLUSIVE}
    # Another attempt goes on from the same odds.
    again = await _judge(shop, asked.model_copy(update={"evidence": result.evidence}))
    assert again.verdict.reason is reason
    kept, first = again.evidence["ab"], result.evidence["ab"]
    assert kept["shown"] == first["shown"]
    assert kept["last"][1] >= first["last"][1] > 0
    assert first["shown"][0] is (None if reason is Reason.NO_DIFFERENCE else True)


async def test_an_ab_test_is_failed_by_another_metric() -> None:
    declared = ERRORS.model_copy(update={"name": "orders", "dry_run": True})
    asked = _request(bake=LONG, compare="orders", metrics=(declared, ERRORS))
    result = await _judge(Shop(bad=0.5), asked)
    assert (result.verdict.kind, result.verdict.reason) == (
        VerdictKind.FAIL,
        Reason.WORSE_THAN_STABLE,
    )
