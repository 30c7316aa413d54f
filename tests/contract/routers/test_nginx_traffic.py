"""What users get from a real nginx: a version to stay with, and no failures."""

from __future__ import annotations

import asyncio
import re

import pytest

from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import NginxSubject
from tests.contract.routers.wire import Caller, Load


@pytest.fixture
async def service(nginx_subject: NginxSubject) -> str:
    return await on_stable(nginx_subject, OLD, NEW)


async def test_a_user_without_id_is_given_a_cookie_and_stays(
    nginx_subject: NginxSubject, service: str
) -> None:
    await nginx_subject.router.apply(shifted(nginx_subject, service, 50, 1))
    async with Caller(nginx_subject.nginx.port, service) as caller:
        for _ in range(20):
            first = await caller.get()
            cookie = re.match(r"(aviary-user=[0-9a-f]+);", first.headers["set-cookie"])
            assert cookie is not None
            again = [await caller.get(cookie=f"a=b; {cookie[1]}") for _ in range(5)]
            assert {answer.version for answer in again} == {first.version}
            assert not any("set-cookie" in answer.headers for answer in again)


async def test_nobody_is_given_a_cookie_without_a_canary(
    nginx_subject: NginxSubject, service: str
) -> None:
    async with Caller(nginx_subject.nginx.port, service) as caller:
        assert "set-cookie" not in (await caller.get()).headers


async def test_a_header_is_asked_before_a_cookie(nginx_subject: NginxSubject, service: str) -> None:
    await nginx_subject.router.apply(shifted(nginx_subject, service, 100, 1))
    async with Caller(nginx_subject.nginx.port, service) as caller:
        assert (await caller.get(x_canary="never", cookie="canary=always")).version == OLD
        assert (await caller.get(cookie='b=c; canary="never"')).version == OLD
        assert (await caller.get(x_canary="perhaps")).version == NEW


async def test_a_service_without_a_route_is_not_found(nginx_subject: NginxSubject) -> None:
    async with Caller(nginx_subject.nginx.port, "nobody") as caller:
        assert (await caller.get()).status == 404


async def test_an_instance_that_is_dead_costs_users_nothing(
    nginx_subject: NginxSubject, service: str
) -> None:
    alive = f"127.0.0.1:{nginx_subject.nginx.port_of(NEW)}"
    nginx_subject.put_pool(service, NEW, f"127.0.0.1:{free_port()}", alive)
    await nginx_subject.router.apply(shifted(nginx_subject, service, 100, 1))
    async with Load(nginx_subject.nginx.port, service) as load:
        await load.until(200)
    assert load.failed == {}
    assert load.outcomes[200, NEW] > 0


async def test_shifts_and_other_instances_cost_users_nothing(
    nginx_subject: NginxSubject, service: str
) -> None:
    subject = nginx_subject
    async with Load(subject.nginx.port, service) as load:
        for generation in range(1, 41):
            weight = (5, 50, 100, 0)[generation % 4]
            await subject.router.apply(shifted(subject, service, weight, generation))
            if generation % 10 == 0:
                for version in (OLD, NEW):
                    name = f"{version}-{generation}"
                    subject.put_pool(service, version, f"127.0.0.1:{subject.nginx.port_of(name)}")
            await load.until(5)
    assert load.failed == {}


async def test_reloads_cost_users_nothing_who_connect_for_each_request(
    nginx_subject: NginxSubject, service: str
) -> None:
    """Connections that are kept are broken by a reload, which is nginx' own way."""
    async with Load(nginx_subject.nginx.port, service, headers={"connection": "close"}) as load:
        for generation in range(1, 7):
            weight = (50, 100, 0)[generation % 3]
            await nginx_subject.router.apply(shifted(nginx_subject, service, weight, generation))
            await asyncio.to_thread(nginx_subject.nginx.reload)
            await load.until(20)
    assert load.failed == {}


@pytest.mark.long
async def test_100_000_requests_over_50_changes_and_10_reloads(
    nginx_subject: NginxSubject, service: str
) -> None:
    subject = nginx_subject
    load = Load(subject.nginx.port, service, 16, headers={"connection": "close"}, between=0)
    async with load:
        for generation in range(1, 51):
            weight = (5, 50, 100, 0)[generation % 4]
            await subject.router.apply(shifted(subject, service, weight, generation))
            if generation % 5 == 0:
                await asyncio.to_thread(subject.nginx.reload)
            await load.until(2_000)
    assert load.outcomes.total() >= 100_000
    assert load.failed == {}


async def test_the_audience_is_told_by_the_whole_header(
    nginx_subject: NginxSubject, service: str
) -> None:
    route = Route.model_validate(
        {
            **Route.split(service, OLD, NEW, 100, generation=1).model_dump(),
            "audience": {"any_of": [{"by": "header", "name": "X-Beta", "value": "yes"}]},
        }
    )
    await nginx_subject.router.apply(route)
    async with Caller(nginx_subject.nginx.port, service) as caller:
        assert await caller.users(USERS[:3], **{"x-beta": "yes"}) == dict.fromkeys(USERS[:3], NEW)
        assert await caller.users(USERS[:3], **{"x-beta": "yess"}) == dict.fromkeys(USERS[:3], OLD)
    await nginx_subject.router.apply(rolled_back(service, 2))
