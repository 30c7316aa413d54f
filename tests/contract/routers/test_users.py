"""Requests by user, or by bucket of users."""

from __future__ import annotations

from tests.contract.routers.routes import NEW, OLD, USERS, on_stable
from tests.contract.routers.subjects import Subject

CLAIM = "users"


async def test_the_requests_of_users_are_all_requests(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    for _ in range(3):
        await subject.call(service, USERS[:20])
    users = subject.routing.users
    assert users is not None
    counted = await users.requests_by_user(service)
    assert sum(counted.values()) == 60
    assert max(counted.values()) < 60, "of more than one"


async def test_of_a_service_that_nobody_has_called_nothing_is_known(subject: Subject) -> None:
    assert subject.routing.users is not None
    assert await subject.routing.users.requests_by_user("nobody") == {}
