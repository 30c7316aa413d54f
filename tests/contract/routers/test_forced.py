"""A caller asks for a version by header or cookie, whatever the weight, and is not counted."""

from __future__ import annotations

import pytest

from adapters.routers.memory.router import FORCE
from schemas.route import AudienceBy
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "forced"


@pytest.mark.parametrize(("wish", "weight", "version"), [("always", 0, NEW), ("never", 100, OLD)])
async def test_who_asks_for_a_version_gets_it_and_does_not_count(
    subject: Subject, by: AudienceBy, wish: str, weight: float, version: str
) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(shifted(subject, service, weight, 1))

    got = await subject.call(service, USERS[:20], {(by, FORCE[by]): wish})

    assert shares(got) == {version: 1.0}
    if subject.routing.counts is not None:
        assert await subject.routing.counts.requests(service) == {OLD: 0, NEW: 0}


async def test_after_a_rollback_nobody_can_ask_for_the_canary(
    subject: Subject, by: AudienceBy
) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(shifted(subject, service, 50, 1))
    await subject.routing.router.apply(rolled_back(service, 2))
    got = await subject.call(service, USERS[:20], {(by, FORCE[by]): "always"})
    assert shares(got) == {OLD: 1.0}


async def test_without_it_asking_changes_nothing(stranger: Subject, by: AudienceBy) -> None:
    service = await on_stable(stranger, OLD, NEW)
    await stranger.routing.router.apply(shifted(stranger, service, 0, 1))
    got = await stranger.call(service, USERS[:20], {(by, FORCE[by]): "always"})
    assert shares(got) == {OLD: 1.0}
