"""A sentinel over routers in memory: what it takes back, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from adapters.ports import Leased, Routing
from adapters.routers.memory.router import Fault, MemoryRouter
from aviary.sentinel.metrics import SentinelMetrics
from aviary.sentinel.sentinel import Sentinel, check
from schemas.catalog import Catalog
from schemas.route import Confirmation, Route
from schemas.router_spec import RouterSpec
from tests.catalogs import make

LEASE = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched(MemoryRouter):
    """Remembers what was applied, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[Route] = []
        self.silent = False

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        self.applied.append(route)
        return await super().apply(route, over)

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        if self.silent:
            raise Retryable("the folder is away")
        return await super().leased(services)


class Stage:
    """A catalog of services of one router, and a sentinel."""

    def __init__(self, graph: Mapping[str, list[str]]) -> None:
        self.router, self.clock = Watched(), Clock()
        self.catalog = catalog_of(graph)
        self.registry = CollectorRegistry()
        self.sentinel = Sentinel(
            self.routing, lambda: self.catalog, SentinelMetrics(self.registry), self.clock
        )

    def routing(self, _: RouterSpec) -> Routing:
        return self.router.routing

    async def canary(
        self, service: str, owner: str = "r", lease: timedelta | None = LEASE
    ) -> Route:
        for version in ("1", "2"):
            self.router.add_pool(service, version)
        await self.router.register(service, "1")
        route = Route.split(service, "1", "2", 10, generation=3, owner=owner, lease=lease)
        await self.router.apply(route)
        self.router.applied.clear()
        return route

    async def after(self, seconds: float) -> None:
        self.clock.now += seconds
        await self.sentinel.look()

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"aviary_sentinel_{name}", labels)


def catalog_of(graph: Mapping[str, list[str]], kind: str = "leasing") -> Catalog:
    services: dict[str, Any] = {name: {"depends_on": needs} for name, needs in graph.items()}
    defaults = {"router": {"kind": kind}, "metrics": []}
    return make({"version": 1, "defaults": defaults, "services": services})


async def test_a_silent_release_is_taken_back_once_and_it_says_why() -> None:
    stage = Stage({"a": []})
    route = await stage.canary("a")
    await stage.sentinel.look()
    await stage.after(59.9)
    assert await stage.router.read("a") == route
    await stage.after(0.1)
    back = await stage.router.read("a")
    assert (back.stable, back.canary, back.generation, back.owner) == ("1", None, 4, "r")
    assert back.taken_back == "the sentinel took it back: no sign of life for 1m"
    await stage.after(600)
    assert stage.router.applied == [back]
    assert stage.count("taken_back_total", service="a") == 1
    assert stage.count("leases") == 0


async def test_a_release_that_renews_is_left_alone_and_so_is_one_without_a_lease() -> None:
    stage = Stage({"a": [], "b": []})
    await stage.canary("a")
    await stage.canary("b", lease=None)
    for _ in range(20):
        await stage.after(20)
        await stage.router.renew("a")
    assert stage.router.applied == []
    assert stage.count("leases") == 1
    assert stage.count("taken_back_total", service="a") == 0


async def test_dependents_go_first() -> None:
    stage = Stage({"shop": ["payments"], "payments": ["ledger"], "ledger": []})
    for service in ("payments", "ledger", "shop"):
        await stage.canary(service)
    await stage.sentinel.look()
    await stage.router.renew("shop")
    await stage.after(30)
    await stage.after(30)
    assert [one.service for one in stage.router.applied] == ["shop", "payments", "ledger"]


async def test_from_a_router_that_does_not_answer_nothing_follows() -> None:
    stage = Stage({"a": []})
    await stage.canary("a")
    await stage.sentinel.look()
    stage.router.silent = True
    await stage.after(120)
    assert stage.router.applied == []
    with pytest.raises(Retryable, match="the folder is away"):
        check(stage.sentinel)
    await stage.router.renew("a")
    stage.router.silent = False
    await stage.after(1)
    assert stage.router.applied == [], "there was a sign of life meanwhile"
    check(stage.sentinel)
    await stage.after(60)
    assert len(stage.router.applied) == 1


async def test_a_write_that_fails_is_tried_again_and_one_that_worked_is_found() -> None:
    stage = Stage({"a": []})
    await stage.canary("a")
    await stage.sentinel.look()
    stage.router.inject(Fault(Retryable("disk full"), effect=False))
    stage.router.inject(Fault(Retryable("not confirmed"), effect=True))
    await stage.after(60)
    with pytest.raises(Retryable, match="disk full"):
        check(stage.sentinel)
    await stage.after(0.5)
    assert stage.count("taken_back_total", service="a") == 0
    await stage.after(0.5)
    assert stage.count("taken_back_total", service="a") == 1
    assert stage.count("failures_total", call="write") == 2
    check(stage.sentinel)
    assert (await stage.router.read("a")).canary is None


async def test_a_release_that_comes_back_in_between_wins() -> None:
    stage = Stage({"a": []})
    route = await stage.canary("a")
    await stage.sentinel.look()
    step = route.model_copy(update={"generation": 5})
    found = await stage.router.leased(["a"])
    await stage.router.apply(step)
    stage.router.applied.clear()

    class Late(Watched):
        async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
            return found

    late = Late()
    late.__dict__ = stage.router.__dict__
    stage.sentinel = Sentinel(
        lambda _: replace(stage.router.routing, leases=late),
        lambda: stage.catalog,
        SentinelMetrics(CollectorRegistry()),
        stage.clock,
    )
    await stage.sentinel.look()
    await stage.after(60)
    assert await stage.router.read("a") == step
    check(stage.sentinel)


async def test_a_router_that_hangs_is_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aviary.sentinel.sentinel.READ_WITHIN_S", 0.05)
    stage = Stage({"a": []})
    await stage.canary("a")

    async def hangs(_: Collection[str]) -> Mapping[str, Leased]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(stage.router, "leased", hangs)
    await stage.after(60)
    with pytest.raises(Retryable, match="no answer within"):
        check(stage.sentinel)
    assert stage.count("failures_total", call="read") == 1


async def test_a_router_that_can_carry_no_lease_is_not_asked() -> None:
    stage = Stage({"a": []})
    await stage.canary("a")
    stage.catalog = catalog_of({"a": []}, "counting")
    stage.router.silent = True
    await stage.after(60)
    check(stage.sentinel)
    assert stage.router.applied == []
