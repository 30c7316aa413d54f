"""A release goes out in dependency order, and comes back in reverse."""

from __future__ import annotations

import pytest

from schemas.event_kinds import EventType
from schemas.release import CanaryPhase, CauseKind, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import QUICK, World

CHAIN = {"ledger": [], "payments": ["ledger"], "checkout": ["payments"]}


async def test_a_healthy_release_goes_out_in_dependency_order(world: World) -> None:
    release = await world.release(CHAIN)
    done = await release.result()

    assert done.phase is ReleasePhase.FINALIZED
    assert {one.phase for one in done.services} == {CanaryPhase.FINALIZED}
    order = [route.service for route in world.router.applied if route.weight == 100]
    assert world.short(order) == ["ledger", "payments", "checkout"]
    for service in CHAIN:
        name = world.service(service)
        assert world.router.weights(name) == [10, 50, 100, 0]
        route = await world.router.read(name)
        assert (route.stable, route.canary) == ("2", None)


async def test_no_service_begins_before_its_dependencies_hold(world: World) -> None:
    world.judge.blocked.add((world.service("payments"), 10))
    release = await world.release(CHAIN)
    status = await release.until(ledger="holding", payments="baking")
    assert (await release.phases())["checkout"] == "waiting"
    assert world.short([status.services[2].waits_for.split()[0]]) == ["payments"]
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_independent_services_move_together_up_to_the_cap(world: World) -> None:
    graph: dict[str, list[str]] = {name: [] for name in ("a", "b", "c")}
    world.judge.blocked |= {(world.service(name), 10) for name in graph}
    release = await world.release(graph, max_parallel=2)
    await release.until(a="baking", b="baking")
    assert (await release.phases())["c"] == "waiting"
    world.judge.blocked.discard((world.service("a"), 10))
    await release.until(a="holding", c="baking")
    world.judge.blocked.clear()
    await release.result()


async def test_a_bad_version_goes_back_and_its_dependents_are_never_touched(world: World) -> None:
    world.judge.says[(world.service("payments"), 50)] = VerdictKind.FAIL
    release = await world.release(CHAIN)
    done = await release.result()

    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.VERDICT
    assert world.short([done.cause.service or ""]) == ["payments"]
    assert world.router.weights(world.service("checkout")) == []
    assert await release.phases() == {
        "ledger": "rolled_back",
        "payments": "rolled_back",
        "checkout": "skipped",
    }
    for service in CHAIN:
        assert (await world.router.read(world.service(service))).canary is None


async def test_an_alert_takes_a_holding_release_back_in_reverse_order(world: World) -> None:
    release = await world.release(CHAIN, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding", payments="holding", checkout="holding")
    await release.alert("ledger")
    done = await release.result()

    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ALERT
    assert done.cause.alert is not None
    assert world.short(world.router.last_back()) == ["checkout", "payments", "ledger"]


async def test_a_holding_canary_is_judged_on(world: World) -> None:
    release = await world.release(CHAIN, strategy={"steps": [50], "soak": "1h"})
    await release.until(ledger="holding", payments="holding", checkout="holding")
    world.judge.failing.add(world.service("payments"))
    done = await release.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.VERDICT
    assert world.short(world.router.last_back())[-1] == "ledger"


async def test_evidence_is_carried_from_step_to_step(world: World) -> None:
    release = await world.release({"a": []})
    await release.result()
    assert [request.evidence for request in world.judge.requests] == [
        None,
        {"steps": 1},
        {"steps": 2},
    ]


async def test_a_service_that_has_the_version_already_is_left_alone(world: World) -> None:
    await (await world.release({"a": []})).result()
    before = list(world.router.applied)
    done = await (await world.release({"a": []})).result()
    assert done.phase is ReleasePhase.FINALIZED
    assert world.router.applied == before


async def test_a_version_has_its_share_in_every_word_about_it(world: World) -> None:
    """It has all requests when it is finalized, and when it was stable before it began."""
    for _ in range(2):
        first = len(world.log.events)
        done = await (await world.release({"a": []})).result()
        assert [one.weight for one in done.services] == [100]
        told = [one for one in world.log.events[first:] if "phase" in one.data]
        shares = [(one.data["phase"], one.data["weight"]) for one in told]
        assert {share for phase, share in shares if phase in {"holding", "finalized"}} == {100}
    assert EventType.CANARY_SHIFTED not in {one.type for one in told}


async def test_events_tell_the_whole_release_under_growing_ids(world: World) -> None:
    release = await world.release({"a": []})
    await release.result()
    ids = [event.id for event in world.log.events]
    assert ids == [f"{release.handle.id}/{n}" for n in range(len(ids))]
    assert [event.type for event in world.log.events] == [
        EventType.RELEASE_STARTED,
        EventType.CANARY_CHANGED,
        EventType.CANARY_SHIFTED,
        EventType.CANARY_BAKING,
        EventType.CANARY_SHIFTED,
        EventType.CANARY_JUDGED,
        EventType.CANARY_BAKING,
        EventType.CANARY_SHIFTED,
        EventType.CANARY_JUDGED,
        EventType.CANARY_HOLDING,
        EventType.RELEASE_SOAKING,
        EventType.RELEASE_FINALIZING,
        EventType.DECISION_MADE,
        EventType.CANARY_CHANGED,
        EventType.CANARY_FINALIZED,
        EventType.RELEASE_FINALIZED,
    ]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_report_is_written_at_the_end_where_one_is_wanted(
    world: World, *, wanted: bool
) -> None:
    tuning = QUICK.model_copy(update={"report": wanted})
    release = await world.release({"ledger": []}, tuning=tuning)
    status = await release.result()
    assert world.reports.written == ([status.release] if wanted else [])
    assert status.services[0].stable == "0", "to go back, a person must know what was before"
