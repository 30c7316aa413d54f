"""Nothing of a release is touched before all of its services may be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from activities.readiness import lacking
from adapters.errors import Retryable, UnknownRoute
from adapters.ports import Router
from aviary.telemetry.ports import MeasuredRouter, WorkerMetrics
from schemas.release import CanaryPhase, CauseKind, Command, ReleasePhase, ReleaseStatus
from schemas.route import Route
from tests.workflows.kit import QUICK, RecordingRouter, Release, World, eventually

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

    async def has_pool(self, service: str, version: str) -> bool:
        if service in self.away:
            raise Retryable("the router is away")
        return service not in self.empty and await super().has_pool(service, version)


class Plain(RecordingRouter):
    """A router that tells of pools by its counts alone."""

    has_pool = None  # type: ignore[assignment]
    without_route = False

    async def read(self, service: str) -> Route:
        if service.startswith("cart") and self.without_route:
            raise UnknownRoute(f"{service}: no such service")
        return await super().read(service)

    async def requests(self, service: str) -> Mapping[str, int]:
        return {"0": 0} if service.startswith("cart") else {"0": 0, "2": 0}


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


async def test_a_router_that_tells_by_its_counts(world: World) -> None:
    world.router = Plain()
    await _refused(world, "2 has no pool of instances")


async def test_a_service_without_a_route_of_such_a_router(world: World) -> None:
    world.router = router = Plain()
    router.without_route = True
    await _refused(world, f"its router does not know {world.service('cart')}")


class Bare(Plain):
    """One that has no counts of a service without a route, either."""

    without_route = True

    async def requests(self, service: str) -> Mapping[str, int]:
        await self.read(service)
        return await super().requests(service)


@pytest.mark.parametrize("measured", [False, True])
async def test_a_first_deployment_may_begin_where_there_are_instances(measured: bool) -> None:
    async def says(router: Router) -> str:
        if measured:
            router = MeasuredRouter(router, "test", WorkerMetrics(CollectorRegistry()))
        found = await lacking(router, "cart", "2")
        assert not found.routed
        return found.text

    assert "does not know cart" in await says(Bare())
    if not measured:
        router = Shop()
        router.unknown.add("cart")
        assert await says(router) == ""
        router.empty.add("cart")
        assert "does not know cart" in await says(router)


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
