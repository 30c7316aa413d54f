"""A release as `watch` may find it: one service holds, one bakes, one waits for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aviary.cli.tree import Look
from aviary.releases.sight import Sight
from schemas.live import Live, LiveMetric
from schemas.release import (
    CanaryPhase,
    Cause,
    CauseKind,
    ReleasePhase,
    ReleaseStatus,
    ServiceStatus,
)
from schemas.verdict import Counts, Reason, Verdict, VerdictKind

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NOW = START + timedelta(minutes=12, seconds=31)


def counts(bad: float, total: float) -> Counts:
    return Counts(bad=bad, total=total, rate=bad / total if total else None)


def live(to_fail: float = 0.18, to_go_on: float = 0.71) -> Live:
    errors = LiveMetric(
        name="errors",
        canary=counts(37, 12_040),
        stable=counts(101, 36_110),
        canary_now=0.0041,
        stable_now=0.0028,
        e_value=1.7,
        to_fail=to_fail,
        upper_bound=0.009,
        tolerance=0.005,
        to_go_on=to_go_on,
    )
    slow = LiveMetric(
        name="latency",
        kind="histogram",
        canary=counts(493, 12_040),
        stable=counts(1_408, 36_110),
        canary_now=0.041,
        stable_now=0.039,
        e_value=0.8,
        upper_bound=0.01,
        tolerance=0.05,
        to_go_on=1.0,
        edge=0.25,
    )
    return Live(
        at=NOW,
        kind=VerdictKind.INCONCLUSIVE,
        sentence="collecting evidence on checkout 1.4.2: errors: at most 0.9 % extra",
        weight=25,
        started_at=NOW - timedelta(minutes=2, seconds=10),
        bake_min=60,
        bake_max=300,
        share=0.248,
        requests=48_150,
        e_value=1.7,
        threshold=20,
        to_fail=to_fail,
        to_go_on=to_go_on,
        metrics=(errors, slow),
    )


def verdict(kind: VerdictKind, sentence: str) -> Verdict:
    return Verdict(kind=kind, reason=Reason.GOOD_ENOUGH, sentence=sentence, at=START)


def service(name: str, phase: CanaryPhase, *needs: str, **over: object) -> ServiceStatus:
    known = {"service": name, "version": "1.4.2", "depends_on": needs, "phase": phase, "steps": 4}
    return ServiceStatus.model_validate(known | over)


LEDGER = service("ledger", CanaryPhase.HOLDING, weight=100, step=3, stable="3.0.0")
CHECKOUT = service(
    "checkout",
    CanaryPhase.BAKING,
    "ledger",
    weight=25,
    step=1,
    stable="1.4.1",
    waits_for="the bake of step 2 of 4",
    verdict=verdict(
        VerdictKind.PASS,
        "checkout 1.4.2 is good enough, 95 % sure: errors: at most 0.48 % extra, 2 % is accepted "
        "for a next step of 25 % (3,010 and 57,190 requests in 5 min)",
    ),
)
CART = service(
    "cart",
    CanaryPhase.GATED,
    "ledger",
    weight=5,
    step=0,
    stable="1.4.1",
    waits_for="approval: has support been told?",
)
SHOP = service(
    "shop", CanaryPhase.WAITING, "ledger", "cart", "checkout", waits_for="cart, checkout to hold"
)


def release(
    *services: ServiceStatus, phase: ReleasePhase = ReleasePhase.RUNNING, **over: object
) -> ReleaseStatus:
    known = {
        "release": "shop-42",
        "phase": phase,
        "paused": False,
        "services": services,
        "started_at": START,
    }
    return ReleaseStatus.model_validate(known | over)


def running() -> Look:
    """All of it at once."""
    return Look(
        release(LEDGER, CHECKOUT, CART, SHOP),
        sights={"ledger": Sight(live(to_fail=0.02)), "checkout": Sight(live())},
    )


def stuck() -> Look:
    """A rollback that the router does not take."""
    cause = Cause(
        kind=CauseKind.VERDICT,
        service="checkout",
        text="checkout 1.4.2 fails 5.2 % of requests against 0.28 % on stable (12,040 and 36,110 "
        "requests in 2 min); the odds against chance passed 20:1 at 12:12:29",
        at=NOW,
    )
    back = {"weight": 25, "step": 1, "stable": "1.4.1", "cause": cause}
    waits = "the router, still tried; a person should look"
    return Look(
        release(
            LEDGER,
            service("checkout", CanaryPhase.STUCK, "ledger", waits_for=waits, **back),
            phase=ReleasePhase.ROLLING_BACK,
            cause=cause,
        ),
        sights={
            "checkout": Sight(trouble="writing the route, attempt 7: connection refused: 10.0.0.3")
        },
    )
