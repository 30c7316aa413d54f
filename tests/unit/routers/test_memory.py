"""The router in memory, over all orders of calls: the fence and the faults."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.errors import Retryable, StaleGeneration, UnknownRoute
from adapters.routers.memory.router import Fault, MemoryRouter
from schemas.route import Route

T = TypeVar("T")

VERSIONS = ("1", "2", "3")
SERVICES = ("cart", "payments")
WEIGHTS = st.integers(0, 10_000).map(lambda parts: parts / 100)


def routes(service: str, generation: int) -> st.SearchStrategy[Route]:
    """Routes of a service, some of a version that has no pool."""

    def build(stable: str, canary: str | None, weight: float, owner: str) -> Route:
        canary = None if canary == stable else canary
        return Route.split(
            service=service,
            stable=stable,
            canary=canary,
            weight=weight if canary is not None else 0,
            generation=generation,
            owner=owner,
        )

    versions = st.sampled_from((*VERSIONS, "without-pool"))
    owners = st.sampled_from(("shop-1", "shop-2"))
    return st.builds(build, versions, st.none() | versions, WEIGHTS, owners)


class Fenced(RuleBasedStateMachine):
    """Any writes in any order, late ones and repeated ones too."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.router = MemoryRouter()
        self.accepted: dict[str, list[Route]] = {}
        self.sent: list[Route] = []

    def teardown(self) -> None:
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    @initialize()
    def register(self) -> None:
        for service in SERVICES:
            for version in VERSIONS:
                self.router.add_pool(service, version)
            self.accepted[service] = [self.run(self.router.register(service, "1"))]

    @rule(data=st.data(), service=st.sampled_from(SERVICES), generation=st.integers(0, 12))
    def write(self, data: st.DataObject, service: str, generation: int) -> None:
        self.send(data.draw(routes(service, generation)))

    @rule(data=st.data())
    def write_an_old_one_again(self, data: st.DataObject) -> None:
        if self.sent:
            self.send(data.draw(st.sampled_from(self.sent)))

    @rule(error=st.booleans(), effect=st.booleans())
    def break_the_next_write(self, *, error: bool, effect: bool) -> None:
        self.router.inject(Fault(error=Retryable("injected") if error else None, effect=effect))

    @rule(service=st.sampled_from(SERVICES), user=st.text(max_size=3))
    def use(self, service: str, user: str) -> None:
        before = self.run(self.router.requests(service))
        version = self.router.send(service, user)
        after = self.run(self.router.requests(service))
        assert after == {**before, version: before[version] + 1}

    def send(self, route: Route) -> None:
        self.sent.append(route)
        current = self.accepted[route.service][-1]
        try:
            confirmation = self.run(self.router.apply(route))
        except StaleGeneration:
            assert route != current
            assert route.generation <= current.generation
        except UnknownRoute:
            assert "without-pool" in {route.stable, route.canary}
        except Retryable:
            # A lost answer: whether it was applied, only reading tells.
            if self.run(self.router.read(route.service)) == route:
                self.accept(route)
        else:
            assert confirmation.route == route
            self.accept(route)

    def accept(self, route: Route) -> None:
        if route != self.accepted[route.service][-1]:
            self.accepted[route.service].append(route)

    @invariant()
    def the_applied_route_was_accepted_last(self) -> None:
        for service, accepted in self.accepted.items():
            assert self.run(self.router.read(service)) == accepted[-1]

    @invariant()
    def generations_only_grow(self) -> None:
        for accepted in self.accepted.values():
            generations = [route.generation for route in accepted]
            assert generations == sorted(set(generations))


TestFenced = Fenced.TestCase
TestFenced.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


async def on_stable() -> MemoryRouter:
    router = MemoryRouter()
    for version in VERSIONS:
        router.add_pool("cart", version)
    await router.register("cart", "1")
    return router


WANTED = Route.split(service="cart", stable="1", canary="2", weight=100, generation=1)


async def test_an_injected_error_comes_once_and_changes_nothing() -> None:
    router = await on_stable()
    router.inject(Fault(error=Retryable("down"), effect=False))

    with pytest.raises(Retryable, match="down"):
        await router.apply(WANTED)
    assert (await router.read("cart")).generation == 0

    await router.apply(WANTED)
    assert router.send("cart", "user") == "2"


async def test_an_answer_can_be_lost_after_the_effect() -> None:
    router = await on_stable()
    router.inject(Fault(error=Retryable("lost"), effect=True))

    with pytest.raises(Retryable, match="lost"):
        await router.apply(WANTED)

    assert await router.read("cart") == WANTED
    assert router.send("cart", "user") == "2"
    assert (await router.apply(WANTED)).route == WANTED


async def test_a_router_can_say_yes_and_do_nothing() -> None:
    router = await on_stable()
    router.inject(Fault(error=None, effect=False), times=2)

    for generation in (1, 2):
        route = WANTED.model_copy(update={"generation": generation})
        assert (await router.apply(route)).route == route
        assert await router.read("cart") == route
        assert router.send("cart", "user") == "1"
