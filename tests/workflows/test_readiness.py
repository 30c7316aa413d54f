"""Nothing of a release is touched before all of its services may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from activities.readiness import lacking
from adapters.errors import Retryable, UnknownRoute
from schemas.release import CanaryPhase, CauseKind, Command, ReleasePhase, ReleaseStatus
from schemas.route import Route
from tests.workflows.kit import QUICK, RecordingRouter, Release, World, eventually

UNKNOWN = "its router does not know cart: register it, or mend the name in the catalog"
LONG = QUICK.model_copy(update={"ready_within": timedelta(minutes=10)})


class Shop(RecordingRouter):
    """A router that misses a service, or a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: set[str] = set()
        self.empty: set[str] = set()
        self.away: set[str] = set()

    async def read(self, service: str) -> Route:
        if service in self.unknown:
            raise UnknownRoute(f"{service}: no such service")
        return await super().read(service)

    async def exists(self, service: str, version: str) -> bool:
        if service in self.away:
            raise Retryable("the router is away")
        return service not in self.empty and await super().exists(service, version)


async def _waits(release: Release) -> ReleaseStatus:
    async def told() -> bool:
        return "no pool" in (await release.status()).waits_for

    await eventually(told)
    return await release.status()


async def _refused(world: World, says: str) -> None:
    """A release of three services ends before any of them was touched."""
    release = await world.release({"ledger": [], "cart": ["ledger"], "shop": ["cart"]})
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.NOT_READY
    assert status.cause.service == world.service("cart")
    assert "nothing was touched" in status.cause.text
    assert says in status.cause.text
    assert {one.phase for one in status.services} == {CanaryPhase.SKIPPED}
    assert isinstance(world.router, RecordingRouter)
    assert world.router.applied == []


async def test_a_service_that_the_router_does_not_know(world: World) -> None:
    world.router = router = Shop()
    router.unknown.add(world.service("cart"))
    router.empty.add(world.service("cart"))
    await _refused(world, f"its router does not know {world.service('cart')}")


async def test_a_version_without_a_pool(world: World) -> None:
    world.router = router = Shop()
    router.empty.add(world.service("cart"))
    await _refused(world, "2 has no pool of instances")


@pytest.mark.parametrize("registers", [True, False])
async def test_a_first_deployment_may_begin_where_there_are_instances(registers: bool) -> None:
    router = Shop()
    router.unknown.add("cart")
    registrar = router if registers else None

    async def says() -> str:
        found = await lacking(replace(router.routing, registrar=registrar), "cart", "2")
        assert not found.routed
        return found.text

    assert await says() == ("" if registers else UNKNOWN)
    router.empty.add("cart")
    assert await says() == UNKNOWN


async def test_a_pool_that_comes_in_time_is_waited_for(world: World) -> None:
    world.router = router = Shop()
    router.empty.add(world.service("cart"))
    release = await world.release({"ledger": [], "cart": []}, tuning=LONG)
    status = await _waits(release)
    assert status.phase is ReleasePhase.QUEUED
    assert "for at most 10m" in status.waits_for
    assert router.applied == []
    router.empty.clear()
    assert (await release.result()).phase is ReleasePhase.FINALIZED


async def test_a_person_ends_the_wait(world: World) -> None:
    world.router = router = Shop()
    router.empty.add(world.service("cart"))
    release = await world.release({"cart": []}, tuning=LONG)
    await _waits(release)
    await release.handle.execute_update("rollback", Command(by="ann"))
    status = await release.result()
    assert status.phase is ReleasePhase.ROLLED_BACK
    assert status.cause is not None
    assert status.cause.kind is CauseKind.COMMAND


async def test_a_router_that_can_t_be_asked_holds_nothing_up(world: World) -> None:
    world.router = router = Shop()
    router.away.add(world.service("cart"))
    release = await world.release({"cart": []})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
