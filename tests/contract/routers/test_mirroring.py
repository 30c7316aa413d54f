"""Requests are copied to another version, whose answers go to nobody and which is not counted."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import Unsupported
from schemas.route import Mirror, Route
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, rolled_back
from tests.contract.routers.subjects import Copying, Subject
from tests.contract.routers.wire import shares

CLAIM = "mirroring"


def _mirrored(service: str, share: float) -> Route:
    return Route.split(service, OLD, generation=1, mirror=Mirror(version=NEW, share=share))


async def copies_of(subject: Copying, service: str, wanted: int) -> int:
    """How many there are, once there are so many; they come after the answer."""
    async with asyncio.timeout(20):
        while (found := (await subject.copies(service)).get(NEW, 0)) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def test_copies_are_sent_and_answered_to_nobody(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = _mirrored(service, 100)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route

    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}

    assert await copies_of(subject, service, len(USERS)) == len(USERS)
    if subject.routing.counts is not None:
        assert await subject.routing.counts.requests(service) == {OLD: len(USERS), NEW: 0}


async def test_a_share_of_the_requests_is_copied(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_mirrored(service, 50))
    await subject.call(service, USERS)
    await copies_of(subject, service, len(USERS) // 4)
    assert (await subject.copies(service))[NEW] < len(USERS) * 3 / 4


async def test_after_a_rollback_nothing_is_copied(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_mirrored(service, 100))
    await subject.routing.router.apply(rolled_back(service, 2))
    await subject.call(service, USERS[:20])
    assert (await subject.copies(service)).get(NEW, 0) == 0


async def test_without_it_the_route_is_refused_by_name(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=rf"{service}: .*mirror to {NEW}: expected none"):
        await stranger.routing.router.apply(_mirrored(service, 10))
    assert await stranger.routing.router.read(service) == before
