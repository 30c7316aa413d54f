"""The largest of everything at once: nothing from outside stands before a rollback."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from activities.judge import JudgeRequest, JudgeResult
from adapters.errors import AdapterError, Retryable, Terminal
from aviary.attributes import ensure_attributes
from schemas.alert import Alert, AlertStatus
from schemas.fitting import size_of
from schemas.ids import SIGNAL_ALERT, SIGNAL_ALERTS, SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import ReleasePhase
from schemas.route import Confirmation, Route
from schemas.verdict import Counts, MetricEvidence, VerdictKind
from tests.workflows.kit import QUICK, RecordingRouter, Release, ScriptedJudge, World, eventually
from workflows.outbox import EVENT_BYTES

NAME = "x" * 900_000
WITHIN_S = 30
LEDGER, PAYMENTS = "ledger" * 7, "payments" * 5
EVIDENCE = tuple(
    MetricEvidence(
        name=f"metric-{number}",
        canary=Counts(bad=1, total=2, rate=0.5),
        stable=Counts(bad=1, total=2, rate=0.5),
        e_value=1,
        threshold=20,
        upper_bound=None,
        tolerance=None,
        intervals=1,
        since=None,
        until=None,
        note="n" * 1_500,
    )
    for number in range(500)
)


class LoudJudge(ScriptedJudge):
    """Says as much as the result of an activity may hold."""

    def _result(
        self, request: JudgeRequest, kind: VerdictKind, *, final: bool = True
    ) -> JudgeResult:
        result = super()._result(request, kind, final=final)
        said = {"sentence": "s" * 500_000, "metrics": EVIDENCE}
        return result.model_copy(update={"verdict": result.verdict.model_copy(update=said)})


class LoudRouter(RecordingRouter):
    """Fails every first attempt with pages of text."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: set[Route] = set()

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        if route not in self._failed:
            self._failed.add(route)
            raise Retryable("<html>" + "e" * 1_000_000)
        return await super().apply(route, over)


def alert(name: str, labels: int = 0, length: int = 0, **more: str) -> Alert:
    return Alert(
        status=AlertStatus.FIRING,
        fingerprint=uuid4().hex * 30,
        labels={"alertname": name, **more, **{f"l{n}": "v" * length for n in range(labels)}},
        annotations={"summary": "s" * length},
        starts_at=datetime.now(UTC),
    )


async def at_its_largest(world: World) -> Release:
    world.judge = LoudJudge(world.client)
    world.router = LoudRouter()
    world.judge.says[world.service(PAYMENTS), 10] = VerdictKind.INCONCLUSIVE
    await ensure_attributes(world.client)
    world.tuning = QUICK.model_copy(update={"search_attributes": True})
    return await world.release(
        {LEDGER: [], PAYMENTS: [LEDGER]},
        name=f"{uuid4().hex}-" + "r" * 90,
        strategy={"steps": [10, 50], "bake": "1m"},
        version="v" * 128,
        labels={f"{n:03}" + "l" * 197: "t" * 2_000 for n in range(100)},
        environment="e" * 5_000,
    )


async def flood(release: Release) -> None:
    """Commands and alerts, of which none takes the release back yet."""
    pages = {"by": "p" * 90_000, "reason": "r" * 90_000}
    for _ in range(5):
        await release.handle.signal(SIGNAL_PAUSE, pages)
        await release.handle.signal(SIGNAL_RESUME, pages)
    await release.handle.signal(SIGNAL_PAUSE, "junk" * 100_000)
    await release.handle.signal(SIGNAL_RESUME, [["junk"] * 100_000])
    for _ in range(5):
        await release.canary(PAYMENTS).signal(
            SIGNAL_ALERTS, [alert("warns", 20, 300, severity="warning") for _ in range(60)]
        )


@pytest.mark.parametrize("failure", [None, Terminal("too large"), Retryable("Kafka is away")])
async def test_the_largest_of_everything_goes_back_in_seconds(
    world: World, failure: AdapterError | None
) -> None:
    world = World(world.client)
    release = await at_its_largest(world)
    async with world.working():
        await release.until(**{LEDGER: "holding", PAYMENTS: "gated"})
        world.log.failure = world.notifier.failure = failure
        await flood(release)
        await release.canary(PAYMENTS).signal(
            SIGNAL_ALERT, alert(NAME, severity="critical", service=world.service(PAYMENTS))
        )
        async with asyncio.timeout(WITHIN_S):
            await eventually(lambda: len(world.router.last_back()) == 2)
        assert world.short(world.router.last_back()) == [PAYMENTS, LEDGER]
        world.log.failure = world.notifier.failure = None
        done = await release.result()
        assert done.phase is ReleasePhase.ROLLED_BACK
        assert done.cause is not None
        assert done.cause.text.startswith("alert xxx")
        assert "900000 characters" in done.cause.text or "sha256" in done.cause.text
    assert size_of(done) < 200_000
    published = {one.type.split(".")[-2] for one in world.log.events}
    if not isinstance(failure, Terminal):
        assert {"rollingback", "rolledback", "paused", "resumed"} <= published
    assert all(size_of(one.data) <= EVENT_BYTES for one in world.log.events)


async def test_a_rollback_by_hand_with_pages_of_reason(world: World) -> None:
    world = World(world.client)
    release = await at_its_largest(world)
    async with world.working():
        await release.until(**{LEDGER: "holding", PAYMENTS: "gated"})
        await release.handle.signal(SIGNAL_ROLLBACK, {"by": "b" * 900_000, "reason": "r" * 900_000})
        done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert world.short(world.router.last_back()) == [PAYMENTS, LEDGER]
