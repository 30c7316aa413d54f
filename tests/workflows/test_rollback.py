"""A rollback is never given up, whoever presses what meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from adapters.errors import Retryable, StaleGeneration, Terminal
from adapters.routers.memory.router import Fault
from schemas.event_kinds import NoticeKind
from schemas.ids import (
    SIGNAL_ALERT,
    SIGNAL_FINALIZE,
    SIGNAL_ORDER_ROLLBACK,
    SIGNAL_REPORT,
    SIGNAL_ROLLBACK,
)
from schemas.release import CauseKind, ReleasePhase, Tuning
from schemas.route import Route
from tests.workflows.kit import World, eventually

CHAIN = {"ledger": [], "payments": ["ledger"]}
HOLD = {"steps": [50], "soak": "1h"}
_CANARY_BEGUN = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
AWAY = Fault(Retryable("the router is away"), effect=False)


async def _all_back(world: World) -> None:
    for service in CHAIN:
        route = await world.router.read(world.service(service))
        assert (route.stable, route.canary, route.weight) == ("0", None, 0)


async def test_cancel_pressed_again_during_the_rollback_does_not_cut_it_short(
    world: World,
) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    world.router.inject(AWAY, times=4)
    await release.handle.cancel()
    await release.until(payments="rolling_back")
    await release.handle.cancel()
    await release.canary("payments").cancel()
    await release.canary("ledger").cancel()
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.CANCELLED
    await _all_back(world)
    # Had it been cut short, the release would have mended that by a second run of the canary.
    history = await release.handle.fetch_history()
    begun = [event for event in history.events if event.event_type == _CANARY_BEGUN]
    assert len(begun) == len(CHAIN)


async def test_a_rollback_that_keeps_failing_is_stuck_and_ends_by_itself(world: World) -> None:
    tuning = Tuning(stuck_after=timedelta(seconds=1), retry_cap=timedelta(milliseconds=200))
    release = await world.release(CHAIN, strategy=HOLD, tuning=tuning)
    await release.until(ledger="holding", payments="holding")
    world.router.inject(AWAY, times=15)
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.until(payments="stuck", ledger="holding")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert NoticeKind.STUCK in {notice.kind for notice in world.notifier.notices}
    await _all_back(world)


async def test_a_rollback_is_not_done_while_requests_start_on_the_canary(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    strays = True
    counts = {"0": 0, "2": 0}

    async def requests(service: str) -> Mapping[str, int]:
        counts["0"] += 10
        counts["2"] += strays
        return dict(counts)

    monkeypatch.setattr(world.router, "requests", requests)
    quick = timedelta(milliseconds=50)
    release = await world.release(
        {"ledger": []}, strategy=HOLD, tuning=Tuning(see_quiet=quick, see_within=2 * quick)
    )
    await release.until(ledger="holding")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.until(ledger="stuck")
    strays = False
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    backs = [route for route in world.router.applied if route.canary is None]
    assert len(backs) > 1, "the router that disobeyed was not told again"


@pytest.mark.parametrize("error", [Terminal("rejected"), StaleGeneration("someone was faster")])
async def test_a_refused_rollback_reads_the_route_anew_and_tries_again(
    world: World, error: Exception
) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    world.router.inject(Fault(error, effect=False))  # type: ignore[arg-type]
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    await _all_back(world)


async def test_a_write_whose_answer_was_lost_is_undone(world: World) -> None:
    world.router.inject(Fault(Terminal("broken, but done"), effect=True))
    release = await world.release(CHAIN)
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ERROR
    assert "broken, but done" in done.cause.text
    await _all_back(world)


async def test_a_late_attempt_of_a_weight_is_refused_after_the_rollback(world: World) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    zombie = world.router.applied[0]
    assert zombie.weight == 50
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
    with pytest.raises(StaleGeneration):
        await world.router.apply(zombie)
    await _all_back(world)


async def test_what_another_owner_did_to_the_route_is_not_undone(world: World) -> None:
    release = await world.release({"ledger": []}, strategy=HOLD)
    await release.until(ledger="holding")
    name = world.service("ledger")
    held = await world.router.read(name)
    by_hand = Route.split(service=name, stable="9", generation=held.generation + 5, owner="by-hand")
    await world.router.apply(by_hand)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert await world.router.read(name) == by_hand


async def test_a_terminated_canary_is_cleaned_up_by_its_release(world: World) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    await release.canary("ledger").terminate("pressed by mistake")
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert world.short(world.router.last_back()) == ["payments", "ledger"]
    await _all_back(world)


async def test_canaries_of_a_terminated_release_take_themselves_back(world: World) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    await release.handle.terminate("pressed by mistake")
    for service in CHAIN:
        await release.canary(service).result()
    await _all_back(world)


async def test_a_cancelled_canary_takes_the_release_back(world: World) -> None:
    release = await world.release(CHAIN, strategy=HOLD)
    await release.until(ledger="holding", payments="holding")
    await release.canary("ledger").cancel()
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert world.short(world.router.last_back()) == ["payments", "ledger"]


@pytest.mark.parametrize(
    "arguments", [[], [None], ["because"], [17], [{"by": 5}], ["one", "two", "three"]]
)
async def test_a_rollback_signal_with_any_payload_rolls_back(
    world: World, arguments: list[object]
) -> None:
    release = await world.release({"ledger": []}, strategy=HOLD)
    await release.until(ledger="holding")
    await release.canary("ledger").signal(SIGNAL_ROLLBACK, args=arguments)
    done = await release.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.COMMAND


@pytest.mark.parametrize("arguments", [[], [17], ["a", "b"], [{"no": "such"}]])
async def test_a_malformed_message_never_wedges_a_run(
    world: World, arguments: list[object]
) -> None:
    release = await world.release({"ledger": []}, strategy=HOLD)
    await release.until(ledger="holding")
    await release.canary("ledger").signal(SIGNAL_ALERT, args=arguments)
    await release.canary("ledger").signal("no-such-signal", args=arguments)
    await release.handle.signal(SIGNAL_REPORT, args=arguments)
    assert (await release.status()).phase is ReleasePhase.SOAKING
    await release.canary("ledger").signal(SIGNAL_ORDER_ROLLBACK, args=arguments)
    await eventually(lambda: world.router.last_back() == [world.service("ledger")])
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_finalize_before_its_time_does_not_finalize(world: World) -> None:
    world.judge.blocked.add((world.service("ledger"), 50))
    release = await world.release({"ledger": []})
    await release.until(ledger="baking")
    await release.canary("ledger").signal(SIGNAL_FINALIZE)
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
