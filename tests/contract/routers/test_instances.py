"""Which instances of each version are healthy."""

from __future__ import annotations

import asyncio

from tests.contract.routers.routes import NEW, OLD, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import Mortal, Subject

CLAIM = "instances"


async def healthy(subject: Subject, service: str) -> dict[str, tuple[int, int]]:
    assert subject.routing.instances is not None
    found = await subject.routing.instances.instances(service)
    assert found is not None
    return {version: (one.healthy, one.known) for version, one in found.items()}


async def test_the_healthy_instances_of_each_version_are_known(subject: Mortal) -> None:
    name = subject.put_up(OLD, NEW)
    assert await healthy(subject, name) == {OLD: (1, 1), NEW: (1, 1)}, "without a route"
    routed = await on_stable(subject, OLD, NEW)
    assert await healthy(subject, routed) == {OLD: (1, 1), NEW: (1, 1)}


async def test_instances_that_are_gone_are_not_healthy(subject: Mortal) -> None:
    name = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(shifted(subject, name, 50, 1))
    await subject.take_down(name, OLD)
    async with asyncio.timeout(20):
        while (await healthy(subject, name))[OLD][0]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    assert (await healthy(subject, name))[NEW] == (1, 1)
    # Going back is done all the same: whether it should be is not the router's to say.
    await subject.routing.router.apply(rolled_back(name, 2))


async def test_nobody_has_no_instances(subject: Mortal) -> None:
    assert await healthy(subject, "nobody") == {}
