"""What somebody else has changed is told from what Aviary wrote; every router must do that."""

from __future__ import annotations

import pytest

from adapters.errors import ForeignChange, StaleGeneration
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares


@pytest.fixture
async def applied(subject: Subject) -> Route:
    """A canary that has a little, as its writer believes."""
    service = await on_stable(subject, OLD, NEW)
    route = shifted(subject, service, 10, 1)
    await subject.routing.router.apply(route, over=await subject.routing.router.read(service))
    return route


async def test_a_step_over_what_was_written_is_written(subject: Subject, applied: Route) -> None:
    after = shifted(subject, applied.service, 50, 2)
    assert (await subject.routing.router.apply(after, over=applied)).route == after
    assert await subject.routing.router.read(applied.service) == after


async def test_the_same_step_again_is_no_change_of_somebody_else(
    subject: Subject, applied: Route
) -> None:
    after = shifted(subject, applied.service, 50, 2)
    first = await subject.routing.router.apply(after, over=applied)
    assert await subject.routing.router.apply(after, over=applied) == first


async def test_a_step_over_a_change_by_hand_is_refused_and_says_what_was_found(
    subject: Subject, applied: Route
) -> None:
    assert await subject.routing.changed(applied) == ""
    await subject.change_by_hand(applied.service, 75)
    assert "changed its route" in await subject.routing.changed(applied)

    with pytest.raises(ForeignChange, match=f"{applied.service}: .* changed its route: .*found"):
        await subject.routing.router.apply(shifted(subject, applied.service, 50, 2), over=applied)

    got = shares(await subject.call(applied.service, USERS))
    assert got[NEW] == pytest.approx(0.75, abs=0.15), "nothing was written"


async def test_a_rollback_overrules_a_change_by_hand(subject: Subject, applied: Route) -> None:
    await subject.change_by_hand(applied.service, 75)

    await subject.routing.router.apply(rolled_back(applied.service, 2))

    assert await subject.routing.router.read(applied.service) == rolled_back(applied.service, 2)
    assert shares(await subject.call(applied.service, USERS)) == {OLD: 1.0}


async def test_a_late_step_is_stale_and_no_news_to_anybody(
    subject: Subject, applied: Route
) -> None:
    await subject.routing.router.apply(rolled_back(applied.service, 5))
    assert await subject.routing.changed(applied) == ""
    with pytest.raises(StaleGeneration):
        await subject.routing.router.apply(shifted(subject, applied.service, 50, 2), over=applied)


async def test_a_route_that_another_release_wrote_before_is_not_written_over(
    subject: Subject, applied: Route
) -> None:
    other = Route.split(applied.service, OLD, NEW, near(subject, 25), generation=2, owner="another")
    await subject.routing.router.apply(other)
    with pytest.raises(ForeignChange, match="of another"):
        await subject.routing.router.apply(shifted(subject, applied.service, 50, 3), over=applied)
