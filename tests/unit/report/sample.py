"""Timelines of releases, with evidence series that a real judge left."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from analysis.evalues import Tally
from analysis.evidence_series import columns, look, of_judge
from analysis.judge import Judge
from aviary.history.timeline import build
from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertPolicy
from schemas.decisions import Did
from schemas.event_kinds import MomentKind
from schemas.judging import HistogramMetric, JudgeSpec, MetricSpec, RatioMetric
from schemas.release import CanaryPhase, Cause, CauseKind, ReleasePhase, ReleasePlan, ServicePlan
from schemas.stages import stages_of
from schemas.strategy import Strategy
from schemas.timeline import CanaryRun, Judging, Moment, ServiceTimeline, Timeline
from schemas.verdict import Verdict
from tests.catalogs import MEMORY, capabilities
from tests.unit.history import recorded as histories

START = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)
NASTY = "</script><script>alert(1)</script> & \"quoted\" 'text' <img src=x onerror=alert(2)>"
STRATEGY = Strategy.model_validate({"steps": [5, 25, 50], "bake": "30m"})
METRICS: tuple[MetricSpec, ...] = (
    RatioMetric(name="errors"),
    HistogramMetric(name="latency", edges=(0.25,)),
)


def recorded(scenario: str) -> Timeline:
    """The timeline of a recorded release."""
    return build(histories.release(scenario), histories.canaries(scenario))


def plan_of(service: str, depends_on: tuple[str, ...] = ()) -> ServicePlan:
    """A service of a release."""
    return ServicePlan(
        service=service,
        version="2.0.1",
        depends_on=depends_on,
        router=MEMORY,
        capabilities=capabilities(),
        strategy_name="gentle",
        strategy=STRATEGY,
        stages=stages_of(STRATEGY),
        judge=JudgeSpec(),
        metrics=METRICS,
        alerts=AlertPolicy(),
    )


def at(minutes: float) -> datetime:
    """That many minutes after the release began."""
    return START + timedelta(minutes=minutes)


@cache
def bakes(bad_from: float | None, seed: int = 7) -> tuple[tuple[float, float, Verdict, Any], ...]:
    """Three bakes of 30 min: begin, end, verdict and evidence series; bad from a minute on."""
    rng = random.Random(seed)
    spec = JudgeSpec(tolerance=0.01)
    evidence: Any = None
    found = []
    begin = 1.0
    for weight in (5, 25, 50):
        judge = Judge(spec, METRICS, subject="payments 2.0.1")
        if evidence is not None:
            judge = Judge.load(spec, METRICS, evidence, subject="payments 2.0.1")
        evidence_series = of_judge(judge)
        for index in range(120):
            now = begin + (index + 1) / 4
            _interval(judge, rng, weight, now, bad=bad_from is not None and now >= bad_from)
            evidence_series.add(look(judge, at(now).timestamp()))
            verdict = judge.verdict(
                at(now),
                started_at=at(begin),
                bake_min=timedelta(minutes=30),
                bake_max=timedelta(minutes=30),
            )
            if verdict.final:
                break
        found.append((begin, now, verdict, columns(evidence_series, judge)))
        evidence = judge.dump()
        if verdict.kind.value == "FAIL":
            break
        begin = now + 0.2
    return tuple(found)


def _interval(judge: Judge, rng: random.Random, weight: int, now: float, *, bad: bool) -> None:
    """15 s of 40 requests per second."""
    canary = 600 * weight // 100
    stable = 600 - canary
    rate = 0.03 if bad else 0.004

    def few(total: int, share: float) -> int:
        return sum(rng.random() < share for _ in range(total))

    tallies = {
        "errors": Tally(few(canary, rate), canary, few(stable, 0.004), stable),
        "latency": Tally(few(canary, 0.05), canary, few(stable, 0.05), stable),
    }
    judge.tracks["latency"].reader.edges = (0.25,)  # type: ignore[union-attr]
    judge.observe_counts(tallies, at(now - 0.25).timestamp(), at(now).timestamp())


def _service(plan: ServicePlan, bad_from: float | None) -> tuple[ServiceTimeline, list[Moment]]:
    name, moments, judgings = plan.service, [], []
    weight = 0.0
    for weight, (begin, end, verdict, evidence_series) in zip(
        (5, 25, 50), bakes(bad_from), strict=False
    ):
        moments += [
            Moment(at=at(begin), kind=MomentKind.SHIFTED, service=name, weight=weight, step=0,
                   text=f"{name} 2.0.1 gets {weight} % of the requests"),
            Moment(at=at(end), kind=MomentKind.JUDGED, service=name, weight=weight,
                   text=verdict.sentence, verdict=verdict),
        ]  # fmt: skip
        judgings.append(
            Judging(service=name, run_id=f"run-{name}", stable="2.0.0", canary="2.0.1",
                    weight=weight, began_at=at(begin), ended_at=at(end), verdict=verdict,
                    evidence_series=evidence_series, bake_min=timedelta(minutes=30),
                    bake_max=timedelta(minutes=30))
        )  # fmt: skip
    phase = CanaryPhase.ROLLED_BACK if bad_from is not None else CanaryPhase.HOLDING
    service = ServiceTimeline(
        plan=plan,
        phase=phase,
        weight=0.0 if bad_from is not None else 100.0,
        stable="2.0.0",
        runs=(CanaryRun(run_id=f"run-{name}", started_at=START),),
        judgings=tuple(judgings),
    )
    return service, moments


def timeline_of(
    needs: Mapping[str, tuple[str, ...]], *, bad: str | None = None, text: str = "too slow"
) -> Timeline:
    """A release of these services, with what each depends on; `bad` fails in its second bake."""
    plans = {name: plan_of(name, depends_on) for name, depends_on in needs.items()}
    services, moments = {}, [Moment(at=START, kind=MomentKind.STARTED, text="the release started")]
    for name, plan in plans.items():
        services[name], found = _service(plan, 42.0 if name == bad else None)
        moments += found
    cause = None
    if bad is not None:
        verdict = services[bad].judgings[-1].verdict
        assert verdict is not None
        end = verdict.at
        cause = Cause(kind=CauseKind.VERDICT, service=bad, text=verdict.sentence, at=end,
                      verdict=verdict)  # fmt: skip
        moments = [one for one in moments if one.at <= end]
        moments += _back(services, bad, end, cause, text)
    return Timeline(
        release="R-2026.03.04",
        run_id="01-run",
        execution="completed" if bad else "running",
        plan=ReleasePlan(
            release="R-2026.03.04", services=plans, stages=_stages(needs), labels={"team": text},
            soak=timedelta(minutes=10),
        ),
        phase=ReleasePhase.ROLLED_BACK if bad else ReleasePhase.RUNNING,
        cause=cause,
        started_at=START,
        finished_at=moments[-1].at if bad else None,
        services=services,
        moments=tuple(sorted(moments, key=lambda one: one.at)),
    )  # fmt: skip


def _back(
    services: dict[str, ServiceTimeline], bad: str, end: datetime, cause: Cause, text: str
) -> list[Moment]:
    second = timedelta(seconds=1)
    alert = Alert(status=AlertStatus.FIRING, fingerprint="f1", starts_at=end - 9 * second,
                  labels={"alertname": text, "service": bad, "severity": "warning"},
                  annotations={"summary": text})  # fmt: skip
    moments = [
        Moment(at=at(10), kind=MomentKind.PAUSED, by="ann", reason=text, text=f"paused: {text}"),
        Moment(at=at(12), kind=MomentKind.RESUMED, by="ann", text="resumed by ann"),
        Moment(at=end - 5 * second, kind=MomentKind.ALERT, service=bad, alert=alert,
               did=Did.RECORDED, text=f"alert {text}"),
        Moment(at=end, kind=MomentKind.ROLLBACK, cause=cause, text="the release goes back"),
    ]  # fmt: skip
    for index, name in enumerate(services):
        back = end + (index + 1) * second
        service = services[name]
        services[name] = service.model_copy(update={"phase": CanaryPhase.ROLLED_BACK, "weight": 0.0,
            "judgings": tuple(one for one in service.judgings if one.began_at < end)})  # fmt: skip
        moments.append(
            Moment(at=back, kind=MomentKind.RESTORED, service=name, weight=0.0,
                   text=f"{name} 2.0.0 has all requests again")
        )  # fmt: skip
    moments.append(Moment(at=end + 60 * second, kind=MomentKind.ROLLED_BACK, cause=cause,
                          text="the release is rolled back"))  # fmt: skip
    return moments


def _stages(needs: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    stages: list[tuple[str, ...]] = []
    done: set[str] = set()
    while len(done) < len(needs):
        ready = tuple(n for n, of in needs.items() if n not in done and done.issuperset(of))
        stages.append(ready)
        done |= set(ready)
    return tuple(stages)


SHOP: dict[str, tuple[str, ...]] = {
    "ledger": (),
    "inventory": (),
    "payments": ("ledger",),
    "checkout": ("inventory", "ledger", "payments"),
    "storefront": ("checkout", "inventory", "ledger", "payments"),
}


def many(count: int) -> dict[str, tuple[str, ...]]:
    """So many services in layers of ten, each depending on one or two of the layer before."""
    names = [f"service-{index:02}" for index in range(count)]
    return {
        name: tuple(sorted({names[i - 10], names[max(i - 11, 0)]})) if i >= 10 else ()
        for i, name in enumerate(names)
    }
