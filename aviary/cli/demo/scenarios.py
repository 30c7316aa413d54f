"""The three scenarios of the demo: each runs, then checks itself against router and Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.routers.envoy.names import pool_name
from aviary.cli.demo.viewer import ReleaseViewer
from aviary.local import evidence
from aviary.local.fronts.front import PoolCount
from aviary.local.shop import DEPENDENCIES, Fault
from aviary.local.stack import Stack
from schemas.ids import SIGNAL_ALERT
from schemas.release import CanaryPhase, CauseKind, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind

JUDGED_FAULT: Final = Fault(error_rate=0.2, latency_ms=20)
"""Bad enough for the judge, too little for the alert."""
ALERTED_FAULT: Final = Fault(error_rate=0.9)
HEALTHY: Final = "Scenario 1: five dependent services go out and are finalized"
JUDGED: Final = (
    "Scenario 2: a version with more errors goes back; what depends on it is never touched"
)
ALERTED: Final = "Scenario 3: half of a release holds when an alert fires; all of it goes back"
_ALERT_WITHIN_S: Final = 15.0


@dataclass
class ScenarioResult:
    """What a scenario found out."""

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


Scenario = Callable[[Stack, ReleaseViewer], Awaitable[ScenarioResult]]


async def healthy(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
    """Scenario 1: five dependent services go out and are finalized."""
    result = ScenarioResult(HEALTHY)
    versions = dict.fromkeys(("inventory", "ledger", "cart", "payments", "checkout"), "1.1.0")
    await stack.reset_load()
    await viewer.watch("shop-1", versions)
    status = await evidence.status(viewer.temporal, "shop-1")
    result.check("Temporal: the release is finalized", ok=status.phase is ReleasePhase.FINALIZED)
    for service, version in versions.items():
        routed = await evidence.clusters_routed(stack, service)
        ok = evidence.serves_only(routed, service, version)
        result.check(f"{stack.front.title}: {service} is served by {version} alone", ok=ok)
    await _clear(stack, result, dict.fromkeys(versions, "1.0.0"))
    failed = await _say_users(stack, result)
    result.check("no user's request failed while versions went up and down", ok=not failed)
    return result


async def judged(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
    """Scenario 2: one version has more errors; nobody who depends on it is touched."""
    result = ScenarioResult(JUDGED)
    versions = dict.fromkeys(("ledger", "payments", "checkout", "storefront"), "1.2.0")
    before = {name: await evidence.clusters_routed(stack, name) for name in versions}
    await stack.reset_load()
    bad = _Bad(stack, "payments", "1.2.0")
    await viewer.watch("shop-2", versions, bad.look, {"payments": JUDGED_FAULT})
    status = await evidence.status(viewer.temporal, "shop-2")
    _check_cause(result, status, CauseKind.VERDICT, "payments")
    verdict = status.cause.verdict if status.cause else None
    fails = verdict is not None and verdict.kind is VerdictKind.FAIL
    result.check("Temporal: the verdict on payments 1.2.0 is FAIL", ok=fails)
    begun = await evidence.canaries(viewer.temporal, "shop-2")
    counts = await evidence.pool_counts(stack)
    for service in ("checkout", "storefront"):
        result.check(f"Temporal: no canary of {service} was ever begun", ok=service not in begun)
        none = counts[pool_name(service, "1.2.0")].completed == 0
        result.check(f"{stack.front.title}: no request ever reached {service} 1.2.0", ok=none)
    await _check_as_before(stack, result, before)
    await bad.say(result)
    await _clear(stack, result, versions)
    await _say_users(stack, result)
    return result


async def alerted(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
    """Scenario 3: half of a release holds when an alert fires; all of it goes back, in reverse."""
    result = ScenarioResult(ALERTED)
    names = ("inventory", "ledger", "cart", "payments", "checkout", "storefront")
    versions = dict.fromkeys(names, "1.3.0")
    before = {name: await evidence.clusters_routed(stack, name) for name in versions}
    await stack.reset_load()
    bad = _Bad(stack, "ledger", "1.3.0")
    saboteur = _Saboteur(stack, "ledger", "1.3.0", enough=len(versions) // 2)

    async def look(status: ReleaseStatus) -> None:
        await saboteur.look(status)
        await bad.look(status)

    await viewer.watch("shop-3", versions, look)
    status = await evidence.status(viewer.temporal, "shop-3")
    _check_cause(result, status, CauseKind.ALERT, "ledger")
    touched = await evidence.canaries(viewer.temporal, "shop-3")
    holding = len(saboteur.holding)
    result.check(f"{holding} of {len(versions)} services held when the fault began", ok=holding > 0)
    wrong = evidence.out_of_order(touched, DEPENDENCIES)
    said = f" (but {', '.join(wrong)})" if wrong else ""
    result.check(
        f"Temporal: {len(touched)} canaries went back in reverse order{said}", ok=not wrong
    )
    await _check_as_before(stack, result, before)
    await saboteur.say_times(result, touched.get("ledger"))
    await bad.say(result)
    await _clear(stack, result, versions)
    await _say_users(stack, result)
    return result


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

    async def say_times(self, result: ScenarioResult, canary: evidence.Canary | None) -> None:
        """Fault to alert, alert to signal, signal to the last request on the bad version."""
        alert = await self._alert if self._alert is not None else None
        signal = canary.signals.get(SIGNAL_ALERT) if canary is not None else None
        last = (await _seen(self._stack, *self._target)).get("last_started")
        result.check("Alertmanager had the alert", ok=alert is not None)
        result.check("Temporal: the canary was signalled", ok=signal is not None)
        if self._fault_at is None or alert is None or signal is None or last is None:
            return
        result.facts["fault → alert"] = f"{alert - self._fault_at:.0f} ms"
        result.facts["alert → signal"] = f"{signal - alert:.0f} ms"
        result.facts["signal → traffic restored"] = f"{max(0.0, last - signal):.0f} ms"

    async def _await_alert(self) -> float | None:
        deadline = time.monotonic() + _ALERT_WITHIN_S
        while time.monotonic() < deadline:
            received = await evidence.alert_received(self._stack, *self._target)
            if received is not None:
                return received
            await asyncio.sleep(0.1)
        return None


async def _clear(stack: Stack, result: ScenarioResult, versions: Mapping[str, str]) -> None:
    """What has lost goes: the pipeline sees to it, or whoever has put it up."""
    gone = await stack.clear(versions)
    if stack.deployer:
        lost = f"{', '.join(sorted(set(versions.values())))} of {', '.join(versions)}"
        result.check(f"{stack.deployer}: no instance of {lost} is left", ok=gone)


class _Bad:
    """Counts what a version that goes back had, for as long as the router knows it."""

    def __init__(self, stack: Stack, service: str, version: str) -> None:
        self._stack = stack
        self._service, self._version = service, version
        self._count = PoolCount(0, 0)

    async def look(self, _: ReleaseStatus) -> None:
        """Count again."""
        found = (await evidence.pool_counts(self._stack))[pool_name(self._service, self._version)]
        if found.completed > self._count.completed:
            self._count = found

    async def say(self, result: ScenarioResult) -> None:
        """Its requests, those that failed, and its largest share."""
        seen = await _seen(self._stack, self._service, self._version)
        result.facts[f"{self._service} {self._version}"] = (
            f"{self._count.completed} requests, {self._count.failed} failed "
            f"({self._stack.front.title}); largest share {seen.get('largest_share', 0.0):.0f} %"
        )


def _check_cause(
    result: ScenarioResult, status: ReleaseStatus, kind: CauseKind, service: str
) -> None:
    back = status.phase is ReleasePhase.ROLLED_BACK
    result.check("Temporal: the release is rolled back", ok=back)
    cause = status.cause
    ok = cause is not None and (cause.kind, cause.service) == (kind, service)
    result.check(f"Temporal: because of {service}, by {kind.value}", ok=ok)
    if cause is not None:
        result.facts["cause"] = cause.text


async def _check_as_before(
    stack: Stack, result: ScenarioResult, before: Mapping[str, Mapping[str, int]]
) -> None:
    for service, routed in before.items():
        now = await evidence.clusters_routed(stack, service)
        result.check(
            f"{stack.front.title}: {service} is served as before", ok=bool(now) and now == routed
        )


async def _seen(stack: Stack, service: str, version: str) -> dict[str, float]:
    versions: dict[str, dict[str, float]] = (await stack.load())["versions"]
    return versions.get(f"{service}/{version}", {})


async def _say_users(stack: Stack, result: ScenarioResult) -> int:
    """What users saw; returns how many of their requests failed."""
    users = (await stack.load())["users"]
    result.facts["users' requests"] = (
        f"{users['sent']} sent, {users['failed']} failed, {users['degraded']} degraded"
        f" ({users['unanswered']} for a part that did not answer in time)"
    )
    return int(users["failed"])


SCENARIOS: Final[Mapping[str, Scenario]] = {HEALTHY: healthy, JUDGED: judged, ALERTED: alerted}
