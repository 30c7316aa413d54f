"""A release can be followed from its events alone, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.event_data import DATA
from schemas.event_kinds import EventType
from schemas.ids import SIGNAL_APPROVE, SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK, SIGNAL_SKIP
from schemas.release import CauseKind, Command, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind
from tests.workflows.follower import KNOWN, Follower
from tests.workflows.kit import Release, World, eventually

CHAIN = {"ledger": [], "payments": ["ledger"], "checkout": ["payments"]}
HOLD = {"steps": [50], "soak": "1h"}
ANN = Command(by="ann", reason="a reason")


def followed(world: World, release: str) -> Follower:
    follower = Follower(release)
    for event in world.log.events:
        follower.read(event.wire())
    return follower


def as_told(follower: Follower) -> dict[str, Any]:
    services = {
        name: {field: value for field, value in one.items() if field != "paused"}
        for name, one in follower.services.items()
    }
    return {
        "phase": follower.phase,
        "paused": follower.paused,
        "cause": follower.cause,
        "services": services,
        "needs": follower.needs,
    }


def as_asked(status: ReleaseStatus) -> dict[str, Any]:
    document = status.model_dump(mode="json")
    services = {
        one["service"]: {field: one[field] for field in KNOWN if field != "paused"}
        for one in document["services"]
    }
    return {field: document[field] for field in ("phase", "paused", "cause")} | {
        "services": services,
        "needs": {one["service"]: one["depends_on"] for one in document["services"]},
    }


async def keeps_up(world: World, release: Release) -> None:
    """The follower knows what the release says of itself."""
    differs: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def same() -> bool:
        asked = await release.status()
        told = followed(world, asked.release)
        differs[:] = [(as_told(told), as_asked(asked))]
        return as_told(told) == as_asked(asked)

    try:
        await eventually(same, within=10)
    except TimeoutError:
        told, asked = differs[0]
        assert told == asked


async def ends_the_same(world: World, release: Release) -> Follower:
    done = await release.result()
    follower = followed(world, done.release)
    assert as_told(follower) == as_asked(done)
    for event in world.log.events:
        DATA[event.type].model_validate(event.data)
    return follower


async def test_a_healthy_release(world: World) -> None:
    release = await world.release(CHAIN)
    follower = await ends_the_same(world, release)
    assert follower.phase == "finalized"
    assert {one["weight"] for one in follower.services.values()} == {100}
    assert world.short([name for name, _ in follower.verdicts[::2]]) == list(CHAIN)


async def test_a_bad_version_and_services_that_never_began(world: World) -> None:
    world.judge.says[(world.service("payments"), 50)] = VerdictKind.FAIL
    release = await world.release(CHAIN)
    follower = await ends_the_same(world, release)
    assert follower.cause is not None
    assert follower.cause["kind"] == CauseKind.VERDICT
    assert (world.service("payments"), "FAIL") in follower.verdicts
    phases = world.short([name for name, one in follower.services.items() if not one["weight"]])
    assert sorted(phases) == sorted(CHAIN)
    assert follower.services[world.service("checkout")]["phase"] == "skipped"


async def test_an_alert_during_a_bake(world: World) -> None:
    world.judge.blocked.add((world.service("payments"), 10))
    release = await world.release(CHAIN)
    await release.until(ledger="holding", payments="baking")
    await keeps_up(world, release)
    await release.alert("payments")
    follower = await ends_the_same(world, release)
    assert follower.cause is not None
    assert follower.cause["kind"] == CauseKind.ALERT


async def test_an_alert_while_all_hold(world: World) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding", checkout="holding")
    await keeps_up(world, release)
    await release.alert("ledger")
    await ends_the_same(world, release)


async def test_a_gate(world: World) -> None:
    gate = {"steps": [{"weight": 10, "gate": "is the dashboard green?"}]}
    release = await world.release({"a": []}, strategy=gate)
    await release.until(a="gated")
    await keeps_up(world, release)
    await release.handle.execute_update(SIGNAL_APPROVE, ANN)
    await ends_the_same(world, release)


async def test_a_pause_of_the_release(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": [], "b": ["a"]})
    await release.until(a="baking")
    await release.handle.execute_update(SIGNAL_PAUSE, ANN)
    await keeps_up(world, release)
    await release.handle.execute_update(SIGNAL_SKIP, ANN)
    await release.until(a="paused")
    await keeps_up(world, release)
    await release.handle.execute_update(SIGNAL_RESUME, ANN)
    await keeps_up(world, release)
    await ends_the_same(world, release)


async def test_a_pause_of_one_canary(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    release = await world.release({"a": []})
    await release.until(a="baking")
    await release.canary("a").execute_update(SIGNAL_PAUSE, ANN)

    def told(*, paused: bool) -> bool:
        follower = followed(world, release.handle.id.removeprefix("release/"))
        return follower.services[world.service("a")]["paused"] is paused

    await eventually(lambda: told(paused=True))
    await release.canary("a").execute_update(SIGNAL_RESUME, ANN)
    await eventually(lambda: told(paused=False))
    await release.handle.execute_update(SIGNAL_SKIP, ANN)
    await ends_the_same(world, release)


async def test_a_rollback_that_is_stuck(world: World) -> None:
    release = await world.release({"a": [], "b": ["a"]}, strategy=HOLD)
    await release.until(a="holding", b="holding")
    world.router.broken.add(world.service("b"))
    await release.handle.signal(SIGNAL_ROLLBACK, ANN)
    await release.until(b="stuck")
    await keeps_up(world, release)
    world.router.broken.clear()
    follower = await ends_the_same(world, release)
    assert follower.cause is not None
    assert (follower.cause["kind"], follower.cause["by"]) == (CauseKind.COMMAND, "ann")


async def test_a_release_that_waits_for_another(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    first = await world.release({"a": []})
    await first.until(a="baking")
    second = await world.release({"a": [], "b": []}, version="3")

    async def queued() -> bool:
        return bool((await second.status()).waits_for)

    await eventually(queued)
    await keeps_up(world, second)
    world.judge.blocked.clear()
    await ends_the_same(world, first)
    await ends_the_same(world, second)


async def test_a_release_that_is_cancelled(world: World) -> None:
    world.judge.blocked.add((world.service("b"), 10))
    release = await world.release({"a": [], "b": ["a"], "c": ["b"]})
    await release.until(a="holding", b="baking")
    await release.handle.cancel()
    follower = await ends_the_same(world, release)
    assert follower.phase == ReleasePhase.ROLLED_BACK
    assert follower.cause is not None
    assert follower.cause["kind"] == CauseKind.CANCELLED


async def test_no_event_tells_what_was_told(world: World) -> None:
    release = await world.release(CHAIN)
    done = await release.result()
    told: list[Sequence[object]] = [
        (event.subject, event.data)
        for event in world.log.events
        if event.type == EventType.CANARY_CHANGED and event.partitionkey == done.release
    ]
    assert all(told.count(one) == 1 for one in told)
