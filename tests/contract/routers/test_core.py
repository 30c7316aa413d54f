"""What every router must do, whoever it is and whatever it can do besides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from adapters.errors import Retryable, StaleGeneration, UnknownRoute
from schemas.capabilities import Counting, can_do
from schemas.route import Route
from tests.contract.routers.routes import (
    NEW,
    OLD,
    USERS,
    near,
    on_stable,
    rolled_back,
    shifted,
)
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares


@pytest.fixture
async def service(subject: Subject) -> str:
    return await on_stable(subject, OLD, NEW)


async def test_a_new_service_is_wholly_on_stable(subject: Subject, service: str) -> None:
    assert await subject.routing.router.read(service) == Route.split(service, OLD)


def test_what_it_claims_is_there_and_nothing_else(subject: Subject) -> None:
    routing, can = subject.routing, subject.routing.capabilities
    assert (routing.counts is not None) == (can.counts is not Counting.NONE)
    assert (routing.users is not None) == can.users
    assert (routing.instances is not None) == can.instances
    assert (routing.registrar is not None) == can.registers


def test_all_and_nothing_can_be_done(subject: Subject) -> None:
    weights = subject.routing.capabilities.weights
    assert can_do(weights, 0)
    assert can_do(weights, 100)


@pytest.mark.parametrize("weight", [0.0, 0.01, 5.0, 33.33, 99.99, 100.0])
async def test_what_was_applied_is_read_back(subject: Subject, service: str, weight: float) -> None:
    route = shifted(subject, service, weight, 1, owner="42")

    confirmation = await subject.routing.router.apply(route)

    assert confirmation.route == route
    assert confirmation.mark
    assert await subject.routing.router.read(service) == route


async def test_after_apply_the_traffic_is_as_the_route_says(subject: Subject, service: str) -> None:
    await subject.routing.router.apply(shifted(subject, service, 100, 1))
    assert shares(await subject.call(service, USERS)) == {NEW: 1.0}

    await subject.routing.router.apply(rolled_back(service, 2))
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}


async def test_the_share_is_about_the_weight(subject: Subject, service: str) -> None:
    weight = near(subject, 50)
    await subject.routing.router.apply(shifted(subject, service, weight, 1))
    got = shares(await subject.call(service, USERS))
    assert got[NEW] == pytest.approx(weight / 100, abs=0.15)  # six standard deviations


async def test_finalizing_is_one_write_like_any_other(subject: Subject, service: str) -> None:
    await subject.routing.router.apply(shifted(subject, service, 100, 1))
    final = Route.split(service, NEW, generation=2, owner="shop-1")

    await subject.routing.router.apply(final)

    assert await subject.routing.router.read(service) == final
    assert shares(await subject.call(service, USERS)) == {NEW: 1.0}


@pytest.mark.parametrize("version", [f"sha256:{'ab' * 32}", "v1.3.0+build.7"])
async def test_any_version_is_a_name_for_the_router(subject: Subject, version: str) -> None:
    name = await on_stable(subject, OLD, version)
    route = Route.split(name, OLD, version, 100, generation=1)

    await subject.routing.router.apply(route)

    assert await subject.routing.router.read(name) == route
    assert shares(await subject.call(name, USERS)) == {version: 1.0}


async def test_names_may_be_as_long_as_they_may_be(subject: Subject) -> None:
    old, new = "1." + "0" * 126, "2." + "0" * 126
    name = await on_stable(subject, old, new, length=63)
    await subject.routing.router.apply(Route.split(name, old, new, 100, generation=1))
    assert shares(await subject.call(name, USERS)) == {new: 1.0}


async def test_the_same_route_again_succeeds(subject: Subject, service: str) -> None:
    route = shifted(subject, service, 25, 3)
    first = await subject.routing.router.apply(route)

    assert await subject.routing.router.apply(route) == first
    assert await subject.routing.router.read(service) == route


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(lambda s, name: shifted(s, name, 50, 4), id="smaller generation"),
        pytest.param(lambda s, name: shifted(s, name, 50, 5), id="same generation, other weight"),
        pytest.param(
            lambda s, name: shifted(s, name, 25, 5, "other"), id="same generation, other owner"
        ),
    ],
)
async def test_a_write_that_is_not_newer_is_refused(
    subject: Subject, service: str, late: Callable[[Subject, str], Route]
) -> None:
    applied = shifted(subject, service, 25, 5)
    await subject.routing.router.apply(applied)

    with pytest.raises(StaleGeneration, match="expected a larger one"):
        await subject.routing.router.apply(late(subject, service))

    assert await subject.routing.router.read(service) == applied


async def test_a_late_attempt_puts_no_weight_back_after_a_rollback(
    subject: Subject, service: str
) -> None:
    late = shifted(subject, service, 50, 1)
    await subject.routing.router.apply(late)
    await subject.routing.router.apply(rolled_back(service, 2))

    with pytest.raises(StaleGeneration):
        await subject.routing.router.apply(late)

    assert await subject.routing.router.read(service) == rolled_back(service, 2)
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}


async def test_generations_may_skip(subject: Subject, service: str) -> None:
    await subject.routing.router.apply(shifted(subject, service, 5, 1_000_000))
    await subject.routing.router.apply(rolled_back(service, 2_000_000_000_000))
    assert (await subject.routing.router.read(service)).generation == 2_000_000_000_000


async def test_an_unknown_service_is_an_error_by_name(subject: Subject) -> None:
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.routing.router.read("nobody")
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.routing.router.apply(shifted(subject, "nobody", 5, 1))


@pytest.mark.parametrize("weight", [0.0, 5.0])
async def test_a_version_without_instances_is_an_error_by_name(
    subject: Subject, service: str, weight: float
) -> None:
    before = await subject.routing.router.read(service)
    route = Route.split(service, OLD, "9.9.9", near(subject, weight), generation=1)

    with pytest.raises(UnknownRoute, match=r"9\.9\.9"):
        await subject.routing.router.apply(route)

    assert await subject.routing.router.read(service) == before


async def _until_applied(subject: Subject, route: Route) -> None:
    """As an activity does: on a busy machine the other writer may hold a lock for long."""
    while True:
        with contextlib.suppress(Retryable):
            await subject.routing.router.apply(route)
            return


async def test_writers_of_two_services_do_not_disturb_each_other(subject: Subject) -> None:
    one, two = [await on_stable(subject, OLD, NEW) for _ in range(2)]

    async def climb(name: str) -> None:
        for generation in range(1, 21):
            await _until_applied(subject, shifted(subject, name, generation * 5, generation))

    await asyncio.gather(climb(one), climb(two))

    assert await subject.routing.router.read(one) == shifted(subject, one, 100, 20)
    assert await subject.routing.router.read(two) == shifted(subject, two, 100, 20)
    assert shares(await subject.call(one, USERS[:20])) == {NEW: 1.0}


# --- versions ---


async def test_versions_have_names_that_tell_them_apart(subject: Subject) -> None:
    versions = ("1.1", "11", "1-1", "1_1", "1+1")
    name = await on_stable(subject, *versions)
    names = [await subject.routing.locator.locate(name, version) for version in versions]
    assert len(set(names)) == len(versions)
    assert names == [await subject.routing.locator.locate(name, one) for one in versions], "again"
    if (apart := subject.routing.apart) is not None:
        twins = [await apart.locate_apart(name, one) for one in versions]
        assert len(set(twins)) == len(versions)


async def test_a_version_is_told_of_with_or_without_a_route(subject: Subject) -> None:
    name = subject.put_up(OLD, NEW)
    assert await subject.routing.locator.exists(name, OLD)
    assert await subject.routing.locator.exists(name, NEW)
    assert not await subject.routing.locator.exists(name, "9.9.9")
    assert not await subject.routing.locator.exists("nobody", OLD)
