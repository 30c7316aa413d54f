"""Past releases as a judge and a strategy made them: counted, judged, and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from analysis import evidence_series
from analysis.evalues import Tally
from analysis.intervals import Interval
from analysis.judge import Judge
from aviary.catalogs import make_catalog
from schemas.catalog import Catalog
from schemas.chain import Chain
from schemas.event_kinds import EventType
from schemas.events import event
from schemas.measured import Measured
from schemas.verdict import Verdict, VerdictKind

BEGAN = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=15)
READING = timedelta(milliseconds=250)
ERRORS = {"kind": "ratio", "name": "errors", "bad": "bad", "total": "total"}
STEPS = {"steps": [5, 25, 50], "bake": {"min": "1m", "max": "10m"}}


def document(
    judge: Mapping[str, Any] | None = None,
    strategy: Mapping[str, Any] | None = None,
    metrics: list[Any] | None = None,
) -> dict[str, Any]:
    """A catalog of one service."""
    return {
        "version": 1,
        "defaults": {
            "router": {"kind": "memory"},
            "metrics": [ERRORS] if metrics is None else metrics,
            "strategy": "test",
            "judge": dict(judge or {}),
        },
        "strategies": {"test": dict(strategy or STEPS)},
        "services": {"checkout": {}},
    }


def catalog(**parts: Any) -> Catalog:
    """The same, read."""
    return make_catalog(document(**parts))


class Happened(NamedTuple):
    """One past release, and what became of it."""

    records: list[bytes]
    went_back: bool
    last: Verdict


class _Telling:
    """Tells what happens, as a release does."""

    def __init__(self, release: str, began: datetime) -> None:
        self.release, self.now = release, began
        self.chain = Chain()
        self.records: list[bytes] = []

    def tell(self, kind: EventType, data: Mapping[str, Any]) -> None:
        of = {"release": self.release, "environment": "default", **data}
        told = event(
            f"release/{self.release}",
            len(self.records),
            kind,
            release=self.release,
            subject="checkout",
            time=self.now,
            data=of,
        )
        self.records.append(self.chain.link(told).wire())


def happened(
    policy: Catalog,
    rates: tuple[float, float],
    *,
    release: str = "r1",
    began: datetime = BEGAN,
    requests: int = 3000,
    seed: int = 1,
    asked: bool = False,
) -> Happened:
    """A release of one service under a policy.

    Args:
        policy: whose judge and strategy decide.
        rates: shares of requests that the new version and stable fail.
        release: its id.
        began: when.
        requests: of each interval.
        seed: of the chance that requests fail by.
        asked: whether the router was asked for its own counts as well.
    """
    chance = Random(seed)
    service = policy.resolve("checkout")
    own = ["errors"] if asked else []
    judge = Judge(service.judge, service.metrics or (), subject="checkout 2", ask_router=own)
    telling = _Telling(release, began)
    telling.tell(EventType.RELEASE_STARTED, {})
    of = {"service": "checkout", "version": "2"}
    steps = service.strategy.full_steps
    verdict: Verdict | None = None
    for number, step in enumerate(steps):
        seen = evidence_series.of_judge(judge)
        step_began = telling.now
        seen.add(evidence_series.look(judge, telling.now.timestamp()))
        exposure = (steps[number + 1] if number + 1 < len(steps) else step).weight / 100
        while verdict is None or not verdict.final:
            start, share = telling.now, step.weight / 100
            if asked:
                readings = (_counts(chance, requests // 60, share, rates) for _ in range(60))
                counted = _by_router(telling, judge, seen, readings)
            else:
                telling.now += INTERVAL
                counted = _counts(chance, requests, share, rates)
            times = start.timestamp(), telling.now.timestamp()
            judge.observe_counts({"errors": counted}, *times)
            seen.add(evidence_series.look(judge, telling.now.timestamp()))
            verdict = judge.verdict(
                telling.now,
                started_at=step_began,
                bake_min=step.bake.min,
                bake_max=step.bake.max,
                exposure=exposure,
            )
        series = evidence_series.columns(seen, judge)
        measured = Measured(
            number=number, at=telling.now, stable="1", weight=step.weight, series=series
        )
        telling.tell(EventType.EVIDENCE_MEASURED, {**of, **measured.model_dump(mode="json")})
        if verdict.kind is not VerdictKind.PASS:
            break
        last, verdict = verdict, None
    end = verdict or last
    back = end.kind is VerdictKind.FAIL
    if back:
        cause = {"kind": "verdict", "service": "checkout", "text": end.sentence}
        telling.tell(EventType.CANARY_ROLLINGBACK, {**of, "cause": cause})
        telling.tell(EventType.RELEASE_ROLLEDBACK, {})
    else:
        telling.tell(EventType.CANARY_HOLDING, of)
        telling.tell(EventType.RELEASE_FINALIZED, {})
    return Happened(telling.records, back, end)


def _by_router(
    telling: _Telling,
    judge: Judge,
    seen: evidence_series.EvidenceSeries,
    readings: Iterable[Tally],
) -> Tally:
    """An interval in which the router is asked, until it is over or the canary has failed."""
    whole: list[Tally] = []
    for tally in readings:
        start, end = telling.now.timestamp(), (telling.now + READING).timestamp()
        telling.now += READING
        judge.observe_router_streams({"errors": [tally]}, start, end)
        seen.router.add({"errors": Interval(start, end, ((tally,),))})
        whole.append(tally)
        if judge.failure is not None:
            break
    return Tally(*map(sum, zip(*whole, strict=True)))


def _counts(chance: Random, requests: int, share: float, rates: tuple[float, float]) -> Tally:
    canary = round(requests * share)
    stable = requests - canary
    bad_c = sum(chance.random() < rates[0] for _ in range(canary))
    bad_b = sum(chance.random() < rates[1] for _ in range(stable))
    return Tally(bad_c, canary, bad_b, stable)
