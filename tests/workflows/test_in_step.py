"""Services that need each other move in step, hold together, and go back together."""

from __future__ import annotations

from functools import partial

import pytest

from schemas.event_kinds import EventType
from schemas.ids import SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK, SIGNAL_SKIP
from schemas.release import CanaryPhase, CauseKind, Command, ReleasePhase
from schemas.verdict import VerdictKind
from tests.workflows.kit import Release, World, eventually
from tests.workflows.test_resets import reset

TRAIN = {"order": [], "seat": ["travel", "order"], "travel": ["seat"], "web": ["seat"]}
PAIR = {"seat": ["travel"], "travel": ["seat"]}
ANN = Command(by="ann")


def when(world: World, service: str, weight: float) -> int:
    """How many routes were written before this one."""
    name = world.service(service)
    return next(
        at
        for at, route in enumerate(world.router.applied)
        if (route.service, route.weight) == (name, weight)
    )


async def waits_in_step(release: Release, step: int, **others: str) -> None:
    """Wait until seat has ended a step, and the others are where they are said to be."""
    seat = release.world.service("seat")

    async def there() -> bool:
        status, now = await release.status(), await release.phases()
        one = next(one for one in status.services if one.service == seat)
        assert len(one.group) == 2, "the status names those that move in step"
        waits = one.phase is CanaryPhase.IN_STEP and f"to have ended step {step}" in one.waits_for
        return waits and all(now[service] == phase for service, phase in others.items())

    await eventually(there)


async def test_a_cycle_goes_out_in_step_between_what_it_needs_and_what_needs_it(
    world: World,
) -> None:
    world.judge.blocked |= {(world.service("travel"), 10), (world.service("travel"), 50)}
    release = await world.release(TRAIN)
    await waits_in_step(release, 1, order="holding", travel="baking", web="waiting")
    assert world.router.weights(world.service("seat")) == [10], "no further than one step"
    world.judge.blocked.discard((world.service("travel"), 10))
    await eventually(lambda: world.router.weights(world.service("seat")) == [10, 50])
    await waits_in_step(release, 2, travel="baking")
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED

    for step, before in ((50, 10), (100, 50)):
        for one, other in (("seat", "travel"), ("travel", "seat")):
            assert when(world, one, step) > when(world, other, before)
    for one in ("seat", "travel"):
        assert when(world, "order", 100) < when(world, one, 10)
        assert when(world, one, 100) < when(world, "web", 10)


async def test_one_that_fails_takes_its_whole_group_back(world: World) -> None:
    world.judge.blocked.add((world.service("seat"), 50))
    world.judge.says[(world.service("travel"), 50)] = VerdictKind.FAIL
    release = await world.release(TRAIN)
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert world.short([done.cause.service or ""]) == ["travel"]
    assert await release.phases() == {
        "order": "rolled_back",
        "seat": "rolled_back",
        "travel": "rolled_back",
        "web": "skipped",
    }
    back = world.short(world.router.last_back())
    assert set(back[:2]) == {"seat", "travel"}, "before what they need"


@pytest.mark.parametrize("alerted", ["seat", "travel"])
async def test_an_alert_in_step_takes_both_back(world: World, alerted: str) -> None:
    world.judge.blocked.add((world.service("travel"), 10))
    release = await world.release(PAIR)
    await waits_in_step(release, 1, travel="baking")
    await release.alert(alerted)
    done = await release.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ALERT
    assert {one.phase for one in done.services} == {CanaryPhase.ROLLED_BACK}


async def test_one_that_turns_bad_while_it_waits_goes_back(world: World) -> None:
    world.judge.blocked.add((world.service("travel"), 10))
    release = await world.release(PAIR)
    await waits_in_step(release, 1, travel="baking")
    world.judge.failing.add(world.service("seat"))
    done = await release.result()
    assert done.cause is not None
    assert done.cause.kind is CauseKind.VERDICT
    assert {one.phase for one in done.services} == {CanaryPhase.ROLLED_BACK}


async def test_an_alert_while_a_group_holds_takes_its_dependents_back_first(world: World) -> None:
    release = await world.release(TRAIN, strategy={"steps": [50], "soak": "1h"})
    await release.until(**dict.fromkeys(TRAIN, "holding"))
    await release.alert("travel")
    await release.result()
    back = world.short(world.router.last_back())
    assert (back[0], set(back[1:3]), back[3]) == ("web", {"seat", "travel"}, "order")


