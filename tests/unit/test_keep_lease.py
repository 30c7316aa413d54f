"""A sign of life is left while the workflow answers, and only on a route of its release."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.lease import KeepLease, LeaseActivities, lease_policy
from adapters.errors import AdapterError, Retryable, Terminal
from adapters.routers.memory.router import MemoryRouter
from schemas.lease import LONGEST, RENEWALS, SHORTEST
from schemas.route import Route
from tests.catalogs import MEMORY

LEASE = timedelta(seconds=60)
REQUEST = KeepLease(router=MEMORY, service="a", release="r", generation=1, lease=LEASE)


class Kept:
    """A canary in memory, and what its keeper does in so many rounds."""

    def __init__(self) -> None:
        self.router = MemoryRouter()
        for version in ("1", "2"):
            self.router.add_pool("a", version)
        self.rounds = 0
        self.slept: list[float] = []
        self.dead = False
        self.then: Callable[[int], Awaitable[None]] | None = None

    async def start(self, owner: str = "r", lease: timedelta | None = LEASE) -> Route:
        await self.router.register("a", "1")
        route = Route.split("a", "1", "2", 10, generation=1, owner=owner, lease=lease)
        await self.router.apply(route)
        return route

    async def answers(self, within: timedelta) -> None:
        assert within < LEASE / RENEWALS
        if self.dead:
            raise Retryable("no answer")

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if sum(self.slept) >= self.rounds * LEASE.total_seconds() / RENEWALS:
            raise asyncio.CancelledError

    async def keep(self, rounds: int) -> Route | None:
        self.rounds = rounds
        activities = LeaseActivities(lambda _: self.router.routing, self.answers, self.sleep)
        try:
            taken: Route = await ActivityEnvironment().run(activities.keep, REQUEST)
        except asyncio.CancelledError:
            return None
        return taken

    @property
    def renewals(self) -> int:
        return self.router._renewals["a"]


async def test_it_is_renewed_three_times_in_its_length_with_heartbeats_between() -> None:
    kept = Kept()
    await kept.start()
    assert await kept.keep(rounds=6) is None
    assert kept.renewals == 6
    heartbeat = lease_policy(LEASE).heartbeat
    assert heartbeat is not None
    assert max(kept.slept) < heartbeat.total_seconds()


async def test_a_workflow_that_does_not_answer_is_not_alive() -> None:
    kept = Kept()
    await kept.start()
    kept.dead = True
    assert await kept.keep(rounds=3) is None
    assert kept.renewals == 0


@pytest.mark.parametrize(("owner", "lease"), [("another", LEASE), ("r", None)])
async def test_a_route_of_another_or_without_a_lease_is_not_renewed(
    owner: str, lease: timedelta | None
) -> None:
    kept = Kept()
    await kept.start(owner, lease)
    assert await kept.keep(rounds=2) is None
    assert kept.renewals == 0


@pytest.mark.parametrize("error", [Retryable("away"), Terminal("not of this form")])
async def test_a_router_that_fails_in_any_way_is_asked_again(
    error: AdapterError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up for good, it would have the sentinel take back a canary that is alive."""
    kept = Kept()
    route, asked = await kept.start(), 0

    async def read(_: str) -> Route:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise error
        return route

    monkeypatch.setattr(kept.router, "read", read)
    assert await kept.keep(rounds=4) is None
    assert kept.renewals == 2


async def test_a_service_without_a_route_is_waited_for() -> None:
    assert await Kept().keep(rounds=2) is None


async def test_what_a_sentinel_took_back_ends_it_at_once() -> None:
    kept = Kept()
    back = (await kept.start()).given_back("no sign of life")
    await kept.router.apply(back)
    assert await kept.keep(rounds=2) == back
    assert kept.slept == []
    assert kept.renewals == 0


async def test_what_was_taken_back_from_an_earlier_canary_of_it_is_no_news() -> None:
    kept = Kept()
    await kept.router.register("a", "1")
    old = Route.split("a", "1", generation=0, owner="r").given_back("long ago")
    await kept.router.apply(old.model_copy(update={"generation": 1}))
    later = REQUEST.model_copy(update={"generation": 5})
    kept.rounds = 1
    activities = LeaseActivities(lambda _: kept.router.routing, kept.answers, kept.sleep)
    with pytest.raises(asyncio.CancelledError):
        await ActivityEnvironment().run(activities.keep, later)


@pytest.mark.parametrize("lease", [SHORTEST, LEASE, LONGEST])
def test_another_worker_takes_over_before_the_lease_is_over(lease: timedelta) -> None:
    policy = lease_policy(lease)
    assert policy.heartbeat is not None
    silent = lease / RENEWALS + policy.heartbeat + timedelta(seconds=0.5)
    assert silent < lease
