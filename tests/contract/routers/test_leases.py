"""A canary's lease: it stands in the route, and its renewals beside it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.errors import StaleGeneration
from adapters.ports import LeaseStore
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, shifted
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "leases"
LEASE = timedelta(seconds=60)
WHY = 'the sentinel took it back: no sign of life for 1m0.5s; "x": 5, #1'


@pytest.fixture
def store(subject: Subject) -> LeaseStore:
    assert subject.routing.leases is not None
    return subject.routing.leases


@pytest.fixture
async def leased(subject: Subject) -> Route:
    """A canary with a lease."""
    service = await on_stable(subject, OLD, NEW)
    route = with_lease(subject, service, 1)
    await subject.routing.router.apply(route)
    return route


def with_lease(subject: Subject, service: str, generation: int) -> Route:
    return Route.split(
        service, OLD, NEW, near(subject, 10), generation=generation, owner="shop-1", lease=LEASE
    )


async def test_the_lease_is_read_with_its_route(
    subject: Subject, store: LeaseStore, leased: Route
) -> None:
    assert await subject.routing.router.read(leased.service) == leased
    found = await store.leased([leased.service, "unknown"])
    assert {name: one.route for name, one in found.items()} == {leased.service: leased}
    assert await store.leased([]) == {}


async def test_a_route_without_a_lease_has_none(subject: Subject, store: LeaseStore) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(shifted(subject, service, 10, 1))
    assert await store.leased([service]) == {}


async def test_each_renewal_is_seen_and_changes_no_route(
    subject: Subject, store: LeaseStore, leased: Route
) -> None:
    seen = [(await store.leased([leased.service]))[leased.service].renewal]
    for _ in range(3):
        await store.renew(leased.service)
        seen.append((await store.leased([leased.service]))[leased.service].renewal)
    assert len(set(seen)) == 4
    assert (await store.leased([leased.service]))[leased.service].renewal == seen[-1]
    assert await subject.routing.router.read(leased.service) == leased
    assert await subject.routing.changed(leased) == ""


async def test_what_is_taken_back_says_why_and_refuses_the_release(
    subject: Subject, store: LeaseStore, leased: Route
) -> None:
    back = leased.given_back(WHY)
    await subject.routing.router.apply(back, over=leased)

    assert await subject.routing.router.read(leased.service) == back
    assert back.taken_back == WHY
    assert back.owner == leased.owner
    assert await store.leased([leased.service]) == {}
    assert shares(await subject.call(leased.service, USERS[:50])) == {OLD: 1.0}
    with pytest.raises(StaleGeneration):  # a late step of the release that was away
        await subject.routing.router.apply(with_lease(subject, leased.service, 2))


async def test_the_next_release_says_nothing_of_it(
    subject: Subject, store: LeaseStore, leased: Route
) -> None:
    await subject.routing.router.apply(leased.given_back(WHY))
    after = with_lease(subject, leased.service, 3)
    await subject.routing.router.apply(after)
    assert await subject.routing.router.read(leased.service) == after
    assert set(await store.leased([leased.service])) == {leased.service}
