"""A service with routes in two clusters; an API server that is really away, frozen, or older."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import yaml
from temporalio.testing import WorkflowEnvironment

from adapters.errors import Retryable, UnknownRoute
from adapters.kinds import Shared
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.errors import UnknownKind
from adapters.kubernetes.resources import DEFINITIONS, NAMESPACES, Json
from adapters.ports import Routing
from adapters.routers.istio.form import VIRTUAL_SERVICES
from adapters.routers.kubernetes.names import object_name
from aviary.converter import DATA_CONVERTER
from aviary.kinds import registry
from aviary.local.kubernetes.cluster import Cluster
from aviary.routers import make_router
from schemas.ids import SIGNAL_ROLLBACK
from schemas.release import CanaryPhase, ReleasePhase
from schemas.router_spec import RouterSpec
from tests.contract.deployers.orders import Reports, begin, put_up
from tests.contract.deployers.subjects import NEW, free, names
from tests.kubernetes.routers.objects import Team
from tests.kubernetes.shop import KubernetesSubject
from tests.workflows.conftest import FAST_TIMERS, TEMPORAL
from tests.workflows.kit import World, eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # A request that is cut off as it connects leaves its socket to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMESPACE: Final = "two"
SERVICE: Final = "ledger"
WHERE: Final = ("shop-eu", "shop-us")
ROUTERS: Final = [{"kind": "istio", "connection": name} for name in WHERE]
STRATEGY: Final = {"steps": [10, 50], "bake": "0s", "soak": "1h"}
FROZEN_S: Final = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(cluster: Cluster) -> AsyncIterator[Cluster]:
    """A second cluster, which tests may break."""
    async with Cluster(cluster.tools) as made:
        for one in (cluster, made):
            await one.make_namespace(NAMESPACE)
            await _define(one)
        yield made


async def _define(cluster: Cluster) -> None:
    """VirtualServices alone, of all that Istio defines."""
    client = KubernetesClient(cluster.connection())
    every = cluster.tools.definitions("istio")
    (body,) = (one for one in every if one["spec"]["names"]["kind"] == "VirtualService")
    await client.apply(DEFINITIONS, body, force=True)
    async with asyncio.timeout(120):
        while True:
            try:
                await client.list_all(VIRTUAL_SERVICES, NAMESPACE)
                break
            except UnknownKind:
                await asyncio.sleep(0.1)
    await client.aclose()


@pytest.fixture
def connections(
    cluster: Cluster, other: Cluster, tmp_path: Path
) -> dict[str, KubernetesConnection]:
    """Two contexts of one kubeconfig, each a connection by its name."""
    merged: Json = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": []}
    merged["contexts"] = []
    for name, one in zip(WHERE, (cluster, other), strict=True):
        said = yaml.safe_load(one.kubeconfig.read_text())
        merged["clusters"].append({"name": name, "cluster": said["clusters"][0]["cluster"]})
        merged["users"].append({"name": name, "user": said["users"][0]["user"]})
        context = {"cluster": name, "user": name, "namespace": NAMESPACE}
        merged["contexts"].append({"name": name, "context": context})
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(merged))
    return {
        name: KubernetesConnection(kubeconfig=file, context=name, timeout_s=2) for name in WHERE
    }


@pytest.fixture
def teams(cluster: Cluster, other: Cluster) -> Iterator[list[Team]]:
    made = [Team(one.kubeconfig, NAMESPACE) for one in (cluster, other)]
    yield made
    for one in made:
        one.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """Begun again where it takes longer than the five seconds that its library waits."""
    for last in (False, False, True):
        try:
            server = await WorkflowEnvironment.start_local(
                dev_server_existing_path=str(TEMPORAL),
                data_converter=DATA_CONVERTER,
                dev_server_extra_args=FAST_TIMERS,
            )
            break
        except RuntimeError:
            if last:
                raise
    async with server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def world(
    temporal: WorkflowEnvironment,
    connections: dict[str, KubernetesConnection],
    teams: list[Team],
) -> AsyncIterator[World]:
    """Aviary, whose services have a VirtualService in each cluster."""
    made: dict[RouterSpec, Routing] = {}
    async with httpx.AsyncClient() as http:
        here = World(temporal.client)
        here.connections = connections

        def router_for(spec: RouterSpec) -> Routing:
            if spec not in made:
                made[spec] = make_router(spec, registry(), connections, Shared(http=http))
            return made[spec]

        here.router_for = router_for
        for team in teams:
            _have(team, here.service(SERVICE))
        each = [RouterSpec.model_validate(one) for one in ROUTERS]
        for one in each:
            registrar = router_for(one).registrar
            assert registrar is not None
            await registrar.register(here.service(SERVICE), "0")
        async with here.working():
            yield here
        for routing in made.values():
            await routing.router.aclose()


def _have(team: Team, service: str) -> None:
    """Its VirtualService, and the Services of three versions; nobody sends requests there."""
    for version in ("0", "1", "2"):
        name = object_name(service, version)
        team.make_version(service, version, (name,), "10.255.0.1", 8080)
    to = {"host": service, "port": {"number": 80}}
    spec: Json = {"hosts": [f"{service}.test"], "http": [{"route": [{"destination": to}]}]}
    team.make(VIRTUAL_SERVICES, service, spec=spec)


def weights(team: Team, service: str) -> dict[str, int]:
    """Of the last route, by the Service."""
    route = team.get(VIRTUAL_SERVICES, service)["spec"]["http"][-1]["route"]
    return {one["destination"]["host"]: one.get("weight", 100) for one in route}


def told(status: Any) -> str:
    found = status.waits_for
    assert isinstance(found, str)
    return found


async def test_a_rollback_goes_to_all_and_the_cluster_that_is_away_is_named_and_tried_for_ever(
    world: World, teams: list[Team], other: Cluster
) -> None:
    name = world.service(SERVICE)
    old, new = object_name(name, "0"), object_name(name, "2")
    defaults = {"router": ROUTERS}
    release = await world.release({SERVICE: []}, strategy=STRATEGY, defaults=defaults)
    await release.until(ledger="holding")
    assert [weights(team, name)[new] for team in teams] == [100, 100]

    await other.stop("apiserver")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await eventually(lambda: weights(teams[0], name).get(old) == 100)
    await release.until(ledger="stuck")

    async def names_it() -> bool:
        found = told(await release.canary_status(SERVICE))
        return "istio (shop-us): " in found and "done by istio (shop-eu)" in found

    await eventually(names_it)
    status = await release.canary_status(SERVICE)
    assert status.phase is CanaryPhase.STUCK
    assert other.server.removeprefix("https://") in told(status)

    await other.start("apiserver")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert [weights(team, name).get(new, 0) for team in teams] == [0, 0]


async def test_an_api_server_that_stands_still_holds_a_step_up_and_no_longer(
    world: World, teams: list[Team], other: Cluster
) -> None:
    name = world.service(SERVICE)
    new = object_name(name, "2")
    world.judge.blocked.add((name, 10))
    strategy = {"steps": [10, 50], "bake": "1m", "soak": "0s"}
    defaults = {"router": ROUTERS}
    release = await world.release({SERVICE: []}, strategy=strategy, defaults=defaults)
    await release.until(ledger="baking")
    assert [weights(team, name)[new] for team in teams] == [10, 10]
    server = other.supervisor.children["apiserver"]
    server.signal(signal.SIGSTOP)
    try:
        world.judge.blocked.clear()
        await release.until(ledger="shifting")
        await asyncio.sleep(FROZEN_S)  # as long as one attempt may take
        assert (await release.canary_status(SERVICE)).phase is CanaryPhase.SHIFTING
        assert weights(teams[0], name)[new] == 10, "all are asked before one is written"
    finally:
        server.signal(signal.SIGCONT)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert [weights(team, name)[new] for team in teams] == [100, 100]


async def test_a_version_is_put_up_though_the_api_server_was_stopped_and_stood_still(
    other: Cluster, tmp_path: Path
) -> None:
    subject = KubernetesSubject(other, NAMESPACE, tmp_path)
    deployer = subject.deployer()
    state = await put_up(deployer, subject.wanted("outage", NEW, 1, 1))
    wanted = subject.wanted("outage", NEW, 2, 3)
    await other.stop("apiserver")
    with pytest.raises(Retryable):
        await deployer.put_up(wanted, Reports())
    answers = [await subject.answer(one) for one in state.endpoints]
    assert answers == [NEW], "pods go on"
    await other.start("apiserver")
    task, _ = await begin(deployer, wanted)
    server = other.supervisor.children["apiserver"]
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_S)
    server.signal(signal.SIGCONT)
    grown = await asyncio.wait_for(task, 120)
    assert grown.ready == 3
    assert names(state.instances) < names(grown.instances)
    await deployer.take_down("outage", NEW, 3, free)
    await subject.clean()


async def test_a_definition_of_another_version_is_told_by_its_name(other: Cluster) -> None:
    client = KubernetesClient(other.connection(NAMESPACE))
    found = await client.get(DEFINITIONS, "virtualservices.networking.istio.io")
    assert found is not None
    versions = found["spec"]["versions"]
    for one in versions:
        one["served"] = one["name"] != "v1"
    await client.patch(DEFINITIONS, found["metadata"]["name"], {"spec": {"versions": versions}})
    assert await client.get(NAMESPACES, NAMESPACE) is not None
    spec = RouterSpec.model_validate({"kind": "istio", "connection": "us"})
    async with httpx.AsyncClient() as http:
        connection = other.connection(NAMESPACE)
        routing = make_router(spec, registry(), {"us": connection}, Shared(http=http))
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(UnknownRoute, Retryable):  # served for a moment more
                    with pytest.raises(UnknownKind, match=r"another version .*istio\.io/v1/"):
                        await routing.router.read("ledger")
                    break
                await asyncio.sleep(0.1)
        await routing.router.aclose()
    await client.aclose()
