from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from aviary.local.kubernetes.cluster import Cluster
from aviary.local.parts import MissingPartError, envoy_program, traefik_program
from schemas.route import AudienceBy
from tests.contract.routers.wire import Instances
from tests.kubernetes.routers.istio import IstioSubject, LiveIstio, make_gateway
from tests.kubernetes.routers.objects import Team
from tests.kubernetes.routers.traefik import CLASSES, EDGE, GATEWAYS, GatewaySubject, LiveGateway

_HERE = Path(__file__).parent
_SUITES = {"test_contract.py", "test_contract_counts.py"}
_SHORT = {
    "test_after_apply_the_traffic_is_as_the_route_says",
    "test_any_version_is_a_name_for_the_router[v1.3.0+build.7]",
    "test_names_may_be_as_long_as_they_may_be",
    "test_a_late_attempt_puts_no_weight_back_after_a_rollback",
    "test_of_two_writers_with_one_generation_exactly_one_wins",
    "test_a_rollback_overrules_a_change_by_hand",
    "test_a_share_of_the_audience[cookie]",
    "test_requests_are_counted_where_they_went",
    "test_instances_that_are_gone_are_not_healthy",
}


@pytest.fixture(scope="session")
def cluster(cluster: Cluster) -> Cluster:
    """The cluster of the group, with what routers need of it."""
    # What is cut off in its handshake leaves its socket to the collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(_prepare(cluster))
        gc.collect()
    return cluster


async def _prepare(cluster: Cluster) -> None:
    """Definitions, and namespaces."""
    await cluster.define("gateway-api", "istio")
    for name in ("shop", "istio-system"):
        await cluster.make_namespace(name)


@pytest.fixture(scope="session")
def hosts(cluster: Cluster) -> Iterator[Instances]:
    """Instances on an address that EndpointSlices take."""
    with Instances(str(cluster.network.here)) as running:
        yield running


@pytest.fixture(scope="session")
def team(cluster: Cluster) -> Iterator[Team]:
    """A team in a namespace."""
    made = Team(cluster.kubeconfig, "shop")
    yield made
    made.close()


@pytest.fixture(scope="session")
def traefik(
    cluster: Cluster, team: Team, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveGateway]:
    """One Traefik with one Gateway."""
    try:
        program = traefik_program()
    except MissingPartError as error:
        pytest.skip(str(error))
    live = LiveGateway(program, tmp_path_factory.mktemp("traefik"), cluster.kubeconfig)
    team.make(CLASSES, "traefik", spec={"controllerName": "traefik.io/gateway-controller"})
    team.make(GATEWAYS, EDGE, spec=live.gateway())
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
async def gateway(
    cluster: Cluster, traefik: LiveGateway, team: Team, hosts: Instances
) -> AsyncIterator[GatewaySubject]:
    async with httpx.AsyncClient() as client:
        host = str(cluster.network.here)
        made = GatewaySubject(
            traefik,
            connection=cluster.connection("shop"),
            team=team,
            instances=hosts,
            host=host,
            client=client,
        )
        yield made
        await made.router.aclose()


@pytest.fixture(scope="session")
def live_istio(
    cluster: Cluster, team: Team, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveIstio]:
    """One istiod with one gateway."""
    try:
        envoy = envoy_program()
    except MissingPartError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("istio")
    live = LiveIstio(cluster.tools.istiod, envoy, folder, cluster.kubeconfig, team.namespace)
    make_gateway(team, live)
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
async def istio(
    cluster: Cluster, live_istio: LiveIstio, team: Team, hosts: Instances
) -> AsyncIterator[IstioSubject]:
    async with httpx.AsyncClient(trust_env=False) as client:
        made = IstioSubject(
            live_istio,
            connection=cluster.connection("shop"),
            team=team,
            instances=hosts,
            host=str(cluster.network.here),
            client=client,
        )
        yield made
        await made.router.aclose()


@pytest.fixture
def subject(gateway: GatewaySubject) -> GatewaySubject:
    """What the contract suite is run with here."""
    return gateway


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "by" in metafunc.fixturenames:
        metafunc.parametrize("by", [AudienceBy.HEADER, AudienceBy.COOKIE])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the suite asks of routers that can't do something is no question for this one.

    Of the rest `make acceptance` runs what differs on a real API server, and `make chaos` all.
    """
    items[:] = [one for one in items if "stranger" not in getattr(one, "fixturenames", ())]
    for one in items:
        if _HERE in one.path.parents and one.path.name in _SUITES and one.name not in _SHORT:
            one.add_marker(pytest.mark.long)
