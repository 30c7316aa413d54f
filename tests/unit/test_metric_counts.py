"""Requests of each version by a metrics source: the sum of what each counter has grown by."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.metric_counts import MetricCounts
from activities.observe import ObserveActivities, SampleRatioCheck, SeeBack, TrafficWindow
from activities.ramp import counted
from adapters.errors import Retryable, Terminal, Unsupported
from adapters.kinds import Shared
from adapters.packs import BUILT_IN, Pack
from adapters.ports import LateCounts, MetricsSource
from adapters.routers.memory import MEMORY as MEMORY_KIND
from adapters.routers.memory.router import CAPABILITIES, MemoryRouter
from adapters.routers.memory.trial import TrialRouter
from aviary.registry import Registry
from aviary.routers import Metrics, make_router
from schemas.capabilities import Counting
from schemas.reading import Answer, Series
from schemas.route import Route
from schemas.verdict import SampleRatio
from tests.catalogs import MEMORY

LATE = timedelta(seconds=30)
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Source:
    """Answers with what it was given last, by version."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[str, float]] = {}
        self.partial = ""
        self.asked: list[str] = []

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        self.asked.append(promql)
        found = self.counters.get(promql.split('"')[1], {})
        series = [Series(labels={"pod": pod}, value=value) for pod, value in found.items()]
        return Answer(series, self.partial)


class Clock:
    """Goes on by a second with each look."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def _counts(router: MemoryRouter, source: MetricsSource) -> MetricCounts:
    return MetricCounts(router, source, 'requests{version="{{version}}"}', LATE, Clock())


async def _router() -> TrialRouter:
    router = TrialRouter()
    await router.apply(Route.split("payments", "1", "2", 5, generation=1, owner="r"))
    return router


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "c"]),
            st.tuples(st.integers(0, 1000), st.booleans()),
            max_size=3,
        ),
        max_size=8,
    )
)
def test_what_restarts_or_goes_takes_nothing_away(
    steps: list[Mapping[str, tuple[int, bool]]],
) -> None:
    """Each step: which pods are there, what each has got, and whether it was started anew."""

    async def run() -> None:
        source = Source()
        source.counters = {"1": {"z": 0.0}}
        counts = _counts(await _router(), source)
        assert await counts.requests("payments") == {"1": 0, "2": 0}
        values: dict[str, float] = {}
        before = 0
        for step in steps:
            for pod, (more, restarted) in step.items():
                values[pod] = more if restarted else values.get(pod, 0.0) + more
            source.counters = {"1": {"z": 0.0, **{pod: values[pod] for pod in step}}}
            now = (await counts.requests("payments"))["1"]
            assert before <= now <= before + sum(values[pod] for pod in step)
            before = now

    asyncio.run(run())


async def test_each_pod_counts_from_its_own_beginning() -> None:
    source = Source()
    source.counters = {"1": {"a": 1000.0, "b": 50.0}, "2": {"c": 7.0}}
    counts = _counts(await _router(), source)
    assert await counts.requests("payments") == {"1": 0, "2": 0}
    source.counters = {"1": {"a": 1100.0, "b": 20.0}, "2": {"c": 12.0}}  # b was started anew
    assert await counts.requests("payments") == {"1": 120, "2": 5}
    source.counters = {"1": {"a": 1101.0}, "2": {"c": 12.0}}  # b went
    assert await counts.requests("payments") == {"1": 121, "2": 5}
    assert await counts.anew().requests("payments") == {"1": 0, "2": 0}


async def test_a_part_of_an_answer_or_all_of_it_twice_is_no_count() -> None:
    source = Source()
    source.counters = {"1": {"a": 1.0}}
    counts = _counts(await _router(), source)
    source.partial = "store gateway is away"
    with pytest.raises(Retryable, match="only a part: store gateway is away"):
        await counts.requests("payments")

    class Twice(Source):
        async def query(self, promql: str, at: datetime) -> Sequence[Series]:
            labels = {"pod": "a"}
            return [
                Series(labels={**labels, "prometheus_replica": one}, value=5) for one in ("x", "y")
            ]

    with pytest.raises(Retryable, match="prometheus_replica"):
        await _counts(await _router(), Twice()).requests("payments")


async def test_the_share_is_held_against_the_weight() -> None:
    source = Source()
    source.counters = {"1": {"a": 500_000.0}, "2": {"b": 0.0}}
    router = await _router()
    routing = replace(router.routing, counts=_counts(router, source), users=None)
    assert isinstance(routing.counts, LateCounts)
    check = SampleRatioCheck(routing, "payments", "2", 5)
    assert await check.look() is SampleRatio.TOO_LITTLE
    source.counters = {"1": {"a": 595_000.0}, "2": {"b": 5_000.0}}
    assert await check.look() is SampleRatio.MATCH
    assert check.seen == (5_000, 100_000)
    source.counters = {"1": {"a": 795_000.0}, "2": {"b": 5_000.0}}
    assert await check.look() is SampleRatio.MISMATCH


async def test_nothing_waits_for_late_counts() -> None:
    router = await _router()
    source = Source()
    routing = replace(router.routing, counts=_counts(router, source))
    request = SeeBack(
        router=MEMORY,
        service="payments",
        version="2",
        quiet=timedelta(seconds=1),
        within=timedelta(seconds=15),
    )
    seen = await ObserveActivities(lambda _: routing).see_back(request)
    assert seen == TrafficWindow(sample_ratio=SampleRatio.TOO_LITTLE)
    assert source.asked == []
    with pytest.raises(Unsupported, match="counts requests at once"):
        counted(routing, "payments")


def _kind(pack: str | Pack | None) -> Registry:
    can = CAPABILITIES.model_copy(update={"counts": Counting.METRICS, "users": False})
    kind = replace(
        MEMORY_KIND, name="metered", make=lambda *_: MemoryRouter(), capabilities=can, pack=pack
    )
    return Registry((kind,), (), (), (), ())


async def test_a_kind_is_counted_by_its_pack() -> None:
    spec = MEMORY.model_copy(update={"kind": "metered"})
    metrics = Metrics(Source(), LATE)
    async with httpx.AsyncClient() as client:
        made = make_router(spec, _kind("istio"), {}, Shared(client), metrics)
        assert isinstance(made.counts, MetricCounts)
        assert made.late == LATE
        unasked = make_router(spec, _kind("istio"), {}, Shared(client))
        assert (unasked.counts, unasked.capabilities.counts) == (None, Counting.NONE)
        for pack in ("haproxy", None):
            with pytest.raises(Terminal, match="no pack that says how"):
                make_router(spec, _kind(pack), {}, Shared(client), metrics)


def test_what_a_pack_counts_are_raw_counters() -> None:
    assert BUILT_IN.load("istio").requests
    with pytest.raises(ValueError, match="requests: expected"):
        Pack.model_validate(
            {
                "title": "t",
                "needs": "n",
                "pool": {"template": "{{service}}"},
                "requests": "sum(rate(x[5m]))",
                "queries": {},
            }
        )
