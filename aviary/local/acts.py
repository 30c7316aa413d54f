"""The three acts of the demo: each plays, then checks itself against Envoy and Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.routers.envoy_names import pool_name
from aviary.local import evidence
from aviary.local.shop import DEPENDENCIES, Fault
from aviary.local.stack import Stack
from aviary.local.theatre import Theatre
from schemas.ids import SIGNAL_ALERT
from schemas.release import CanaryPhase, CauseKind, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind

JUDGED_FAULT: Final = Fault(error_rate=0.2, latency_ms=20)
"""Bad enough for the judge, too little for the alert."""
ALERTED_FAULT: Final = Fault(error_rate=0.9)
HEALTHY: Final = "Act 1: five dependent services go out and are finalized"
JUDGED: Final = "Act 2: a version with more errors goes back; what depends on it is never touched"
ALERTED: Final = "Act 3: half of a release holds when an alert fires; all of it goes back"
_ALERT_WITHIN_S: Final = 15.0


@dataclass
class Act:
    """What an act found out."""

    title: str
    checks: list[tuple[str, bool]] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """For the summary, in order."""

    @property
    def good(self) -> bool:
        """Whether it ended as it must."""
        return bool(self.checks) and all(ok for _, ok in self.checks)

    def check(self, text: str, *, ok: bool) -> None:
        """Note one thing that must be so."""
        self.checks.append((text, ok))


Play = Callable[[Stack, Theatre], Awaitable[Act]]


async def healthy(stack: Stack, theatre: Theatre) -> Act:
    """Act 1: five dependent services go out and are finalized."""
    act = Act(HEALTHY)
    versions = dict.fromkeys(("inventory", "ledger", "cart", "payments", "checkout"), "1.1.0")
    await _put_up(stack, versions, {})
    await theatre.watch("shop-1", versions)
    status = await evidence.status(theatre.temporal, "shop-1")
    act.check("Temporal: the release is finalized", ok=status.phase is ReleasePhase.FINALIZED)
    for service, version in versions.items():
        routed = await evidence.clusters_routed(stack, service)
        ok = evidence.serves_only(routed, service, version)
        act.check(f"Envoy: {service} is served by {version} alone", ok=ok)
    await _say_users(stack, act)
    for service in versions:
        await stack.retire(service, "1.0.0")
    return act


async def judged(stack: Stack, theatre: Theatre) -> Act:
    """Act 2: one version has more errors; nobody who depends on it is touched."""
    act = Act(JUDGED)
    versions = dict.fromkeys(("ledger", "payments", "checkout", "storefront"), "1.2.0")
    before = {name: await evidence.clusters_routed(stack, name) for name in versions}
    await _put_up(stack, versions, {"payments": JUDGED_FAULT})
    await theatre.watch("shop-2", versions)
    status = await evidence.status(theatre.temporal, "shop-2")
    _check_cause(act, status, CauseKind.VERDICT, "payments")
    verdict = status.cause.verdict if status.cause else None
    fails = verdict is not None and verdict.kind is VerdictKind.FAIL
    act.check("Temporal: the verdict on payments 1.2.0 is FAIL", ok=fails)
    begun = await evidence.canaries(theatre.temporal, "shop-2")
    counts = await evidence.pool_counts(stack)
    for service in ("checkout", "storefront"):
        act.check(f"Temporal: no canary of {service} was ever begun", ok=service not in begun)
        none = counts[pool_name(service, "1.2.0")].completed == 0
        act.check(f"Envoy: no request ever reached {service} 1.2.0", ok=none)
    await _check_as_before(stack, act, before)
    await _say_bad(stack, act, "payments", "1.2.0")
    await _say_users(stack, act)
    await _take_down(stack, versions)
    return act


async def alerted(stack: Stack, theatre: Theatre) -> Act:
    """Act 3: half of a release holds when an alert fires; all of it goes back, in reverse."""
    act = Act(ALERTED)
    names = ("inventory", "ledger", "cart", "payments", "checkout", "storefront")
    versions = dict.fromkeys(names, "1.3.0")
    before = {name: await evidence.clusters_routed(stack, name) for name in versions}
    await _put_up(stack, versions, {})
    saboteur = _Saboteur(stack, "ledger", "1.3.0", enough=len(versions) // 2)
    await theatre.watch("shop-3", versions, saboteur.look)
    status = await evidence.status(theatre.temporal, "shop-3")
    _check_cause(act, status, CauseKind.ALERT, "ledger")
    touched = await evidence.canaries(theatre.temporal, "shop-3")
    holding = len(saboteur.holding)
    act.check(f"{holding} of {len(versions)} services held when the fault began", ok=holding > 0)
    wrong = evidence.out_of_order(touched, DEPENDENCIES)
    said = f" (but {', '.join(wrong)})" if wrong else ""
    act.check(f"Temporal: {len(touched)} canaries went back in reverse order{said}", ok=not wrong)
    await _check_as_before(stack, act, before)
    await saboteur.say_times(act, touched.get("ledger"))
    await _say_bad(stack, act, "ledger", "1.3.0")
    await _say_users(stack, act)
    await _take_down(stack, versions)
    return act


class _Saboteur:
    """Breaks a version once enough of the release holds, and sees when the alert is there."""

    def __init__(self, stack: Stack, service: str, version: str, *, enough: int) -> None:
        self.holding: list[str] = []
        self._stack = stack
        self._target = (service, version)
        self._enough = enough
        self._fault_at: float | None = None
        self._alert: asyncio.Task[float | None] | None = None

    async def look(self, status: ReleaseStatus) -> None:
        """Break it if it is time."""
        holding = [s.service for s in status.services if s.phase is CanaryPhase.HOLDING]
        if self._fault_at is not None or len(holding) < self._enough:
            return
        self.holding = holding
        self._fault_at = 1000 * await self._stack.set_fault(*self._target, ALERTED_FAULT)
        self._alert = asyncio.create_task(self._await_alert())

    async def say_times(self, act: Act, canary: evidence.Canary | None) -> None:
        """Fault to alert, alert to signal, signal to the last request on the bad version."""
        alert = await self._alert if self._alert is not None else None
        signal = canary.signals.get(SIGNAL_ALERT) if canary is not None else None
        last = (await _seen(self._stack, *self._target)).get("last_started")
        act.check("Alertmanager had the alert", ok=alert is not None)
        act.check("Temporal: the canary was signalled", ok=signal is not None)
        if self._fault_at is None or alert is None or signal is None or last is None:
            return
        act.facts["fault → alert"] = f"{alert - self._fault_at:.0f} ms"
        act.facts["alert → signal"] = f"{signal - alert:.0f} ms"
        act.facts["signal → traffic restored"] = f"{max(0.0, last - signal):.0f} ms"

    async def _await_alert(self) -> float | None:
        deadline = time.monotonic() + _ALERT_WITHIN_S
        while time.monotonic() < deadline:
            received = await evidence.alert_received(self._stack, *self._target)
            if received is not None:
                return received
            await asyncio.sleep(0.1)
        return None


async def _put_up(stack: Stack, versions: Mapping[str, str], faults: Mapping[str, Fault]) -> None:
    """What a pipeline does before it says that versions are there."""
    await stack.reset_load()
    for service, version in versions.items():
        await stack.deploy(service, version, faults.get(service))


async def _take_down(stack: Stack, versions: Mapping[str, str]) -> None:
    for service, version in versions.items():
        await stack.retire(service, version)


def _check_cause(act: Act, status: ReleaseStatus, kind: CauseKind, service: str) -> None:
    back = status.phase is ReleasePhase.ROLLED_BACK
    act.check("Temporal: the release is rolled back", ok=back)
    cause = status.cause
    ok = cause is not None and (cause.kind, cause.service) == (kind, service)
    act.check(f"Temporal: because of {service}, by {kind.value}", ok=ok)
    if cause is not None:
        act.facts["cause"] = cause.text


async def _check_as_before(stack: Stack, act: Act, before: Mapping[str, Mapping[str, int]]) -> None:
    for service, routed in before.items():
        now = await evidence.clusters_routed(stack, service)
        act.check(f"Envoy: {service} is served as before", ok=bool(now) and now == routed)


async def _seen(stack: Stack, service: str, version: str) -> dict[str, float]:
    versions: dict[str, dict[str, float]] = (await stack.load())["versions"]
    return versions.get(f"{service}/{version}", {})


async def _say_bad(stack: Stack, act: Act, service: str, version: str) -> None:
    count = (await evidence.pool_counts(stack))[pool_name(service, version)]
    seen = await _seen(stack, service, version)
    act.facts[f"{service} {version}"] = (
        f"{count.completed} requests, {count.failed} failed (Envoy); "
        f"largest share {seen.get('largest_share', 0.0):.0f} %"
    )


async def _say_users(stack: Stack, act: Act) -> None:
    users = (await stack.load())["users"]
    act.facts["users' requests"] = (
        f"{users['sent']} sent, {users['failed']} failed, {users['degraded']} degraded"
    )


ACTS: Final[Mapping[str, Play]] = {HEALTHY: healthy, JUDGED: judged, ALERTED: alerted}
