"""A user stays with a version while the weight grows, and leaves it as it came."""

from __future__ import annotations

from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, shifted
from tests.contract.routers.subjects import Subject

CLAIM = "sticky"


async def test_users_stay_on_the_canary_while_it_grows(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    chosen: set[str] = set()
    for generation, weight in enumerate((5, 20, 50, 100), start=1):
        await subject.routing.router.apply(shifted(subject, service, weight, generation))
        got = await subject.call(service, USERS)
        now = {user for user, version in got.items() if version == NEW}
        assert chosen <= now
        chosen = now
    assert chosen == set(USERS)


async def test_the_same_users_come_back_when_the_weight_shrinks(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    seen = []
    for generation, weight in enumerate((10, 30, 10), start=1):
        await subject.routing.router.apply(shifted(subject, service, weight, generation))
        seen.append(await subject.call(service, USERS))
    assert seen[0] == seen[2]
    assert seen[0] != seen[1]


async def test_without_it_each_request_of_a_user_is_drawn_anew(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    await stranger.routing.router.apply(shifted(stranger, service, 50, 1))
    got = {version for _ in range(64) for version in (await stranger.call(service, ["a"])).values()}
    assert got == {OLD, NEW}
