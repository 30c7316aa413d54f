"""What every router must do, whoever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from adapters.errors import StaleGeneration, UnknownRoute
from schemas.route import Route
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

USERS = [f"user-{number}" for number in range(400)]


def canary(service: str, weight: float, generation: int, owner: str = "shop-1") -> Route:
    return Route.split(
        service=service,
        stable="1.4.1",
        canary="1.4.2",
        weight=weight,
        generation=generation,
        owner=owner,
    )


def rolled_back(service: str, generation: int) -> Route:
    return Route.split(service=service, stable="1.4.1", generation=generation, owner="shop-1")


@pytest.fixture
async def service(subject: Subject) -> str:
    name = subject.put_up("1.4.1", "1.4.2")
    await subject.router.register(name, "1.4.1")
    return name


async def test_a_new_service_is_wholly_on_stable(subject: Subject, service: str) -> None:
    assert await subject.router.read(service) == Route.split(service=service, stable="1.4.1")


async def test_registering_again_changes_nothing(subject: Subject, service: str) -> None:
    applied = canary(service, 25, 1)
    await subject.router.apply(applied)

    assert await subject.router.register(service, "1.4.1") == applied
    assert await subject.router.read(service) == applied


async def test_registering_a_version_without_pool_is_refused(subject: Subject) -> None:
    name = subject.put_up("1.4.1")
    with pytest.raises(UnknownRoute, match=r"9\.9\.9"):
        await subject.router.register(name, "9.9.9")


async def test_a_pool_is_told_of_with_or_without_a_route(subject: Subject) -> None:
    name = subject.put_up("1.4.1")
    assert await subject.router.exists(name, "1.4.1")
    assert not await subject.router.exists(name, "9.9.9")
    assert not await subject.router.exists("nobody", "1.4.1")


@pytest.mark.parametrize("weight", [0.0, 0.01, 5.0, 33.33, 99.99, 100.0])
async def test_what_was_applied_is_read_back(subject: Subject, service: str, weight: float) -> None:
    route = canary(service, weight, 1, owner="42")

    confirmation = await subject.router.apply(route)

    assert confirmation.route == route
    assert confirmation.mark
    assert await subject.router.read(service) == route


async def test_after_apply_the_traffic_is_as_the_route_says(subject: Subject, service: str) -> None:
    await subject.router.apply(canary(service, 100, 1))
    assert shares(await subject.call(service, USERS)) == {"1.4.2": 1.0}

    await subject.router.apply(rolled_back(service, 2))
    assert shares(await subject.call(service, USERS)) == {"1.4.1": 1.0}


async def test_users_stay_on_the_canary_while_it_grows(subject: Subject, service: str) -> None:
    chosen: set[str] = set()
    for generation, weight in enumerate((5, 20, 50, 100), start=1):
        await subject.router.apply(canary(service, weight, generation))
        got = await subject.call(service, USERS)
        now = {user for user, version in got.items() if version == "1.4.2"}
        assert chosen <= now
        chosen = now
    assert chosen == set(USERS)


async def test_finalizing_is_one_write_like_any_other(subject: Subject, service: str) -> None:
    await subject.router.apply(canary(service, 100, 1))
    final = Route.split(service=service, stable="1.4.2", generation=2, owner="shop-1")

    await subject.router.apply(final)

    assert await subject.router.read(service) == final
    assert shares(await subject.call(service, USERS)) == {"1.4.2": 1.0}


@pytest.mark.parametrize("version", [f"sha256:{'ab' * 32}", "v1.3.0+build.7"])
async def test_any_version_is_a_name_for_the_router(subject: Subject, version: str) -> None:
    name = subject.put_up("1.4.1", version)
    await subject.router.register(name, "1.4.1")
    route = Route.split(service=name, stable="1.4.1", canary=version, weight=100, generation=1)

    await subject.router.apply(route)

    assert await subject.router.read(name) == route
    assert shares(await subject.call(name, USERS)) == {version: 1.0}
    assert await subject.router.requests(name) == {"1.4.1": 0, version: len(USERS)}


async def test_names_may_be_as_long_as_they_may_be(subject: Subject) -> None:
    old, new = "1." + "0" * 126, "2." + "0" * 126
    name = subject.put_up(old, new, length=63)
    await subject.router.register(name, old)
    await subject.router.apply(
        Route.split(service=name, stable=old, canary=new, weight=100, generation=1)
    )
    assert shares(await subject.call(name, USERS)) == {new: 1.0}


async def test_the_same_route_again_succeeds(subject: Subject, service: str) -> None:
    route = canary(service, 25, 3)
    first = await subject.router.apply(route)

    assert await subject.router.apply(route) == first
    assert await subject.router.read(service) == route


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(lambda s: canary(s, 50, 4), id="smaller generation"),
        pytest.param(lambda s: canary(s, 50, 5), id="same generation, other weight"),
        pytest.param(lambda s: canary(s, 25, 5, "other"), id="same generation, other owner"),
    ],
)
async def test_a_write_that_is_not_newer_is_refused(
    subject: Subject, service: str, late: Callable[[str], Route]
) -> None:
    applied = canary(service, 25, 5)
    await subject.router.apply(applied)

    with pytest.raises(StaleGeneration, match="expected a larger one"):
        await subject.router.apply(late(service))

    assert await subject.router.read(service) == applied


async def test_a_late_attempt_puts_no_weight_back_after_a_rollback(
    subject: Subject, service: str
) -> None:
    zombie = canary(service, 50, 1)
    await subject.router.apply(zombie)
    await subject.router.apply(rolled_back(service, 2))

    with pytest.raises(StaleGeneration):
        await subject.router.apply(zombie)

    assert shares(await subject.call(service, USERS)) == {"1.4.1": 1.0}


async def test_generations_may_skip(subject: Subject, service: str) -> None:
    await subject.router.apply(canary(service, 5, 1_000_000))
    await subject.router.apply(rolled_back(service, 2_000_000_000_000))
    assert (await subject.router.read(service)).generation == 2_000_000_000_000


async def test_an_unknown_service_is_an_error_by_name(subject: Subject) -> None:
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.router.read("nobody")
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.router.apply(canary("nobody", 5, 1))
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.router.requests("nobody")


@pytest.mark.parametrize("weight", [0.0, 5.0])
async def test_a_version_without_pool_is_an_error_by_name(
    subject: Subject, service: str, weight: float
) -> None:
    before = await subject.router.read(service)
    route = Route.split(
        service=service, stable="1.4.1", canary="9.9.9", weight=weight, generation=1
    )

    with pytest.raises(UnknownRoute, match=r"9\.9\.9 has no pool"):
        await subject.router.apply(route)

    assert await subject.router.read(service) == before


async def test_writers_of_two_services_do_not_disturb_each_other(subject: Subject) -> None:
    one, two = (subject.put_up("1.4.1", "1.4.2") for _ in range(2))
    for name in (one, two):
        await subject.router.register(name, "1.4.1")

    async def climb(name: str) -> None:
        for generation in range(1, 21):
            await subject.router.apply(canary(name, generation * 5, generation))

    await asyncio.gather(climb(one), climb(two))

    assert await subject.router.read(one) == canary(one, 100, 20)
    assert await subject.router.read(two) == canary(two, 100, 20)
    assert shares(await subject.call(one, USERS[:20])) == {"1.4.2": 1.0}


async def test_of_two_writers_with_one_generation_exactly_one_wins(
    subject: Subject, service: str
) -> None:
    rivals = [canary(service, weight, 1, owner=f"r-{weight}") for weight in (10, 20, 30, 40)]

    results = await asyncio.gather(*map(subject.router.apply, rivals), return_exceptions=True)

    won = [result for result in results if not isinstance(result, BaseException)]
    lost = [result for result in results if isinstance(result, BaseException)]
    assert len(won) == 1
    assert all(isinstance(error, StaleGeneration) for error in lost)
    assert await subject.router.read(service) == won[0].route


async def test_requests_are_counted_where_they_went(subject: Subject, service: str) -> None:
    assert await subject.router.requests(service) == {"1.4.1": 0, "1.4.2": 0}
    await subject.router.apply(canary(service, 30, 1))

    got = await subject.call(service, USERS)

    on_canary = sum(version == "1.4.2" for version in got.values())
    assert await subject.router.requests(service) == {
        "1.4.1": len(USERS) - on_canary,
        "1.4.2": on_canary,
    }


async def test_pools_have_names_that_tell_versions_apart(subject: Subject) -> None:
    versions = ("1.1", "11", "1-1", "1_1", "1+1")
    assert len({await subject.router.locate("a", version) for version in versions}) == 5


# --- instances ---


async def healthy(subject: Subject, service: str) -> dict[str, tuple[int, int]]:
    found = await subject.router.instances(service)
    assert found is not None
    return {version: (one.healthy, one.known) for version, one in found.items()}


async def test_the_healthy_instances_of_each_version_are_known(subject: Subject) -> None:
    name = subject.put_up("1.4.1", "1.4.2")
    assert await healthy(subject, name) == {"1.4.1": (1, 1), "1.4.2": (1, 1)}, "without a route"
    await subject.router.register(name, "1.4.1")
    assert await healthy(subject, name) == {"1.4.1": (1, 1), "1.4.2": (1, 1)}


async def test_instances_that_are_gone_are_not_healthy(subject: Subject) -> None:
    name = subject.put_up("1.4.1", "1.4.2")
    await subject.router.register(name, "1.4.1")
    await subject.router.apply(canary(name, 50, 1))
    await subject.take_down(name, "1.4.1")
    async with asyncio.timeout(20):
        while (await healthy(subject, name))["1.4.1"][0]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    assert (await healthy(subject, name))["1.4.2"] == (1, 1)
    # Going back is done all the same: whether it should be is not the router's to say.
    await subject.router.apply(rolled_back(name, 2))


async def test_nobody_has_no_instances(subject: Subject) -> None:
    assert await subject.router.instances("nobody") == {}