async def test_commands_reach_a_canary_that_waits_in_step(world: World) -> None:
    world.judge.blocked.add((world.service("travel"), 10))
    release = await world.release(PAIR)
    await waits_in_step(release, 1, travel="baking")
    seat = Command(by="ann", service=world.service("seat"))
    await release.handle.execute_update(SIGNAL_PAUSE, seat)
    await eventually(partial(release.is_paused, "seat"))
    travel = Command(by="ann", service=world.service("travel"))
    await release.handle.execute_update(SIGNAL_SKIP, travel)  # the bake that the other waits for
    await release.until(seat="in_step", travel="in_step")
    assert world.router.weights(world.service("travel")) == [10], "the pause keeps both"
    await release.handle.execute_update(SIGNAL_RESUME, seat)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_person_sends_a_waiting_group_back(world: World) -> None:
    world.judge.blocked.add((world.service("travel"), 10))
    release = await world.release(PAIR)
    await waits_in_step(release, 1, travel="baking")
    await release.handle.execute_update(SIGNAL_ROLLBACK, ANN)
    done = await release.result()
    assert {one.phase for one in done.services} == {CanaryPhase.ROLLED_BACK}


async def test_one_that_is_stable_already_is_not_waited_for(world: World) -> None:
    release = await world.release(PAIR, versions={"travel": "1"})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("seat")) == [10, 50, 100, 0]


async def test_strategies_of_other_lengths_meet_where_both_have_the_step(world: World) -> None:
    travel = world.service("travel")
    services = {
        world.service("seat"): {"depends_on": [travel], "strategy": "short"},
        travel: {"depends_on": [world.service("seat")]},
    }
    strategies = {
        "test": {"steps": [10, 50], "bake": "1m"},
        "short": {"steps": [20], "bake": "1m"},
    }
    world.judge.blocked |= {(travel, 10), (travel, 50)}
    release = await world.release(PAIR, services=services, strategies=strategies)
    await waits_in_step(release, 1, travel="baking")
    assert world.router.weights(world.service("seat")) == [20]
    world.judge.blocked.discard((travel, 10))
    await eventually(lambda: world.router.weights(world.service("seat")) == [20, 100])
    await waits_in_step(release, 2, travel="baking")
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


@pytest.mark.parametrize("heard", [True, False])
async def test_a_canary_that_was_reset_is_told_again_that_it_may_go_on(
    world: World, heard: bool
) -> None:
    world.judge.blocked.add((world.service("travel"), 50))
    release = await world.release(PAIR)
    await release.until(travel="baking")
    await eventually(lambda: world.router.weights(world.service("seat")) == [10, 50])
    await waits_in_step(release, 2)
    await reset(world.client, release.canary("seat"), 0, heard=heard)

    async def is_there_again() -> bool:  # it has come by the first point once more
        now = await release.canary_status("seat")
        return (now.phase, now.step) == (CanaryPhase.IN_STEP, 1)

    await eventually(is_there_again)
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_group_that_was_reset_waits_in_step_again(world: World) -> None:
    """What both were told before comes again with the reset, and is not what they wait for."""
    world.judge.blocked |= {(world.service("travel"), 50)}
    release = await world.release(PAIR)
    await release.until(travel="baking")
    await waits_in_step(release, 2)
    world.judge.blocked.add((world.service("travel"), 10))
    for one in ("travel", "seat"):
        await reset(world.client, release.canary(one), 0)
    await waits_in_step(release, 1, travel="baking")
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_canary_that_is_lost_while_its_group_waits_takes_all_back(world: World) -> None:
    world.judge.blocked.add((world.service("travel"), 10))
    release = await world.release(PAIR)
    await waits_in_step(release, 1, travel="baking")
    await release.canary("seat").terminate("by hand")
    done = await release.result()
    assert {one.phase for one in done.services} == {CanaryPhase.ROLLED_BACK}
    for one in PAIR:
        assert (await world.router.read(world.service(one))).canary is None


async def test_those_who_follow_the_events_hear_of_groups(world: World) -> None:
    release = await world.release(TRAIN)
    await release.result()
    started = next(one for one in world.log.events if one.type == EventType.RELEASE_STARTED)
    assert [world.short(group) for group in started.data["groups"]] == [["seat", "travel"]]
    assert [set(world.short(stage)) for stage in started.data["stages"]] == [
        {"order"},
        {"seat", "travel"},
        {"web"},
    ]
