"""Asking whose doing an alert is: canaries, catalog and metrics put together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.blame import AskBlame, BlameActivities
from activities.failures import ReadFailures
from adapters.errors import Retryable
from adapters.memory import MemoryMetricsSource
from analysis.blame import rank
from schemas.blame import Blame, Exposed, WeightChange
from schemas.reading import Series
from tests.catalogs import make
from tests.workflows.kit.router import RecordingRouter

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=4)
RPS = 50.0


def metrics(kind: str) -> list[dict[str, Any]]:
    if kind == "histogram":
        return [
            {
                "kind": "histogram",
                "name": "latency",
                "edges": [0.5],
                "buckets": "{{service}}:{{version}}:buckets",
            }
        ]
    return [
        {"kind": "gauge", "name": "memory", "value": "up"},
        {
            "kind": "ratio",
            "name": "errors",
            "bad": "{{service}}:{{version}}:bad",
            "total": "{{service}}:{{version}}:total",
        },
    ]


class KnownCanaries:
    """`Canaries` of a test."""

    def __init__(self, *exposed: Exposed) -> None:
        self.known = {one.service: one for one in exposed}
        self.silent: set[str] = set()

    async def lately(self, since: datetime) -> Iterable[str]:
        assert since < NOW - timedelta(minutes=20)
        return self.known

    async def exposed(self, service: str) -> Exposed | None:
        if service in self.silent:
            raise Retryable(f"{service} does not answer")
        return self.known.get(service)


class Counters(MemoryMetricsSource):
    """Raw counters: requests at one rate, of which a share fails from `BEGAN` on."""

    def __init__(self, kind: str, failing: dict[str, float]) -> None:
        super().__init__()
        self.kind = kind
        self.failing = failing
        self.away: set[str] = set()

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        service, version, part = promql.split(":") if ":" in promql else ("", "", "")
        if service in self.away:
            raise Retryable("the metrics source does not answer")
        seconds = (at - NOW).total_seconds() + 7200
        total = round(RPS * seconds)
        rise = self.failing.get(f"{service}:{version}", 0.0)
        late = max((at - BEGAN).total_seconds(), 0.0)
        bad = round(0.002 * RPS * seconds + rise * RPS * late)
        labels = {"instance": f"{service}-{version}"}
        if part == "buckets":
            return [
                Series(labels={**labels, "le": "0.5"}, value=total - bad),
                Series(labels={**labels, "le": "+Inf"}, value=total),
            ]
        return [Series(labels=labels, value=bad if part == "bad" else total)]


def exposed(release: str, service: str, at: datetime) -> Exposed:
    changes = (WeightChange(at=at, weight=10.0),)
    return Exposed(release=release, service=service, version="2", before="1", changes=changes)


WEB = exposed("r-web", "web", NOW - timedelta(minutes=20))
LEDGER = exposed("r-ledger", "ledger", BEGAN)
VICTIMS = {"web:0": 0.05, "web:1": 0.05, "web:2": 0.05, "ledger:2": 0.5}


def catalog(kind: str = "ratio") -> Any:
    return make(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": metrics(kind)},
            "services": {"web": {"depends_on": ["ledger"]}, "ledger": {}, "other": {}},
        }
    )


def asks(canaries: KnownCanaries, source: Counters | None, kind: str = "ratio") -> BlameActivities:
    router = RecordingRouter()
    failures = None
    if source is not None:
        failures = ReadFailures(source, lambda _: router.routing, lambda _, metric: metric)
    return BlameActivities(canaries, lambda: catalog(kind), failures, clock=lambda: NOW)


def about(symptom: str = "web", release: str = "r-web") -> AskBlame:
    within = timedelta(minutes=2)
    return AskBlame(release=release, symptom=symptom, within=within, since=NOW)


@pytest.mark.parametrize("kind", ["ratio", "histogram"])
async def test_the_culprit_is_found_in_counters(kind: str) -> None:
    """By the metric that shows the symptom, whichever kind counts it."""
    found = await asks(KnownCanaries(WEB, LEDGER), Counters(kind, VICTIMS), kind).blame(about())
    assert (found.culprit, found.known, found.alone) == ("r-ledger", True, False)
    assert found.ranked[0].services == ("ledger",)
    assert "it fails more of its own requests (50 % against 0.2 % of stable's)" in found.text
    assert [one.release for one in found.ranked] == ["r-ledger", "r-web"]


async def test_where_no_other_release_is_along_the_calls_nothing_is_read() -> None:
    """Its own services, others that are not called, and versions without requests."""
    source = Counters("ratio", VICTIMS)
    mine = exposed("r-web", "ledger", BEGAN)
    other = exposed("r-other", "other", BEGAN)
    assert await asks(KnownCanaries(WEB, mine, other), source).blame(about()) == Blame(alone=True)
    unseen = LEDGER.model_copy(update={"changes": ()})
    assert (await asks(KnownCanaries(WEB, unseen), source).blame(about())).alone
    assert source.asked == []


async def test_one_that_is_alone_is_judged_where_only_what_calls_it_alerts() -> None:
    """It would pause: evidence says that it goes back."""
    alone = about(release="r-ledger").model_copy(update={"even_alone": True})
    found = await asks(KnownCanaries(LEDGER), Counters("ratio", VICTIMS)).blame(alone)
    assert (found.alone, found.culprit) == (False, "r-ledger")
    assert (await asks(KnownCanaries(), Counters("ratio", VICTIMS)).blame(alone)).alone


async def test_an_answer_that_would_lack_a_suspect_is_none() -> None:
    """It would blame another one."""
    canaries = KnownCanaries(WEB, LEDGER)
    canaries.silent = {"ledger"}
    with pytest.raises(Retryable):
        await asks(canaries, Counters("ratio", VICTIMS)).blame(about())


async def test_without_counts_of_the_symptom_nothing_is_known() -> None:
    """No metrics at all, or none that answers, or nothing that rose."""
    canaries = KnownCanaries(WEB, LEDGER)
    assert not (await asks(canaries, None).blame(about())).known
    away = Counters("ratio", VICTIMS)
    away.away = {"web"}
    assert not (await asks(canaries, away).blame(about())).known
    assert not (await asks(canaries, Counters("ratio", {})).blame(about())).known


async def test_a_suspect_without_counts_is_told_by_its_weight_alone() -> None:
    """Its own comparison is missing, and the sentence does not speak of one."""
    source = Counters("ratio", VICTIMS)
    source.away = {"ledger"}
    found = await asks(KnownCanaries(WEB, LEDGER), source).blame(about())
    assert found.ranked[0].release == "r-ledger"
    assert "its own requests" not in found.ranked[0].text


async def test_route_writes_go_on_while_it_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty suspects take a second of arithmetic, and the worker has one event loop."""
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*given: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(60), "the event loop stands still"
        return rank(*given)

    monkeypatch.setattr("activities.blame.rank", slow)
    asks_it = asks(KnownCanaries(WEB, LEDGER), Counters("ratio", VICTIMS))
    asking = asyncio.create_task(asks_it.blame(about()))
    async with asyncio.timeout(60):
        await begun.wait()
    gate.set()
    assert (await asking).culprit == "r-ledger"


async def test_nothing_goes_on_once_it_is_too_late() -> None:
    """The server has given it up; what reads metrics for nobody would only be in the way."""

    class Hanging(KnownCanaries):
        stopped = False

        async def exposed(self, service: str) -> Exposed | None:
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped = True
            return None

    canaries = Hanging(WEB, LEDGER)
    request = about().model_copy(update={"within": timedelta(milliseconds=10)})
    with pytest.raises(Retryable, match="no answer within"):
        await asks(canaries, Counters("ratio", VICTIMS)).blame(request)
    assert canaries.stopped
