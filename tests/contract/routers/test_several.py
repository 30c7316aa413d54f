"""A Traefik at the edge and an Envoy behind it carry one service, as one router."""

from __future__ import annotations

import httpx
import pytest

from adapters.errors import ForeignChange, Retryable
from adapters.ports import Part, Routing
from adapters.routers.several.router import several
from adapters.routers.traefik import TRAEFIK_FILE
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from schemas.joint_capabilities import joint
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_traefik import LiveTraefik
from tests.contract.routers.routes import NEW, OLD, USERS
from tests.contract.routers.subjects import EnvoySubject, TraefikSubject
from tests.contract.routers.wire import shares


@pytest.fixture
def edge(request: pytest.FixtureRequest) -> TraefikSubject:
    found: TraefikSubject = request.getfixturevalue("traefik-file_subject")
    return found


def as_one(edge: Routing, mesh: Routing) -> Routing:
    parts = [Part("traefik-file", edge), Part("envoy", mesh)]
    can = joint([edge.capabilities, mesh.capabilities])
    return several(parts, can, judged=1, owns=False)


@pytest.fixture
async def service(
    edge: TraefikSubject, envoy_subject: EnvoySubject, traefik_on_files: LiveTraefik
) -> str:
    name = envoy_subject.put_up(OLD, NEW)
    for version in (OLD, NEW):
        traefik_on_files.add_version(name, version)
    routing = as_one(edge.routing, envoy_subject.routing)
    assert routing.registrar is not None
    await routing.router.apply(await routing.registrar.register(name, OLD))
    return name


async def test_one_weight_is_on_both_and_so_is_the_way_back(
    edge: TraefikSubject, envoy_subject: EnvoySubject, service: str
) -> None:
    routing = as_one(edge.routing, envoy_subject.routing)
    route = Route.split(service, OLD, NEW, 100, generation=1, owner="shop-1")
    done = await routing.router.apply(route, over=await routing.router.read(service))
    assert done.mark.startswith("traefik-file=")
    for one in (edge, envoy_subject):
        assert shares(await one.call(service, USERS[:20])) == {NEW: 1.0}
        assert await one.routing.router.read(service) == route
    assert routing.counts is not None
    counts = await routing.counts.requests(service)
    assert counts[NEW] >= 40, "those of both"

    await edge.change_by_hand(service, 50)
    wanted = Route.split(service, OLD, NEW, 50, generation=2, owner="shop-1")
    with pytest.raises(ForeignChange, match=f"traefik-file: {service}: "):
        await routing.router.apply(wanted, over=route)
    assert await envoy_subject.routing.router.read(service) == route

    await routing.router.apply(Route.split(service, OLD, generation=3, owner="shop-1"))
    for one in (edge, envoy_subject):
        assert shares(await one.call(service, USERS[:20])) == {OLD: 1.0}


async def test_a_traefik_that_can_not_be_reached_keeps_envoy_from_nothing(
    edge: TraefikSubject,
    envoy_subject: EnvoySubject,
    file_store: FileStore,
    client: httpx.AsyncClient,
    service: str,
) -> None:
    routing = as_one(edge.routing, envoy_subject.routing)
    route = Route.split(service, OLD, NEW, 100, generation=1, owner="shop-1")
    await routing.router.apply(route)
    dead = TraefikRouter(
        file_store,
        [f"http://127.0.0.1:{free_port()}"],
        client=client,
        can=TRAEFIK_FILE.capabilities,
        pace=Pace(confirm_within=0.2),
    )
    away = as_one(Routing.of(dead, TRAEFIK_FILE.capabilities), envoy_subject.routing)
    back = Route.split(service, OLD, generation=2, owner="shop-1")

    with pytest.raises(Retryable, match=r"^traefik-file: .*; done by envoy$"):
        await away.router.apply(back)

    assert shares(await envoy_subject.call(service, USERS[:20])) == {OLD: 1.0}
    assert (await routing.router.apply(back)).route == back
    assert shares(await edge.call(service, USERS[:20])) == {OLD: 1.0}
