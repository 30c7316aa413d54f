"""Requests by user, or by bucket of users."""

from __future__ import annotations

from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, shifted
from tests.contract.routers.subjects import Subject

CLAIM = "users"


async def test_the_requests_of_users_are_all_requests_or_a_sample(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    for _ in range(3):
        await subject.call(service, USERS[:200])
    users = subject.routing.users
    assert users is not None
    counted = await users.requests_by_user(service)
    assert {version for versions in counted.values() for version in versions} == {OLD}
    sums = [sum(versions.values()) for versions in counted.values()]
    assert 0 < sum(sums) <= 600
    assert max(sums) < sum(sums), "of more than one"


async def test_a_users_requests_are_of_the_version_that_the_user_got(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(shifted(subject, service, 50, 1))
    got = await subject.call(service, [USERS[0]] * 200)
    assert subject.routing.users is not None
    [counts] = (await subject.routing.users.requests_by_user(service)).values()
    assert set(counts) == {got[USERS[0]]}


async def test_of_a_service_that_nobody_has_called_nothing_is_known(subject: Subject) -> None:
    assert subject.routing.users is not None
    assert await subject.routing.users.requests_by_user("nobody") == {}
