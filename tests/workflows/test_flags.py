"""A flag in a release: it comes after the service that it needs, and is off before that moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from adapters.ports import Routing
from adapters.routers.flagd import FLAGD
from adapters.routers.flagd.router import FlagdRouter
from schemas.release import ReleasePhase
from schemas.route import Confirmation, Route
from tests.workflows.kit import Release, World

SLOWLY = {"steps": [10, 25], "bake": "1m", "soak": "10m"}


class WatchedFlag(FlagdRouter):
    """Remembers, of each write, what the service beside it had by then."""

    def __init__(self, world: World, file: Path) -> None:
        super().__init__(file, "new-checkout", users=200)
        self._world = world
        self.writes: list[tuple[Route, float]] = []

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        confirmation = await super().apply(route, over)
        checkout = await self._world.router.read(self._world.service("checkout"))
        self.writes.append((route, checkout.weight))
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
