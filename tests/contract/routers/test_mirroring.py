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


def _mirrored(subject: Subject, service: str, share: float) -> Route:
    """Copies as far as the router can leave out what changes something, and mark them."""
    can = subject.routing.capabilities
    writes, unmarked = not can.mirror_reads, not can.mirror_mark
    mirror = Mirror(version=NEW, share=share, writes=writes, unmarked=unmarked)
    return Route.split(service, OLD, generation=1, mirror=mirror)


async def copies_of(subject: Copying, service: str, wanted: int) -> int:
    """How many there are, once there are so many; they come after the answer."""
    async with asyncio.timeout(20):
        while (found := (await subject.copies(service)).get(NEW, 0)) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


async def test_copies_are_sent_and_answered_to_nobody(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = _mirrored(subject, service, 100)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route

    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}

    assert await copies_of(subject, service, len(USERS)) == len(USERS)
    if subject.routing.counts is not None:
        assert await subject.routing.counts.requests(service) == {OLD: len(USERS), NEW: 0}


async def test_a_share_of_the_requests_is_copied(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_mirrored(subject, service, 50))
    await subject.call(service, USERS)
    await copies_of(subject, service, len(USERS) // 4)
    assert (await subject.copies(service))[NEW] < len(USERS) * 3 / 4


async def test_after_a_rollback_nothing_is_copied(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_mirrored(subject, service, 100))
    await subject.routing.router.apply(rolled_back(service, 2))
    await subject.call(service, USERS[:20])
    assert (await subject.copies(service)).get(NEW, 0) == 0


async def test_copies_are_sent_beside_a_canary_without_a_weight(subject: Copying) -> None:
    """As a canary has it that no user sees: who asks for it gets it, and is not counted."""
    service = await on_stable(subject, OLD, NEW)
    mirror = _mirrored(subject, service, 100).mirror
    await subject.routing.router.apply(Route.split(service, OLD, NEW, generation=1, mirror=mirror))
    assert shares(await subject.call(service, USERS[:50])) == {OLD: 1.0}
    await copies_of(subject, service, 50)
    if subject.routing.counts is not None:
        assert (await subject.routing.counts.requests(service))[NEW] == 0


async def test_what_it_cant_keep_out_of_copies_or_mark_is_refused(subject: Copying) -> None:
    service = await on_stable(subject, OLD, NEW)
    can, before = subject.routing.capabilities, await subject.routing.router.read(service)
    plain = Route.split(service, OLD, generation=1, mirror=Mirror(version=NEW, share=10))
    if can.mirror_reads and can.mirror_mark:
        assert (await subject.routing.router.apply(plain)).route == plain
        return
    with pytest.raises(Unsupported, match=rf"mirror to {NEW}: expected one (with|that)"):
        await subject.routing.router.apply(plain)
    assert await subject.routing.router.read(service) == before


async def test_without_it_the_route_is_refused_by_name(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=rf"{service}: .*mirror to {NEW}: expected none"):
        await stranger.routing.router.apply(_mirrored(stranger, service, 10))
    assert await stranger.routing.router.read(service) == before
