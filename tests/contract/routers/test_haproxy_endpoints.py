"""HAProxy is told where instances are: reloads, connections that outlive them, and no failures."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import Retryable
from adapters.routers.haproxy.router import HaproxyRouter, Pace
from schemas.deployment import Endpoint
from tests.contract.routers.routes import NEW, OLD, on_route
from tests.contract.routers.subjects import HaproxySubject
from tests.contract.routers.wire import Load


async def test_no_request_is_lost_while_instances_come_and_go(
    haproxy_subject: HaproxySubject,
) -> None:
    service, router = haproxy_subject.name(), haproxy_subject.router
    there = haproxy_subject.instances_of(OLD, 3)
    await router.put_endpoints(service, OLD, there, 1)
    await on_route(haproxy_subject, service, OLD)
    async with Load(haproxy_subject.haproxy.port, service) as load:
        for generation, some in enumerate((there[:1], there[1:], there[:2], there), 2):
            await load.until(40)
            await router.put_endpoints(service, OLD, some, generation)
        await load.until(40)
    assert load.failed == {}


@pytest.mark.parametrize(("were", "stay", "come"), [(2, 0, 2), (2, 1, 0), (1, 0, 2)])
async def test_nothing_begins_any_more_where_instances_went(
    haproxy_subject: HaproxySubject, were: int, stay: int, come: int
) -> None:
    """What goes answers with another version; of 1 and then 2, a connection outlives the reload."""
    service, router = haproxy_subject.name(), haproxy_subject.router
    fresh = haproxy_subject.instances_of(OLD, 3)
    stays, comes = fresh[:stay], fresh[3 - come :]
    gone = haproxy_subject.instances_of(NEW, were)
    await router.put_endpoints(service, OLD, [*gone, *stays], 1)
    await on_route(haproxy_subject, service, OLD)
    reader, writer = await asyncio.open_connection("127.0.0.1", haproxy_subject.haproxy.port)
    try:
        # A request that has begun keeps its connection, and so its process.
        writer.write(f"GET / HTTP/1.1\r\nhost: {service}\r\n".encode())
        await writer.drain()
        before = haproxy_subject.haproxy.worker()
        await router.put_endpoints(service, OLD, [*stays, *comes], 2)
        assert (haproxy_subject.haproxy.worker() != before) == (len(comes) > were)
        writer.write(b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(OLD)) == OLD.encode()
    finally:
        writer.close()
    answers = await haproxy_subject.call(service, [f"u{n}" for n in range(9)])
    assert set(answers.values()) == {OLD}


async def test_instances_that_come_back_need_no_reload(haproxy_subject: HaproxySubject) -> None:
    service, router = haproxy_subject.name(), haproxy_subject.router
    there = haproxy_subject.instances_of(OLD, 3)
    await router.put_endpoints(service, OLD, there, 1)
    await on_route(haproxy_subject, service, OLD)
    before = haproxy_subject.haproxy.worker()
    for generation, some in enumerate((there[2:], there[:2], there), 2):
        await router.put_endpoints(service, OLD, some, generation)
        seen = await router.instances(service)
        assert seen is not None
        assert seen[OLD].known == len(some)
    assert haproxy_subject.haproxy.worker() == before
    haproxy_subject.haproxy.restart()
    haproxy_subject.haproxy.wait_until_up(service, OLD)
    assert set((await haproxy_subject.call(service, ["a", "b"])).values()) == {OLD}


async def test_an_instance_may_be_known_by_a_name(haproxy_subject: HaproxySubject) -> None:
    service, router = haproxy_subject.name(), haproxy_subject.router
    first, second = haproxy_subject.instances_of(OLD, 2)
    named = Endpoint(host="localhost", port=second.port)
    for generation, some in enumerate(([first], [named], [named, first]), 1):
        await router.put_endpoints(service, OLD, some, generation)
        await on_route(haproxy_subject, service, OLD)
        assert set((await haproxy_subject.call(service, ["a", "b"])).values()) == {OLD}


async def test_the_same_again_reloads_nothing(haproxy_subject: HaproxySubject) -> None:
    service, router = haproxy_subject.name(), haproxy_subject.router
    there = haproxy_subject.instances_of(OLD, 1)
    await router.put_endpoints(service, OLD, there, 1)
    before = haproxy_subject.haproxy.worker()
    await router.put_endpoints(service, OLD, there, 1)
    await router.drop_endpoints(service, NEW, 1)
    assert haproxy_subject.haproxy.worker() == before


async def test_versions_that_are_put_at_once_are_all_there(haproxy_subject: HaproxySubject) -> None:
    router = haproxy_subject.router
    names = [haproxy_subject.name() for _ in range(4)]
    there = haproxy_subject.instances_of(OLD, 1)
    await asyncio.gather(*(router.put_endpoints(name, OLD, there, 1) for name in names))
    assert set(await router.endpoints()) >= set(names)
    for name in names:
        assert await router.exists(name, OLD)


async def test_who_has_no_masters_socket_can_not_reload(haproxy_subject: HaproxySubject) -> None:
    haproxy = haproxy_subject.haproxy
    pace = Pace(endpoints_within=0.3)
    router = HaproxyRouter(haproxy.folder.directory, [haproxy.stats], pace=pace)
    service = haproxy_subject.name()
    with pytest.raises(Retryable, match="expected the master's socket"):
        await router.put_endpoints(service, OLD, [Endpoint(host="127.0.0.1", port=9)], 1)
    there = haproxy_subject.instances_of(OLD, 1)
    await haproxy_subject.router.put_endpoints(service, OLD, there, 2)
    await router.put_endpoints(service, OLD, there, 2)
