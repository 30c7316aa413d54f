"""Traefik is told where instances are, with either provider: users, other writers, many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from adapters.errors import Retryable, StillInUse
from adapters.routers.traefik.etcd import EtcdStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.pools import Pool
from adapters.routers.traefik.router import TraefikRouter
from schemas.deployment import Endpoint, Endpoints
from tests.contract.routers.live import free_port
from tests.contract.routers.live_traefik import LiveEtcd
from tests.contract.routers.routes import NEW, OLD, on_route, on_stable, shifted
from tests.contract.routers.subjects import TraefikSubject
from tests.contract.routers.wire import Load

HASTY = Pace(endpoints_within=0.5, answer_within=5.0)
SWAPS = 6
BOTH = pytest.mark.parametrize("traefik", ["traefik-file", "traefik-etcd"], indirect=True)
FILES = pytest.mark.parametrize("traefik", ["traefik-file"], indirect=True)
ETCD = pytest.mark.parametrize("traefik", ["traefik-etcd"], indirect=True)


@pytest.fixture
def traefik(request: pytest.FixtureRequest) -> TraefikSubject:
    """A Traefik with one of its providers."""
    found: TraefikSubject = request.getfixturevalue(f"{request.param}_subject")
    return found


def hasty(traefik: TraefikSubject, client: httpx.AsyncClient, *urls: str) -> TraefikRouter:
    """A router that does not wait for long."""
    can = traefik.routing.capabilities
    apis = urls or (traefik.traefik.api_url,)
    return TraefikRouter(traefik.store, apis, client=client, can=can, pace=HASTY)


@BOTH
async def test_no_request_is_lost_while_instances_come_and_go(traefik: TraefikSubject) -> None:
    service, router = traefik.name(), traefik.router
    there = traefik.instances_of(OLD, 3)
    await router.put_endpoints(service, OLD, there, 1)
    await on_route(traefik, service, OLD)
    async with Load(traefik.traefik.port, service) as load:
        for generation in range(2, 2 + SWAPS):
            await load.until(40)
            some = there[:1] if generation % 2 else there[1:]
            await router.put_endpoints(service, OLD, some, generation)
        await load.until(40)
    assert load.failed == {}


@BOTH
async def test_every_traefik_must_have_read_them(
    traefik: TraefikSubject, client: httpx.AsyncClient
) -> None:
    service = traefik.name()
    there = traefik.instances_of(OLD, 1)
    nobody = f"http://127.0.0.1:{free_port()}"
    both = hasty(traefik, client, traefik.traefik.api_url, nobody)
    with pytest.raises(Retryable, match=f"written but not confirmed .*Traefik at {nobody}"):
        await both.put_endpoints(service, OLD, there, 1)
    await traefik.router.put_endpoints(service, OLD, there, 1)
    assert await traefik.router.endpoints(service) == {
        service: {OLD: Endpoints(endpoints=there, generation=1)}
    }


@FILES
async def test_a_pool_of_somebody_else_that_traefik_takes_instead_is_told(
    traefik: TraefikSubject, client: httpx.AsyncClient
) -> None:
    """Of two files with a service of one name, Traefik takes the one whose name comes first."""
    service = traefik.name()
    (there,) = traefik.instances_of(OLD, 1)
    await traefik.router.put_endpoints(service, OLD, [there], 1)
    port = free_port()
    other = Pool(service=service, version=OLD, servers=(f"http://127.0.0.1:{port}",))
    traefik.traefik.put_first(other)
    traefik.traefik.wait_for(traefik.traefik.pool_path(service, OLD), f":{port}")
    with pytest.raises(Retryable, match=rf"has other servers in {service}_{OLD}@file"):
        await hasty(traefik, client).put_endpoints(service, OLD, [there], 1)


@BOTH
async def test_what_was_told_outlives_traefik_and_its_store_by_hand(
    traefik: TraefikSubject,
) -> None:
    service = await on_stable(traefik, OLD, NEW)
    there = traefik.instances_of(NEW, 2)
    await traefik.router.put_endpoints(service, NEW, there, 4)
    await traefik.router.apply(shifted(traefik, service, 100, 1))
    traefik.traefik.restart()
    await traefik.router.put_endpoints(service, NEW, there, 4)
    with pytest.raises(StillInUse):
        await traefik.router.drop_endpoints(service, NEW, 5)
    assert set((await traefik.call(service, ["a", "b", "c", "d"])).values()) == {NEW}


class Dying(EtcdStore):
    """Its process dies after one write."""

    writes = 0

    async def _ask(self, path: str, question: Mapping[str, Any]) -> dict[str, Any]:
        self.writes += "compare" in question
        if self.writes > 1:
            raise Retryable("died")
        return await super()._ask(path, question)


@ETCD
async def test_more_than_one_transaction_takes_are_made_good_by_the_same_order(
    traefik: TraefikSubject, etcd: LiveEtcd, client: httpx.AsyncClient
) -> None:
    service = traefik.name()
    there = tuple(Endpoint(host="127.0.0.1", port=port) for port in range(20_000, 20_120))
    dying = TraefikRouter(
        Dying([etcd.url], client),
        [traefik.traefik.api_url],
        client=client,
        can=traefik.routing.capabilities,
        pace=HASTY,
    )
    with pytest.raises(Retryable, match="died"):
        await dying.put_endpoints(service, OLD, there, 1)
    await traefik.router.put_endpoints(service, OLD, there, 1)
    await traefik.router.drop_endpoints(service, OLD, 2)
    assert await traefik.router.endpoints(service) == {}
    found = await EtcdStore([etcd.url], client).read_pools(service)
    assert len(found.entries) == 1, "only what was told is left, as the fence"


@BOTH
async def test_two_who_write_pools_of_one_service_lose_nothing(traefik: TraefikSubject) -> None:
    service = traefik.name()
    versions = [f"1.{n}" for n in range(4)]
    there = traefik.instances_of(OLD, 1)
    await asyncio.gather(
        *(traefik.router.put_endpoints(service, version, there, 1) for version in versions)
    )
    assert sorted((await traefik.router.endpoints(service))[service]) == versions
