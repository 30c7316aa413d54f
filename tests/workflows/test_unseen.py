"""Versions that no user sees yet: copies, previews, one switch of all; each goes back at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from schemas.ids import SIGNAL_APPROVE, SIGNAL_PAUSE, SIGNAL_ROLLBACK
from schemas.release import CauseKind, Command, ReleasePhase
from schemas.route import Mirror, Route
from schemas.verdict import VerdictKind
from tests.workflows.kit import Release, World, eventually

MIRROR: Final[Mapping[str, Any]] = {"steps": [{"mirror": 25, "bake": "1m"}, 50], "soak": "1h"}
SWITCH: Final[Mapping[str, Any]] = {
    "shape": "blue_green",
    "steps": [{"preview": True, "bake": "1m"}],
    "soak": "1h",
}
GATED: Final[Mapping[str, Any]] = {
    "shape": "blue_green",
    "steps": [{"preview": True, "gate": "Switch?"}, {"weight": 100, "bake": "1m"}],
    "soak": "1h",
}


def given(world: World) -> list[tuple[float, float]]:
    """What the version was given, write after write: its weight, and the share that is copied."""
    service = world.service("a")
    routes = [route for route in world.router.applied if route.service == service]
    return [(one.weight, one.mirror.share if one.mirror else 0) for one in routes]


def back(world: World) -> list[Route]:
    """The writes after which stable is alone, and nothing is copied."""
    service = world.service("a")
    return [
        one
        for one in world.router.applied
        if one.service == service and one.canary is None and one.mirror is None
    ]


async def begun(world: World, strategy: Mapping[str, Any], **phases: str) -> Release:
    """A release of one service, once it is there."""
    release = await world.release({"a": []}, strategy=strategy)
    await release.until(**phases)
    return release


async def test_copies_come_first_and_are_judged_by_themselves(world: World) -> None:
    release = await begun(world, {**MIRROR, "soak": "0s", "bake": "1m"})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert given(world) == [(0, 25), (50, 0), (100, 0), (0, 0)]
    copies, *live = [one for one in world.judge.requests if one.bake is not None]
    assert (copies.apart, copies.weight, copies.canary) == (True, 0, "2")
    assert [(one.apart, one.evidence) for one in live] == [(False, None)], "nothing of the copies"


async def test_a_mirror_says_what_the_service_can_take(world: World) -> None:
    release = await begun(world, MIRROR, a="holding")
    (first, *_) = [one for one in world.router.applied if one.mirror]
    assert first.mirror == Mirror(version="2", share=25)
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


@pytest.mark.parametrize("strategy", [MIRROR, SWITCH])
async def test_an_alert_while_no_user_sees_it_takes_it_back_in_one_write(
    world: World, strategy: Mapping[str, Any]
) -> None:
    world.judge.blocked.add((world.service("a"), 0))
    release = await begun(world, strategy, a="baking")
    shown = (await release.status()).services[0].gets
    await release.alert("a")
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.kind is CauseKind.ALERT
    assert shown == ("copies of 25 %" if strategy is MIRROR else "0 %")
    assert [weight for weight, _ in given(world)] == [0, 0], "no user saw it"
    assert len(back(world)) == 1


async def test_an_alert_right_after_the_switch_takes_it_back_in_one_write(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 100))
    release = await begun(world, GATED, a="gated")
    assert given(world) == [(0, 0)]
    await release.handle.signal(SIGNAL_APPROVE, Command(by="ann"))
    await release.until(a="baking")
    assert given(world) == [(0, 0), (100, 0)], "one switch of all"
    await release.alert("a")
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert given(world) == [(0, 0), (100, 0), (0, 0)]
    assert len(back(world)) == 1


async def test_a_switch_holds_with_the_old_version_and_goes_back_in_one_write(
    world: World,
) -> None:
    release = await begun(world, SWITCH, a="holding")
    assert given(world) == [(0, 0), (100, 0)]
    await release.handle.signal(SIGNAL_ROLLBACK)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert len(back(world)) == 1


async def test_a_verdict_on_copies_takes_the_version_back_before_users_see_it(
    world: World,
) -> None:
    world.judge.says[world.service("a"), 0] = VerdictKind.FAIL
    release = await begun(world, MIRROR)
    done = await release.result()
    assert done.phase is ReleasePhase.ROLLED_BACK
    assert done.cause is not None
    assert done.cause.text.endswith("judged on copies of 25 % of the requests")
    assert given(world) == [(0, 25), (0, 0)]


async def test_copies_that_tell_nothing_ask_a_person(world: World) -> None:
    world.judge.says[world.service("a"), 0] = VerdictKind.INCONCLUSIVE
    release = await begun(world, MIRROR, a="gated")
    assert given(world) == [(0, 25)]
    await release.handle.signal(SIGNAL_APPROVE, Command(by="ann"))
    await release.until(a="holding")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()


async def test_a_pause_keeps_what_is_copied(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 0))
    release = await begun(world, MIRROR, a="baking")
    await release.handle.signal(SIGNAL_PAUSE, Command(by="ann"))
    await eventually(release.is_paused)
    world.judge.blocked.clear()
    await release.until(a="paused")
    assert given(world) == [(0, 25)]
    watched = [one for one in world.judge.requests if one.bake is None]
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.result()
    assert all(one.apart for one in watched)
