"""What users get from a real HAProxy: cookies, restarts, reloads, and no failures."""

from __future__ import annotations

import asyncio
import re
import urllib.request

import pytest

from adapters.packs import BUILT_IN
from adapters.routers.haproxy.router import HaproxyRouter
from schemas.judging import render
from schemas.route import Route
from tests.contract.routers.live_haproxy import LiveHaproxy
from tests.contract.routers.routes import on_stable
from tests.contract.routers.subjects import HaproxySubject
from tests.contract.routers.wire import BAD, Caller, Instances, Load
from tests.long import one_in

USERS = [f"user-{number}" for number in range(300)]


def canary(service: str, weight: float, generation: int = 1, version: str = "2") -> Route:
    return Route.split(service, "1", version, weight, generation=generation, owner="shop-1")


@pytest.fixture
async def service(haproxy_subject: HaproxySubject) -> str:
    return await on_stable(haproxy_subject, "1", "2")


async def test_a_user_without_id_is_given_a_cookie_and_stays_from_the_first_request_on(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    async with Caller(haproxy_subject.haproxy.port, service) as caller:
        assert "set-cookie" not in (await caller.get()).headers, "without a canary"
        await haproxy_subject.router.apply(canary(service, 50))
        for _ in range(20):
            first = await caller.get()
            cookie = re.match(r"(aviary-user=[0-9a-f-]+);", first.headers["set-cookie"])
            assert cookie is not None
            again = [await caller.get(cookie=cookie[1]) for _ in range(5)]
            assert {answer.version for answer in again} == {first.version}
            assert not any("set-cookie" in answer.headers for answer in again)


async def test_a_service_is_called_by_its_name_in_every_form(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    for host, status in (
        (f"{service}:8080", 200),
        (f"{service}.local", 200),
        (f"{service.upper()}.local:80", 200),
        (f"{service}.example", 404),
        ("nobody", 404),
    ):
        async with Caller(haproxy_subject.haproxy.port, host) as caller:
            assert (await caller.get()).status == status, host


async def test_the_header_comes_before_the_cookie_and_other_wishes_are_none(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    await haproxy_subject.router.apply(canary(service, 0))
    async with Caller(haproxy_subject.haproxy.port, service) as caller:
        assert (await caller.get(x_canary="never", cookie="canary=always")).version == "1"
        assert (await caller.get(x_canary="perhaps")).version == "1"
        assert (await caller.get(x_canary="perhaps", cookie="canary=always")).version == "2"


async def test_a_canary_without_instances_costs_users_nothing(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    await haproxy_subject.router.apply(canary(service, 100))
    await haproxy_subject.take_down(service, "2")
    async with asyncio.timeout(20):
        while (await haproxy_subject.router.instances(service) or {})["2"].healthy:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert set((await haproxy_subject.call(service, USERS)).values()) == {"1"}
    assert await haproxy_subject.router.requests(service) == {"1": len(USERS), "2": 0}
    async with Caller(haproxy_subject.haproxy.port, service) as caller:
        assert (await caller.get(x_canary="always")).status == 503, "who asks for it gets no other"


async def test_a_killed_haproxy_comes_back_with_the_same_users_on_the_canary(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    await haproxy_subject.router.apply(canary(service, 30))
    before = await haproxy_subject.call(service, USERS)

    haproxy_subject.haproxy.restart()
    for version in ("1", "2"):
        haproxy_subject.haproxy.wait_until_up(service, version)

    assert await haproxy_subject.call(service, USERS) == before
    assert await haproxy_subject.router.read(service) == canary(service, 30)
    assert await haproxy_subject.router.changed(canary(service, 30)) == ""


@pytest.mark.parametrize("is_back", [False, True])
async def test_connections_of_an_old_process_follow_as_well(
    haproxy_subject: HaproxySubject, service: str, *, is_back: bool
) -> None:
    await haproxy_subject.router.apply(canary(service, 100))
    reader, writer = await asyncio.open_connection("127.0.0.1", haproxy_subject.haproxy.port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {service}\r\n\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2"), 5)
        # A request that has begun keeps its connection, and so the old process.
        writer.write(f"GET / HTTP/1.1\r\nhost: {service}\r\n".encode())
        await writer.drain()
        haproxy_subject.haproxy.reload()
        if is_back:
            await haproxy_subject.router.apply(Route.split(service, "1", generation=2))
        writer.write(b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(1) == (b"1" if is_back else b"2")
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("requests", "changes", "reloads"), one_in(2, [(1_000, 12, 2), (100_000, 50, 10)])
)
async def test_changes_and_reloads_cost_users_nothing(
    haproxy_subject: HaproxySubject, service: str, requests: int, changes: int, reloads: int
) -> None:
    haproxy = haproxy_subject.haproxy
    async with Load(haproxy.port, service) as load:
        for generation in range(1, changes + 1):
            weight = (5, 50, 100, 0)[generation % 4]
            await haproxy_subject.router.apply(canary(service, weight, generation))
            if generation % (changes // reloads) == 0:
                await asyncio.to_thread(haproxy.reload)
            await load.until(requests // changes)
    assert load.outcomes.total() >= requests
    assert load.outcomes[200, "1"] > 0
    assert load.outcomes[200, "2"] > 0
    assert load.failed == {}


async def test_a_whole_life_of_a_canary_costs_users_nothing(
    haproxy_subject: HaproxySubject, instances: Instances
) -> None:
    service = await on_stable(haproxy_subject, "1")
    haproxy = haproxy_subject.haproxy
    async with Load(haproxy.port, service) as load:
        haproxy.folder.put_pool(haproxy.pool(service, "2", instances.port("2")))
        await asyncio.to_thread(haproxy.reload)
        await haproxy_subject.router.apply(canary(service, 50, 1))
        await load.until(200)
        await haproxy_subject.router.apply(Route.split(service, "1", generation=2))
        haproxy.folder.drop_pool(service, "2")
        await asyncio.to_thread(haproxy.reload)
        await load.until(100)
    assert load.outcomes[200, "2"] > 0
    assert load.failed == {}


async def test_the_pack_reads_the_exporter(
    haproxy_subject: HaproxySubject, live_haproxy: LiveHaproxy
) -> None:
    version, bad = "2.0.1+build", f"{BAD}-1"
    service = await on_stable(haproxy_subject, version, bad)
    await haproxy_subject.router.apply(Route.split(service, version, bad, 50, generation=1))
    async with Caller(live_haproxy.port, service) as caller:
        answers = [await caller.get(x_user_id=user) for user in USERS]
    failed = sum(answer.status == 500 for answer in answers)
    assert 0 < failed < len(USERS)

    pack = BUILT_IN.load("haproxy")
    text = await asyncio.to_thread(_exported, live_haproxy)
    for one, requests, errors in ((version, len(USERS) - failed, 0), (bad, failed, failed)):
        pool = pack.pool.of(service, one)
        parts = {
            (name, part): _sum(text, render(template, {"service": service, "pool": pool}))
            for name, query in pack.queries.items()
            for part, template in query.parts.items()
        }
        assert parts["errors", "total"] == requests
        assert parts["errors", "bad"] == errors
        assert all(value is not None for value in parts.values()), "each query has a series"
        assert parts["response_errors", "total"] == requests
        assert (parts["latency", "value"] or 0) < 5, "seconds"


async def test_counts_begin_again_with_a_restart(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    await haproxy_subject.call(service, USERS)
    assert (await haproxy_subject.router.requests(service))["1"] == len(USERS)
    haproxy_subject.haproxy.restart()
    haproxy_subject.haproxy.wait_until_up(service, "1")
    assert await haproxy_subject.router.requests(service) == {"1": 0, "2": 0}


def _exported(live: LiveHaproxy) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{live.metrics}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def _sum(text: str, selector: str) -> float | None:
    """What a selector of equal labels finds in an exposition, added up; None: no series."""
    name, _, labels = selector.partition("{")
    wanted = set(labels.rstrip("}").split(","))
    found = [
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(f"{name}{{")
        and wanted <= set(line.partition("{")[2].rpartition("}")[0].split(","))
    ]
    return sum(found) if found else None


def test_the_router_needs_a_socket(live_haproxy: LiveHaproxy) -> None:
    with pytest.raises(ValueError, match="at least one HAProxy"):
        HaproxyRouter(live_haproxy.folder.directory, [])
