"""Several routers as one: their order, what one of them that fails means, and how they agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import (
    ForeignChange,
    HalfWritten,
    Retryable,
    StaleGeneration,
    StillInUse,
    UnknownRoute,
    Unsupported,
)
from adapters.ports import Part, Routing
from adapters.routers.memory.router import CAPABILITIES, Fault, MemoryRouter
from adapters.routers.several.router import SeveralRouters, several
from schemas.capabilities import (
    Capabilities,
    Counting,
    Fence,
    Grid,
    RelativeGrid,
    TotalGrid,
    at_most,
    can_do,
    next_weight,
)
from schemas.deployment import Endpoint
from schemas.joint_capabilities import joint
from schemas.route import Confirmation, Health, Route

S, OLD, NEW = "ledger", "1", "2"


class Recorded(MemoryRouter):
    """Keeps the order of all writes, and may not answer."""

    def __init__(self, name: str, order: list[str], can: Capabilities = CAPABILITIES) -> None:
        super().__init__(can)
        self.name = name
        self.order = order
        self.away = False
        self.hangs = False
        self.then: Callable[[], None] | None = None
        """Happens right after its next write."""
        self.wrote = asyncio.Event()
        """A route without a canary."""
        for version in (OLD, NEW):
            self.add_pool(S, version)

    async def read(self, service: str) -> Route:
        if self.away:
            raise Retryable("connection refused")
        return await super().read(service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        self.order.append(self.name)
        if self.away:
            raise Retryable("connection refused")
        if self.hangs:
            await asyncio.Event().wait()
        confirmation = await super().apply(route, over)
        if self.then is not None:
            happens, self.then = self.then, None
            happens()
        if route.canary is None:
            self.wrote.set()
        return confirmation


class Both(NamedTuple):
    edge: Recorded
    mesh: Recorded
    order: list[str]
    routing: Routing

    def weights(self) -> list[float]:
        return [one._traffic[S].weight for one in (self.edge, self.mesh)]

    async def shift(self, weight: float, generation: int, over: Route | None = None) -> Route:
        route = shifted(weight, generation)
        believed = over or await self.routing.router.read(S)
        await self.routing.router.apply(route, believed)
        return route


def shifted(weight: float, generation: int) -> Route:
    return Route.split(S, OLD, NEW, weight, generation=generation, owner="r-1")


def back(generation: int) -> Route:
    return Route.split(S, OLD, generation=generation, owner="r-1")


async def no_time(_: float) -> None:
    """The nap that a router may hold the others up is over at once."""


def as_one(edge: MemoryRouter, mesh: MemoryRouter) -> Routing:
    parts = [Part("edge", edge.routing), Part("mesh", mesh.routing)]
    can = joint([edge.capabilities, mesh.capabilities])
    return several(parts, can, judged=1, owns=True)


@pytest.fixture
async def both() -> Both:
    order: list[str] = []
    edge, mesh = Recorded("edge", order), Recorded("mesh", order)
    routing = as_one(edge, mesh)
    assert routing.registrar is not None
    await routing.registrar.register(S, OLD)
    return Both(edge, mesh, order, routing)


async def test_a_weight_is_written_in_order_and_going_back_is_the_other_way_round(
    both: Both,
) -> None:
    await both.shift(10, 1)
    await both.shift(50, 2)
    assert both.order == ["edge", "mesh"] * 2
    both.order.clear()
    await both.shift(20, 3)
    await both.routing.router.apply(back(4))
    assert both.order == ["mesh", "edge"] * 2
    assert both.weights() == [0, 0]


async def test_the_next_router_gets_no_weight_before_the_one_has_confirmed(both: Both) -> None:
    both.edge.inject(Fault(error=Retryable("no answer"), effect=False))
    with pytest.raises(Retryable, match="edge: no answer") as caught:
        await both.shift(10, 1)
    assert caught.value.__cause__ is None, "which a person would be told in its place"
    assert both.order == ["edge"]
    assert both.weights() == [0, 0]


async def test_a_crash_between_the_two_writes_is_made_good_by_the_same_write(both: Both) -> None:
    believed = await both.routing.router.read(S)
    both.mesh.inject(Fault(error=Retryable("killed"), effect=False))
    with pytest.raises(Retryable, match="mesh: killed"):
        await both.shift(10, 1, believed)
    assert both.weights() == [10, 0]

    assert (await both.routing.router.apply(shifted(10, 1), believed)).route == shifted(10, 1)

    assert both.weights() == [10, 10]
    assert await both.routing.changed(shifted(10, 1)) == ""


async def test_after_a_crash_between_two_writes_going_back_takes_both_back(both: Both) -> None:
    both.mesh.inject(Fault(error=Retryable("killed"), effect=False))
    with pytest.raises(Retryable):
        await both.shift(10, 1)
    found = await both.routing.router.read(S)
    assert found == shifted(10, 1), "the canary of one is not hidden by the other"
    await both.routing.router.apply(back(2))
    assert both.weights() == [0, 0]
    assert await both.routing.router.read(S) == back(2)


@pytest.mark.parametrize("away", ["edge", "mesh"])
async def test_a_router_that_is_away_keeps_no_other_from_going_back(both: Both, away: str) -> None:
    await both.shift(50, 1)
    gone = both.edge if away == "edge" else both.mesh
    other = "mesh" if away == "edge" else "edge"
    gone.away = True

    with pytest.raises(Retryable, match=f"{away}: connection refused; done by {other}"):
        await both.routing.router.apply(back(2))
    assert sorted(both.weights()) == [0, 50]

    gone.away = False
    await both.routing.router.apply(back(2))
    assert both.weights() == [0, 0]


async def test_a_router_that_hangs_holds_the_others_up_for_little_and_is_let_go_of() -> None:
    order: list[str] = []
    edge, mesh = Recorded("edge", order), Recorded("mesh", order)
    parts = [Part("edge", edge.routing), Part("mesh", mesh.routing)]
    router = SeveralRouters(parts, CAPABILITIES, sleep=no_time)
    await router.register(S, OLD)
    await router.apply(shifted(50, 1))
    edge.wrote.clear()
    mesh.hangs = True

    attempt = asyncio.create_task(router.apply(back(2)))
    await edge.wrote.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt

    mesh.hangs = False
    await router.apply(back(2))
    assert await mesh.read(S) == back(2)


async def test_a_canary_is_seen_though_another_router_does_not_answer(both: Both) -> None:
    await both.shift(50, 1)
    both.mesh.away = True
    assert await both.routing.router.read(S) == shifted(50, 1)
    with pytest.raises(Retryable):
        await both.routing.router.apply(back(2))
    with pytest.raises(Retryable, match="mesh: connection refused"):
        await both.routing.router.read(S)  # all that answers is on stable: the rest is not known


async def test_a_change_of_one_is_told_with_its_name_and_nothing_is_written(both: Both) -> None:
    route = await both.shift(10, 1)
    both.mesh.change(Route.split(S, OLD, NEW, 75, generation=1, owner="r-1"))
    both.order.clear()
    assert (await both.routing.changed(route)).startswith(f"mesh: {S}: somebody else changed")
    with pytest.raises(ForeignChange, match="mesh: .*found 1 25 %, 2 75 %"):
        await both.shift(50, 2, route)
    assert both.order == []
    assert both.weights() == [10, 75]
    await both.routing.router.apply(shifted(50, 2))
    assert both.weights() == [50, 50], "a person may say that it is written over"


async def test_a_change_between_two_writes_says_that_one_was_written(
    both: Both,
) -> None:
    route = await both.shift(10, 1)
    both.mesh.inject(Fault(error=Retryable("killed"), effect=False))
    with pytest.raises(Retryable):
        await both.shift(50, 2, route)
    both.mesh.change(Route.split(S, OLD, NEW, 75, generation=1, owner="r-1"))
    with pytest.raises(HalfWritten, match="mesh: .*has the new route already"):
        await both.shift(50, 2, route)
    await both.routing.router.apply(back(3))
    assert both.weights() == [0, 0]


async def test_a_change_right_between_check_and_write_says_so_too(both: Both) -> None:
    route = await both.shift(10, 1)
    changed = Route.split(S, OLD, NEW, 75, generation=1, owner="r-1")
    both.edge.then = lambda: both.mesh.change(changed)
    with pytest.raises(HalfWritten, match="mesh: .*has the new route already"):
        await both.shift(50, 2, route)
    assert both.weights() == [50, 75]


async def test_a_change_right_before_going_back_says_that_the_other_is_back(both: Both) -> None:
    route = await both.shift(50, 1)
    changed = Route.split(S, OLD, NEW, 75, generation=1, owner="r-1")
    both.mesh.then = lambda: both.edge.change(changed)
    with pytest.raises(HalfWritten, match="edge: .*has the new route already; done by mesh"):
        await both.shift(20, 2, route)
    assert both.weights() == [75, 20]


async def test_a_canary_on_one_is_not_hidden_by_a_newer_route_of_another(both: Both) -> None:
    await both.shift(50, 1)
    both.mesh.away = True
    with pytest.raises(Retryable):
        await both.routing.router.apply(back(2))
    both.mesh.away = False
    found = await both.routing.router.read(S)
    assert found == Route.split(S, OLD, NEW, 50, generation=2, owner="r-1"), "to be written over"


async def test_a_router_that_came_later_has_an_older_generation_and_that_is_no_change() -> None:
    order: list[str] = []
    edge, mesh = Recorded("edge", order), Recorded("mesh", order)
    await edge.register(S, OLD)
    await edge.apply(Route.split(S, OLD, generation=7, owner="r-0"))
    routing = as_one(edge, mesh)
    with pytest.raises(UnknownRoute, match="mesh: ledger"):
        await routing.router.read(S)

    assert routing.registrar is not None
    there = await routing.registrar.register(S, NEW)
    assert there == Route.split(S, OLD, generation=7, owner="r-0"), "not all to the new version"
    assert await mesh.read(S) == Route.split(S, OLD)

    both = Both(edge, mesh, order, routing)
    await both.shift(10, 8, there)
    assert both.weights() == [10, 10]


async def test_a_late_attempt_is_refused_by_each(both: Both) -> None:
    await both.shift(10, 1)
    await both.routing.router.apply(back(2))
    both.order.clear()
    for late in (shifted(10, 1), back(1)):
        with pytest.raises(StaleGeneration, match="edge|mesh"):
            await both.routing.router.apply(late)
    assert both.weights() == [0, 0]


async def test_one_that_is_newer_keeps_no_other_from_going_back(both: Both) -> None:
    await both.shift(50, 1)
    both.mesh.change(Route.split(S, OLD, generation=9, owner="r-2"))
    with pytest.raises(StaleGeneration, match="mesh: .*done by edge"):
        await both.routing.router.apply(back(2))
    assert both.weights() == [0, 0]


async def test_a_newer_route_on_one_is_told_before_another_that_is_away(both: Both) -> None:
    """Or the same write would be tried for as long as that is away."""
    await both.shift(50, 1)
    both.edge.change(shifted(50, 5))
    both.mesh.away = True
    with pytest.raises(StaleGeneration, match="edge: .*; mesh: connection refused"):
        await both.routing.router.apply(back(2))


async def test_a_version_that_one_does_not_know_is_refused_before_anything_is_written(
    both: Both,
) -> None:
    both.edge.add_pool(S, "3")
    assert not await both.routing.locator.exists(S, "3")
    before = await both.routing.router.read(S)
    with pytest.raises(UnknownRoute, match="mesh: .*version 3"):
        await both.routing.router.apply(Route.split(S, OLD, "3", 5, generation=1), before)
    assert both.order == []


async def test_no_version_is_forgotten_that_a_route_of_any_names(both: Both) -> None:
    writer = both.routing.endpoints
    assert writer is not None
    where = (Endpoint(host="127.0.0.1", port=1),)
    await writer.put_endpoints(S, NEW, where, 1)
    both.mesh.change(shifted(5, 1))
    with pytest.raises(StillInUse, match="mesh"):
        await writer.drop_endpoints(S, NEW, 2)
    assert await both.edge.exists(S, NEW)
    assert (await writer.endpoints(S))[S][NEW].endpoints == where


async def test_a_version_is_forgotten_by_all(both: Both) -> None:
    writer = both.routing.endpoints
    assert writer is not None
    where = (Endpoint(host="127.0.0.1", port=1),)
    await writer.put_endpoints(S, NEW, where, 1)
    await writer.drop_endpoints(S, NEW, 2)
    assert not await both.edge.exists(S, NEW)
    assert not await both.mesh.exists(S, NEW)


async def test_what_only_one_was_told_is_not_known_and_so_is_told_again(both: Both) -> None:
    writer = both.routing.endpoints
    assert writer is not None
    where = (Endpoint(host="127.0.0.1", port=1),)
    await both.edge.put_endpoints(S, NEW, where, 1)
    assert await writer.endpoints(S) == {}
    await writer.put_endpoints(S, NEW, where, 1)
    assert (await both.mesh.endpoints(S))[S][NEW].endpoints == where


async def test_health_is_that_of_the_one_that_sees_the_fewest(both: Both) -> None:
    both.mesh.take_down(S, OLD)
    assert both.routing.instances is not None
    found = await both.routing.instances.instances(S)
    assert found is not None
    assert found[OLD] == Health(known=1, healthy=0)
    assert found[NEW] == Health(known=1, healthy=1)


# --- what they can do together ---

GRIDS: Sequence[Grid] = (
    TotalGrid(total=1),
    TotalGrid(total=100),
    TotalGrid(total=256),
    TotalGrid(total=10_000),
    RelativeGrid(most=20),
    RelativeGrid(most=999),
)


def grid(*each: Grid) -> Grid:
    return joint([Capabilities(weights=one) for one in each]).weights


@given(
    each=st.lists(st.sampled_from(GRIDS), min_size=2, max_size=3),
    hundredths=st.integers(0, 10_000),
)
def test_a_weight_can_be_done_together_if_each_can_do_it(each: list[Grid], hundredths: int) -> None:
    together, weight = grid(*each), hundredths / 100
    assert can_do(together, weight) == all(can_do(one, weight) for one in each)
    near = next_weight(together, weight)
    assert all(can_do(one, near) for one in each)
    below = at_most(together, weight)
    assert below <= weight
    assert all(can_do(one, below) for one in each)


def test_together_they_claim_what_all_can_do() -> None:
    poor = Capabilities(weights=TotalGrid(total=100), pinned=True)
    can = joint([CAPABILITIES, poor])
    assert can.weights == TotalGrid(total=100)
    assert (can.sticky, can.pinned, can.forced, can.audiences) == ((), True, (), ())
    assert (can.counts, can.users, can.registers, can.endpoints) == (Counting.NONE, *[False] * 3)
    assert can.fence is Fence.READ_BACK
    assert can.instances, "one that knows is enough"
    assert joint([CAPABILITIES, CAPABILITIES]) == CAPABILITIES


async def test_what_one_can_not_do_is_refused_before_anything_is_written() -> None:
    order: list[str] = []
    coarse = CAPABILITIES.model_copy(update={"weights": TotalGrid(total=100)})
    edge, mesh = Recorded("edge", order), Recorded("mesh", order, coarse)
    routing = as_one(edge, mesh)
    assert routing.registrar is not None
    await routing.registrar.register(S, OLD)
    with pytest.raises(Unsupported, match=r"weight 0\.5 %.*the nearest is 1 %"):
        await routing.router.apply(shifted(0.5, 1))
    assert order == []
