"""Flags in releases.

One comes after the service that it needs, and is off before that moves; and a version may be judged
while its flag is off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from adapters.ports import Routing
from adapters.routers.flagd import FLAGD
from adapters.routers.flagd.router import FlagdRouter
from schemas.event_kinds import NoticeKind
from schemas.ids import SIGNAL_APPROVE, SIGNAL_ROLLBACK, SIGNAL_SKIP, stale_workflow_id
from schemas.release import CanaryPhase, CauseKind, Command, ReleasePhase
from schemas.route import Confirmation, Route
from schemas.stale_flag import StaleEnded
from tests.workflows.kit import Release, World, eventually
from tests.workflows.kit.world import PATIENCE_S
from tests.workflows.test_taking_back import look, take_back

SLOWLY = {"steps": [10, 25], "bake": "1m", "soak": "10m"}
ANN = Command(by="ann")


class WatchedFlag(FlagdRouter):
    """Remembers, of each write, what the service beside it had by then."""

    def __init__(self, world: World, file: Path) -> None:
        super().__init__(file, "new-checkout", users=200)
        self._world = world
        self.writes: list[tuple[Route, float]] = []
        self.beside: list[Route] = []

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        confirmation = await super().apply(route, over)
        checkout = await self._world.router.read(self._world.service("checkout"))
        self.writes.append((route, checkout.weight))
        self.beside.append(checkout)
        return confirmation


class FlagWorld(World):
    """A world whose kind `flagd` is a real one."""

    def __init__(self, client: Client, file: Path) -> None:
        super().__init__(client)
        self.flag = WatchedFlag(self, file)
        routing = Routing.of(self.flag, FLAGD.capabilities)
        other = self.router_for
        self.router_for = lambda spec: routing if spec.kind == "flagd" else other(spec)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    path.write_text(json.dumps({"flags": {"new-checkout": flag}}))
    return path


@pytest.fixture
async def world(server: WorkflowEnvironment, file: Path) -> AsyncIterator[FlagWorld]:
    here = FlagWorld(server.client, file)
    async with here.working():
        yield here


@pytest.fixture
def flag(world: FlagWorld) -> WatchedFlag:
    return world.flag


def _flag(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())["flags"]["new-checkout"]
    return found


async def released(world: World, file: Path, soak: str) -> Release:
    checkout, flag = world.service("checkout"), world.service("flag")
    router = {"kind": "flagd", "file": str(file), "flag": "new-checkout"}
    services = {checkout: {}, flag: {"depends_on": [checkout], "router": router}}
    return await world.release(
        {"checkout": [], "flag": ["checkout"]},
        strategy=SLOWLY | {"soak": soak},
        versions={"flag": "on"},
        services=services,
    )


async def test_it_grows_after_its_service_and_is_on_for_good(
    world: World, flag: WatchedFlag, file: Path
) -> None:
    assert (await (await released(world, file, "0s")).result()).phase is ReleasePhase.FINALIZED
    assert [(route.weight, beside) for route, beside in flag.writes[:3]] == [
        (10, 100),
        (25, 100),
        (100, 100),
    ]
    assert _flag(file)["defaultVariant"] == "on"
    assert not _flag(file)["targeting"]


async def test_an_alert_on_the_service_turns_it_off_before_the_service_moves(
    world: World, flag: WatchedFlag, file: Path
) -> None:
    release = await released(world, file, "10m")
    await release.until(checkout="holding", flag="holding")
    await release.alert("checkout")
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    back, beside = flag.writes[-1]
    assert (back.stable, back.weight) == ("off", 0)
    assert beside == 100, "the service had not moved yet"
    assert (await world.router.read(world.service("checkout"))).weight == 0
    assert (_flag(file)["defaultVariant"], _flag(file)["targeting"]) == ("off", {})


def turn(file: Path, variant: str) -> None:
    """What a person does in the file."""
    document = json.loads(file.read_text())
    document["flags"]["new-checkout"] |= {"defaultVariant": variant, "targeting": {}}
    file.write_text(json.dumps(document))


async def dark(world: World, file: Path, *names: str, **strategy: Any) -> Release:
    """A release of these, of which checkout is judged at 50 % while the flag is off."""
    checkout, flag = world.service("checkout"), world.service("flag")
    router = {"kind": "flagd", "file": str(file), "flag": "new-checkout"}
    step = {"weight": 50, "bake": "1m", "flags": {flag: False}}
    return await world.release(
        {name: [] for name in names},
        strategy=SLOWLY | {"soak": "0s"},
        versions={"flag": "on"},
        strategies={
            "test": SLOWLY | {"soak": "0s"},
            "dark": {"steps": [step, {"weight": 60, "bake": "1m"}], **strategy},
        },
        services={
            checkout: {"strategy": "dark"},
            flag: {"depends_on": [checkout], "router": router},
        },
    )


async def test_a_version_is_judged_with_its_flag_off_which_then_grows(
    world: World, flag: WatchedFlag, file: Path
) -> None:
    release = await dark(world, file, "checkout", "flag")
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert world.router.weights(world.service("checkout"))[:3] == [50, 60, 100]
    assert [(route.weight, beside) for route, beside in flag.writes[:2]] == [(10, 100), (25, 100)]
    assert _flag(file)["defaultVariant"] == "on"


async def test_taking_a_version_back_turns_off_the_flag_that_a_later_release_turned_on(
    world: World, flag: WatchedFlag, file: Path
) -> None:
    version = await dark(world, file, "checkout")
    assert (await version.result()).phase is ReleasePhase.FINALIZED
    assert (await (await dark(world, file, "flag")).result()).phase is ReleasePhase.FINALIZED
    assert _flag(file)["defaultVariant"] == "on"
    serving = await world.router.read(world.service("checkout"))
    flag.writes.clear()
    flag.beside.clear()
    back = await take_back(world, await look(world, version))
    done = await back.result()
    assert done.phase is ReleasePhase.FINALIZED, done.cause
    assert (flag.writes[0][0].canary, flag.writes[0][0].weight) == ("off", 100)
    assert flag.beside[0] == serving, "the version had not moved yet"
    assert _flag(file)["defaultVariant"] == "off"
    assert (await world.router.read(world.service("checkout"))).stable == "0"


@pytest.mark.usefixtures("flag")
async def test_a_flag_that_is_on_already_asks_a_person_before_any_request_is_moved(
    world: World, file: Path
) -> None:
    turn(file, "on")
    release = await dark(world, file, "checkout")
    await release.until(checkout="gated")
    assert await release.waits_for(
        f"approval: flag {world.service('flag')} is not off for everybody: found on 100 %"
    )
    assert world.router.weights(world.service("checkout")) == []
    await release.canary("checkout").execute_update(SIGNAL_APPROVE, ANN)
    await eventually(lambda: _at(release, CanaryPhase.GATED, 50))
    await release.canary("checkout").execute_update(SIGNAL_APPROVE, ANN)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


@pytest.mark.usefixtures("flag")
async def test_a_flag_that_is_turned_on_while_the_version_is_judged_asks_a_person(
    world: World, file: Path
) -> None:
    name = world.service("checkout")
    world.judge.blocked.add((name, 50))
    release = await dark(world, file, "checkout")
    await release.until(checkout="baking")
    turn(file, "on")
    world.judge.blocked.clear()
    await release.until(checkout="gated")
    assert await release.waits_for("is not off for everybody: found on 100 %")
    await release.handle.execute_update(SIGNAL_ROLLBACK, ANN)
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK


@pytest.mark.usefixtures("flag")
async def test_where_nobody_is_to_be_asked_the_version_goes_back(world: World, file: Path) -> None:
    turn(file, "on")
    status = await (await dark(world, file, "checkout", on_inconclusive="roll_back")).result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.VERDICT
    assert "is not off for everybody" in status.cause.text
    assert 50 not in world.router.weights(world.service("checkout"))


@pytest.mark.usefixtures("flag")
async def test_a_provider_that_can_t_be_asked_is_waited_for_until_a_person_skips_it(
    world: World, file: Path
) -> None:
    there = file.read_text()
    file.unlink()
    release = await dark(world, file, "checkout")
    await release.until(checkout="checking")
    await eventually(lambda: release.waits_for(str(file)))
    assert world.router.weights(world.service("checkout")) == []
    await release.canary("checkout").execute_update(SIGNAL_SKIP, ANN)
    await eventually(lambda: _at(release, CanaryPhase.CHECKING, 50))
    file.write_text(there)
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_another_release_of_the_flag_waits_meanwhile(
    world: World, flag: WatchedFlag, file: Path
) -> None:
    name = world.service("checkout")
    world.judge.blocked.add((name, 50))
    release = await dark(world, file, "checkout")
    await release.until(checkout="baking")
    later = await dark(world, file, "flag")
    await eventually(lambda: _queued(later))
    assert flag.writes == []
    world.judge.blocked.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert (await later.result()).phase is ReleasePhase.FINALIZED
    assert _flag(file)["defaultVariant"] == "on"


async def _at(release: Release, phase: CanaryPhase, weight: float) -> bool:
    status = await release.canary_status("checkout")
    return (status.phase, status.weight) == (phase, weight)


async def _queued(release: Release) -> bool:
    status = await release.status()
    return status.phase is ReleasePhase.QUEUED and "flag" in status.waits_for


async def turned(world: World, file: Path, variant: str, stale_after: str) -> None:
    """A release of the flag alone, to its end."""
    flag = world.service("flag")
    router = {"kind": "flagd", "file": str(file), "flag": "new-checkout"}
    release = await world.release(
        {"flag": []},
        strategy={"steps": [50], "bake": "0s"},
        versions={"flag": variant},
        services={flag: {"router": router, "stale_after": stale_after}},
    )
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def stale_end(world: World) -> StaleEnded:
    handle = world.client.get_workflow_handle(
        stale_workflow_id(world.service("flag")), result_type=StaleEnded
    )
    return await asyncio.wait_for(handle.result(), PATIENCE_S)


def told_of(world: World) -> list[str]:
    return [one.text for one in world.notifier.notices if one.kind is NoticeKind.STALE]


async def test_a_flag_that_stays_on_is_told_once_also_by_workers_that_came_later(
    server: WorkflowEnvironment, file: Path
) -> None:
    world = FlagWorld(server.client, file)
    async with world.working():
        await turned(world, file, "on", "3s")
    assert told_of(world) == [], "no worker is there"
    async with world.working():
        ended = await stale_end(world)
        assert ended.told
        (text,) = told_of(world)
        assert f"flag {world.service('flag')} is on for everybody since " in text
        await turned(world, file, "on", "1ms")
        assert len(told_of(world)) == 1, "nothing has changed since"


@pytest.mark.usefixtures("flag")
async def test_a_flag_that_is_turned_off_again_is_not_told(world: World, file: Path) -> None:
    await turned(world, file, "on", "1h")
    await turned(world, file, "off", "1h")
    assert await stale_end(world) == StaleEnded(told=False, text=f"{world.service('flag')} is off")
    assert told_of(world) == []


@pytest.mark.usefixtures("flag")
async def test_a_flag_that_somebody_else_turned_off_is_told_once_it_is_on_again(
    world: World, file: Path
) -> None:
    await turned(world, file, "on", "2s")
    on = file.read_text()
    turn(file, "off")
    handle = world.client.get_workflow_handle(stale_workflow_id(world.service("flag")))
    await eventually(lambda: _looked(handle))
    assert told_of(world) == []
    file.write_text(on)
    assert (await stale_end(world)).told
    assert len(told_of(world)) == 1


async def _looked(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether the flag was looked at, and is waited for again."""
    kinds = [one.event_type async for one in handle.fetch_history_events()]
    return kinds.count(EventType.EVENT_TYPE_TIMER_STARTED) > 1
