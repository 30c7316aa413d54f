"""Somebody else changes a route while a canary has it: it pauses, and a rollback overrules that."""

from __future__ import annotations

import pytest

from aviary.history.fetch import fetch_timeline
from schemas.decisions import Did, Heard
from schemas.event_kinds import MomentKind, NoticeKind
from schemas.ids import SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import CanaryOutcome, CanaryPhase, Command, ReleasePhase
from schemas.route import Route
from tests.workflows.kit import Release, World, eventually

STEPS = {"steps": [10, 50], "bake": "1m", "soak": "0s"}


async def _changed_at_10(world: World) -> Release:
    """A person gives the canary 90 % while it bakes at 10."""
    name = world.service("ledger")
    world.judge.blocked.add((name, 10))
    release = await world.release({"ledger": []}, strategy=STEPS)
    await release.until(ledger="baking")
    held = await world.router.read(name)
    world.router.change(Route.split(name, held.stable, held.canary, 90, generation=1))
    world.judge.blocked.clear()
    await release.until(ledger="paused")
    return release


async def test_it_pauses_and_says_what_was_changed(world: World) -> None:
    release = await _changed_at_10(world)

    status = await release.canary_status("ledger")
    assert status.phase is CanaryPhase.PAUSED
    assert "somebody else changed its route: found 0 10 %, 2 90 %" in status.waits_for
    assert "going on writes over that" in status.waits_for
    assert world.router.weights(world.service("ledger")) == [10]
    await eventually(
        lambda: any(
            one.kind is NoticeKind.WAITING and "changed its route" in one.text
            for one in world.notifier.notices
        )
    )
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


async def test_a_person_lets_it_write_over_that(world: World) -> None:
    release = await _changed_at_10(world)
    await release.canary("ledger").execute_update(SIGNAL_RESUME, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("ledger")) == [10, 50, 100, 0]


@pytest.mark.parametrize("by_alert", [True, False])
async def test_a_rollback_overrules_it(world: World, by_alert: bool) -> None:
    release = await _changed_at_10(world)
    if by_alert:
        await release.alert("ledger")
    else:
        await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    back = await world.router.read(world.service("ledger"))
    assert (back.stable, back.canary, back.owner) == ("0", None, release.handle.id.split("/")[1])


async def test_becoming_stable_writes_over_it_and_says_so(world: World) -> None:
    """Past the point of no return nobody is asked; what was done is recorded and told."""
    name, later = world.service("ledger"), world.service("payments")
    world.judge.blocked.add((later, 10))
    release = await world.release({"ledger": [], "payments": ["ledger"]}, strategy=STEPS)
    await release.until(ledger="holding", payments="baking")
    held = await world.router.read(name)
    changed = Route.split(name, held.stable, held.canary, 90, generation=held.generation)
    world.router.change(changed)
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED

    now = await world.router.read(name)
    assert (now.stable, now.canary) == ("2", None)
    canary = world.client.get_workflow_handle(
        release.canary("ledger").id, result_type=CanaryOutcome
    )
    recorded = [one for one in (await canary.result()).decisions if one.did is Did.OVERRULED]
    assert [one.heard for one in recorded] == [Heard.FOREIGN_CHANGE]
    assert "found 0 10 %, 2 90 %" in recorded[0].text
    found = await fetch_timeline(world.client, release.handle.id.removeprefix("release/"))
    (told,) = (one for one in found.moments if one.kind is MomentKind.CHANGED)
    assert "written over, past the point of no return" in told.text


# --- while it is judged ---


async def _changed_while_it_bakes(world: World) -> Release:
    """The judge finds that the share is somebody else's."""
    name = world.service("ledger")
    world.judge.foreign.add((name, 10))
    release = await world.release({"ledger": []}, strategy=STEPS)
    await release.until(ledger="paused")
    return release


async def test_a_bake_pauses_and_is_judged_on_without_its_share(world: World) -> None:
    release = await _changed_while_it_bakes(world)
    status = await release.canary_status("ledger")
    assert "somebody else changed its route; going on writes over that" in status.waits_for
    assert status.verdict is None, "of no version"
    await eventually(lambda: [one.overruled for one in world.judge.requests] == [False, True])
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


async def test_when_it_goes_on_the_weight_is_written_again_and_baked_anew(world: World) -> None:
    release = await _changed_while_it_bakes(world)
    world.judge.foreign.clear()
    await release.canary("ledger").execute_update(SIGNAL_RESUME, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("ledger")) == [10, 10, 50, 100, 0]
    baked = [one.weight for one in world.judge.requests if one.bake is not None]
    assert baked == [10, 10, 50]


async def test_a_person_pauses_and_somebody_else_changes_the_route(world: World) -> None:
    """One resume is for both: who has read what it waits for has read of both."""
    name = world.service("ledger")
    world.judge.blocked.add((name, 10))
    release = await world.release({"ledger": []}, strategy=STEPS)
    await release.until(ledger="baking")
    await release.canary("ledger").execute_update(SIGNAL_PAUSE, Command(by="ann"))
    world.judge.foreign.add((name, 10))
    world.judge.blocked.clear()
    await release.until(ledger="paused")
    world.judge.foreign.clear()
    await release.canary("ledger").execute_update(SIGNAL_RESUME, Command(by="ann"))
    assert (await release.result()).phase is ReleasePhase.FINALIZED
