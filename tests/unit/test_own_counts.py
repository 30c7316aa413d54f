"""The judging activity where the router shows what it counts: how often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.judge import JudgeActivities, JudgeRequest, JudgeResult
from activities.own_counts import countable
from activities.shared_heartbeat import SharedHeartbeat
from adapters.errors import Retryable, Terminal
from adapters.ports import Routing
from adapters.routers.memory.trial import TrialRouter
from schemas.evidence_series import EvidenceSeries
from schemas.judging import HistogramMetric, JudgeSpec, MetricSpec, RatioMetric
from schemas.reading import Series
from schemas.strategy import Bake
from schemas.verdict import Source, VerdictKind
from tests.catalogs import MEMORY

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = RatioMetric(name="errors")
FILLED = {"query": None, "bad": 'bad{pool="{{pool}}"}', "total": 'total{pool="{{pool}}"}'}
SPEC = JudgeSpec(
    interval=timedelta(seconds=4),
    tolerance=0.2,
    router_interval=timedelta(milliseconds=250),
    burst=timedelta(0),
)
NEVER = SPEC.model_copy(update={"router_interval": timedelta(0)})
BAKE = Bake(min=timedelta(seconds=40), max=timedelta(seconds=60))
NAMES = ("bad", "total")


class Time:
    """A clock that goes on to the next who waits, once nobody has anything to do."""

    def __init__(self) -> None:
        self.now = T0
        self._waiting: list[datetime] = []

    def clock(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + timedelta(seconds=seconds)
        self._waiting.append(until)
        try:
            while self.now < until:
                for _ in range(20):
                    await asyncio.sleep(0)
                if until == min(self._waiting):
                    self.now = max(self.now, until)
        finally:
            self._waiting.remove(until)

    @property
    def passed(self) -> float:
        return (self.now - T0).total_seconds()


class Shop(TrialRouter):
    """A router with counters of its own, and a metrics source with the same, some time later."""

    def __init__(self, *, bad: float = 0.0, late: float = 1.0) -> None:
        super().__init__()
        self.time = Time()
        self.bad = bad
        self.late = late
        self.error: Exception | None = None
        self.hangs = False
        self.took = 0.0
        self.asked: list[float] = []

    def _value(self, part: str, version: str, seconds: float) -> Series:
        requests = 100 * max(seconds, 0) + 100
        value = requests * (self.bad if version == "2" else 0.0) if part == "bad" else requests
        labels = {"__name__": part, "pool": f"payments-{version}", "instance": "a"}
        return Series(labels=labels, value=value)

    async def counters(self, service: str) -> Sequence[Series]:
        assert service == "payments"
        self.asked.append(self.time.passed)
        if self.took:
            await self.time.sleep(self.took)
        if self.error is not None:
            raise self.error
        return [self._value(part, v, self.time.passed) for part in NAMES for v in ("1", "2")]

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        if self.hangs:
            await asyncio.Event().wait()
        seconds = (at - T0).total_seconds() - self.late
        return [self._value(promql.partition("{")[0], promql[-3], seconds)]

    async def locate(self, service: str, version: str) -> str:
        return f"{service}-{version}"

    async def requests(self, service: str) -> Mapping[str, int]:
        del service
        sent = round(100 * self.time.passed)
        return {"1": sent, "2": sent}

    @property
    def routing(self) -> Routing:
        routing = super().routing
        can = routing.capabilities.model_copy(update={"counters": NAMES})
        return replace(routing, capabilities=can, counters=self)


def resolve(_: JudgeSpec, metric: MetricSpec) -> MetricSpec:
    return metric.model_copy(update=FILLED) if metric.query == "errors" else metric


async def judged(
    shop: Shop,
    spec: JudgeSpec = SPEC,
    environment: ActivityEnvironment | None = None,
    shared_heartbeat: SharedHeartbeat | None = None,
    **over: Any,
) -> JudgeResult:
    activities = JudgeActivities(
        shop,
        lambda _: shop.routing,
        resolve,
        clock=shop.time.clock,
        sleep=shop.time.sleep,
        shared_heartbeat=shared_heartbeat,
    )
    asked = {
        "router": MEMORY,
        "service": "payments",
        "stable": "1",
        "canary": "2",
        "spec": spec,
        "metrics": (ERRORS,),
        "weight": 50,
        "weight_changed_at": T0,
        "started_at": T0,
        "bake": BAKE,
    }
    request = JudgeRequest.model_validate(asked | over)
    return await (environment or ActivityEnvironment()).run(activities.judge, request)


async def test_the_router_is_asked_beside_the_metrics_and_decides_sooner() -> None:
    shop = Shop(bad=0.5)
    verdict = (await judged(shop)).verdict
    assert (verdict.kind, verdict.decided_by) == (VerdictKind.FAIL, Source.ROUTER)
    assert shop.time.passed <= 2.5
    assert shop.asked[:3] == [0, 0.25, 0.5]
    alone = Shop(bad=0.5)
    verdict = (await judged(alone, NEVER)).verdict
    assert (verdict.kind, verdict.decided_by) == (VerdictKind.FAIL, None)
    assert alone.time.passed >= 20
    assert alone.asked == []


async def test_what_the_router_showed_is_kept_reading_by_reading() -> None:
    shop = Shop(bad=0.5)
    series = EvidenceSeries.model_validate((await judged(shop)).evidence_series)
    assert series.router is not None
    assert series.router.at == tuple(0.25 * n for n in range(1, len(shop.asked)))
    assert set(series.router.took) == {0.25}
    (errors,) = series.router.metrics["errors"].streams
    assert sum(errors.canary) == 100 * shop.asked[-1]
    assert sum(errors.bad_canary) == 50 * shop.asked[-1]
    alone = await judged(Shop(), NEVER)
    assert EvidenceSeries.model_validate(alone.evidence_series).router is None


async def test_a_metrics_source_that_hangs_delays_no_fail() -> None:
    shop = Shop(bad=0.5)
    shop.hangs = True
    verdict = (await judged(shop)).verdict
    assert (verdict.kind, verdict.decided_by) == (VerdictKind.FAIL, Source.ROUTER)
    assert shop.time.passed <= 2.5


@pytest.mark.parametrize("error", [Retryable("away"), Terminal("forbidden")])
async def test_a_router_that_can_not_be_asked_leaves_it_to_the_metrics(error: Exception) -> None:
    shop = Shop(bad=0.5)
    shop.error = error
    verdict = (await judged(shop)).verdict
    assert (verdict.kind, verdict.decided_by) == (VerdictKind.FAIL, Source.METRICS)
    assert len(shop.asked) <= 4 + shop.time.passed / 4 if isinstance(error, Retryable) else 1
    good = Shop()
    good.error = error
    assert (await judged(good)).verdict.kind is VerdictKind.PASS


async def test_a_good_canary_passes_by_the_metrics_when_it_did_before() -> None:
    shop = Shop()
    verdict = (await judged(shop)).verdict
    assert verdict.kind is VerdictKind.PASS
    assert shop.time.passed == 40
    (metric,) = verdict.metrics
    assert metric.router is not None
    assert metric.router.canary.total > metric.canary.total > 0


async def test_asking_the_router_makes_neither_heartbeats_nor_the_series_longer() -> None:
    kept = []
    for spec in (SPEC, NEVER):
        heartbeats: list[Any] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *told, heartbeats=heartbeats: heartbeats.append(told)
        result = await judged(Shop(), spec, environment)
        assert result.evidence_series is not None
        readings = {told[1].at for told in heartbeats if len(told) > 1}
        kept.append((len(readings), len(result.evidence_series["at"])))
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("over", "asked"), [({"weight": 100}, False), ({"weight": 5}, True), ({"weight": 0}, False)]
)
async def test_it_is_asked_while_there_are_two_versions(over: Any, *, asked: bool) -> None:
    shop = Shop()
    await judged(shop, **over, mixed=True)
    assert bool(shop.asked) is asked


class Crowded(SharedHeartbeat):
    def __init__(self, judges: int) -> None:
        super().__init__()
        self._judges = judges


@pytest.mark.parametrize(("judges", "took", "most"), [(100, 0, 60), (10, 0.03, 20), (1, 0.01, 260)])
async def test_many_judges_and_a_busy_router_are_not_asked_more_than_is_good(
    judges: int, took: float, most: int
) -> None:
    shop = Shop()
    shop.took = took
    await judged(shop, shared_heartbeat=Crowded(judges))
    assert most / 2 < len(shop.asked) <= most


def test_only_what_the_pack_asks_of_such_counters_is_asked_of_the_router() -> None:
    routing = Shop().routing
    dry = ERRORS.model_copy(update={"name": "dry", "dry_run": True})
    other = RatioMetric(name="other", query="errors")
    own = RatioMetric(name="own", bad=FILLED["bad"], total=FILLED["total"])
    latency = HistogramMetric(name="latency")
    asked = (ERRORS, dry, other, own, latency)
    filled = (
        ERRORS.model_copy(update=FILLED),
        dry.model_copy(update=FILLED),
        other.model_copy(update=FILLED | {"total": "sum(total)"}),
        own,
        latency.model_copy(update={"query": None, "buckets": "unheard_of_bucket"}),
    )
    assert countable(routing, SPEC, asked, filled) == {"errors"}
    for method in ("threshold", "kayenta"):
        assert not countable(routing, JudgeSpec(method=method), asked, filled)
    assert not countable(routing, NEVER, asked, filled)
    assert not countable(replace(routing, counters=None), SPEC, asked, filled)


def test_a_pace_that_no_router_should_be_asked_at_is_refused() -> None:
    with pytest.raises(ValueError, match="router_interval: got 50ms, expected null, 0s, or 100ms"):
        JudgeSpec(router_interval=timedelta(milliseconds=50))


@pytest.mark.parametrize(
    ("spec", "pace"),
    [
        ({}, None),
        ({"interval": "1s"}, None),
        ({"burst": "1s"}, 0.25),
        ({"burst": "0s"}, 0.25),
        ({"burst": "15s"}, None),
        ({"burst": "1s", "fastest": "1s"}, None),
        ({"burst": "1s", "router_interval": "0s"}, None),
        ({"router_interval": "500ms"}, 0.5),
    ],
)
def test_it_is_asked_of_itself_where_bursts_are_said_to_be_short(
    spec: dict[str, str], pace: float | None
) -> None:
    found = JudgeSpec.model_validate(spec).router_pace
    assert (None if found is None else found.total_seconds()) == pace


def test_a_burst_that_is_longer_than_an_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"burst: got 20s, expected the interval \(15s\) or less"):
        JudgeSpec.model_validate({"burst": "20s"})


async def test_bets_are_a_burst_apart() -> None:
    """At half of the requests each doubles the odds at most, and a second lies between."""
    shop = Shop(bad=0.5)
    spec = SPEC.model_copy(update={"burst": timedelta(seconds=1)})
    verdict = (await judged(shop, spec)).verdict
    assert (verdict.kind, verdict.decided_by) == (VerdictKind.FAIL, Source.ROUTER)
    assert 6 <= shop.time.passed <= 12
    assert "as one burst may last 1 s" in verdict.sentence
