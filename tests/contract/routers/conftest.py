from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from adapters.routers.alb.client import Elb
from adapters.routers.alb.router import AlbRouter
from adapters.routers.alb.router import Pace as AlbPace
from adapters.routers.caddy.router import Pace as CaddyPace
from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.router import Pace as EnvoyPace
from adapters.routers.gateway_api import GATEWAY_API
from adapters.routers.haproxy.router import HaproxyRouter
from adapters.routers.istio import ISTIO
from adapters.routers.memory.router import FORCE
from adapters.routers.nginx.router import NginxRouter
from adapters.routers.traefik import TRAEFIK_ETCD, TRAEFIK_FILE
from adapters.routers.traefik.etcd import EtcdStore
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from adapters.routers.traefik.store import Store
from aviary.local.debian import DebianError
from aviary.local.npm import NpmError
from aviary.local.parts import MissingPartError, caddy_program, envoy_program, traefik_program
from schemas.route import AudienceBy
from tests.contract.outside import OUTSIDE, capabilities_of, outside
from tests.contract.routers.claims import EVERY, claimed
from tests.contract.routers.coarse import CoarseGateway
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.live_ads import AdsEnvoy, LiveControlPlane
from tests.contract.routers.live_alb import LiveAlb
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.live_haproxy import LiveHaproxy, haproxy_root
from tests.contract.routers.live_nginx import LiveNginx, nginx_root
from tests.contract.routers.live_traefik import (
    EtcdPools,
    FilePools,
    LiveEtcd,
    LiveTraefik,
)
from tests.contract.routers.live_unleash import LiveUnleash
from tests.contract.routers.served import running
from tests.contract.routers.subjects import (
    SUBJECTS,
    AlbSubject,
    CaddySubject,
    CoarseSubject,
    EnvoySubject,
    ExampleSubject,
    FlagdSubject,
    HaproxySubject,
    MemorySubject,
    MeshSubject,
    NginxSubject,
    SeveralSubject,
    Subject,
    TraefikSubject,
    UnleashSubject,
)
from tests.contract.routers.wire import Instances

_HERE: Final = Path(__file__).parent
PATIENT_ENVOY: Final = EnvoyPace(confirm_within=20.0, endpoints_within=20.0, answer_within=5.0)
_OFTEN: Final = frozenset({"memory", "several", "coarse", "example", "envoy", OUTSIDE})
"""Routers that `make test` asks, and not only `make acceptance`."""
_SELDOM: Final = frozenset({"envoy-ads", "traefik-etcd", "unleash"})
"""Routers that are another of the suite's but for how a route gets there, or that are slow."""
_OF_THEM: Final = frozenset(
    {
        "test_a_late_attempt_puts_no_weight_back_after_a_rollback",
        "test_a_rollback_overrules_a_change_by_hand",
        "test_a_share_of_the_audience",
        "test_a_step_over_a_change_by_hand_is_refused_and_says_what_was_found",
        "test_a_version_that_was_put_takes_requests",
        "test_a_write_that_is_not_newer_is_refused",
        "test_after_apply_the_traffic_is_as_the_route_says",
        "test_any_version_is_a_name_for_the_router",
        "test_names_may_be_as_long_as_they_may_be",
        "test_no_route_changes",
        "test_of_two_writers_with_one_generation_exactly_one_wins",
        "test_requests_are_counted_where_they_went",
        "test_writers_of_two_services_do_not_disturb_each_other",
    }
)


def _or_skip(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except (DebianError, MissingPartError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def instances() -> Iterator[Instances]:
    with Instances() as running:
        yield running


@pytest.fixture(scope="session")
def binary() -> Path:
    """Envoy's program."""
    return _or_skip(envoy_program)


@pytest.fixture(scope="module")
def envoy(
    binary: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveEnvoy]:
    """One Envoy for the tests of a module; each test has services of its own."""
    live = LiveEnvoy(binary, tmp_path_factory.mktemp("envoy"), instances)
    with running(live):
        yield live


@pytest.fixture(scope="session")
def haproxy_packages() -> Path:
    """Where HAProxy is unpacked."""
    return _or_skip(haproxy_root)


@pytest.fixture(scope="module")
def live_haproxy(
    haproxy_packages: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveHaproxy]:
    """One HAProxy for the tests of a module; each test has services of its own."""
    live = LiveHaproxy(haproxy_packages, tmp_path_factory.mktemp("haproxy"), instances)
    with running(live):
        yield live


@pytest.fixture(scope="session")
def caddy_binary() -> Path:
    """Caddy's program."""
    return _or_skip(caddy_program)


@pytest.fixture(scope="module")
def live_caddy(
    caddy_binary: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveCaddy]:
    """One Caddy for the tests of a module; each test has services of its own."""
    live = LiveCaddy(caddy_binary, tmp_path_factory.mktemp("caddy"), instances)
    try:
        with running(live):
            yield live
    finally:
        live.clean()


@pytest.fixture
async def caddy_subject(live_caddy: LiveCaddy) -> AsyncIterator[CaddySubject]:
    pace = CaddyPace(confirm_within=20.0, answer_within=5.0, load_within=20.0, lock_within=5.0)
    router = live_caddy.router(pace)  # the machine may be busy
    yield CaddySubject(live_caddy, router)
    await router.aclose()


@pytest.fixture(scope="session")
def traefik_binary() -> Path:
    """Traefik's program."""
    return _or_skip(traefik_program)


@pytest.fixture(scope="module")
def traefik_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the file provider watches."""
    return tmp_path_factory.mktemp("traefik")


@pytest.fixture(scope="module")
def traefik_on_files(
    traefik_binary: Path,
    traefik_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    instances: Instances,
) -> Iterator[LiveTraefik]:
    """One Traefik with routes in files for the tests of a module."""
    flags = [f"--providers.file.directory={traefik_folder}", "--providers.file.watch=true"]
    pools = FilePools(traefik_folder)
    folder = tmp_path_factory.mktemp("log")
    live = LiveTraefik(traefik_binary, folder, instances, provider="file", flags=flags, pools=pools)
    with running(live):
        yield live


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEtcd]:
    """One etcd for the tests of a module."""
    live = LiveEtcd(tmp_path_factory.mktemp("etcd"))
    with running(live):
        yield live


@pytest.fixture(scope="module")
def traefik_on_etcd(
    traefik_binary: Path,
    etcd: LiveEtcd,
    tmp_path_factory: pytest.TempPathFactory,
    instances: Instances,
) -> Iterator[LiveTraefik]:
    """One Traefik with routes in etcd for the tests of a module."""
    etcd.put({"http/middlewares/none/headers/customRequestHeaders/none": ""})  # or it waits
    flags = [f"--providers.etcd.endpoints=127.0.0.1:{etcd.port}"]
    folder = tmp_path_factory.mktemp("log")
    pools = EtcdPools(etcd)
    live = LiveTraefik(traefik_binary, folder, instances, provider="etcd", flags=flags, pools=pools)
    with running(live):
        yield live


@pytest.fixture
def file_store(traefik_folder: Path) -> FileStore:
    return FileStore(traefik_folder)


@pytest.fixture
async def etcd_store(etcd: LiveEtcd) -> AsyncIterator[EtcdStore]:
    async with httpx.AsyncClient() as opened:
        yield EtcdStore([etcd.url], opened)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


@pytest.fixture
def envoy_subject(envoy: LiveEnvoy, client: httpx.AsyncClient) -> EnvoySubject:
    router = EnvoyRouter(
        envoy.fleet.directory, [envoy.admin_url], client=client, pace=PATIENT_ENVOY
    )
    return EnvoySubject(envoy, router)


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveControlPlane]:
    """One control plane of Envoys for the tests of a module."""
    directory = tmp_path_factory.mktemp("fleet") / "fleet"
    EnvoyFleet(directory).bootstrap(free_port(), free_port())
    with running(LiveControlPlane(directory)) as live:
        yield live


@pytest.fixture(scope="module")
def ads_envoy(
    binary: Path, control_plane: LiveControlPlane, instances: Instances
) -> Iterator[AdsEnvoy]:
    """One Envoy without the folder, for the tests of a module."""
    live = AdsEnvoy(binary, control_plane.directory, instances, control_plane.port)
    with running(live):
        yield live


@pytest.fixture(name="envoy-ads_subject")
def envoy_ads_subject(ads_envoy: AdsEnvoy, client: httpx.AsyncClient) -> EnvoySubject:
    router = EnvoyRouter(
        ads_envoy.fleet.directory, [ads_envoy.admin_url], client=client, pace=PATIENT_ENVOY
    )
    return EnvoySubject(ads_envoy, router)


@pytest.fixture(scope="session")
def nginx_packages() -> Path:
    """Where nginx is unpacked."""
    return _or_skip(nginx_root)


@pytest.fixture(scope="module")
def nginx(
    nginx_packages: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveNginx]:
    """One nginx for the tests of a module; each test has services of its own."""
    live = LiveNginx(nginx_packages, tmp_path_factory.mktemp("nginx"), instances)
    with running(live):
        yield live


@pytest.fixture
async def nginx_subject(nginx: LiveNginx) -> AsyncIterator[NginxSubject]:
    router = NginxRouter([nginx.control])
    yield NginxSubject(nginx, router)
    await router.aclose()


@pytest.fixture
def haproxy_subject(live_haproxy: LiveHaproxy) -> HaproxySubject:
    folder = live_haproxy.folder.directory
    return HaproxySubject(live_haproxy, HaproxyRouter(folder, [live_haproxy.master]))


@pytest.fixture(name="traefik-file_subject")
def traefik_file_subject(
    traefik_on_files: LiveTraefik, file_store: FileStore, client: httpx.AsyncClient
) -> TraefikSubject:
    return _traefik(traefik_on_files, file_store, client)


@pytest.fixture(name="traefik-etcd_subject")
def traefik_etcd_subject(
    traefik_on_etcd: LiveTraefik, etcd_store: EtcdStore, client: httpx.AsyncClient
) -> TraefikSubject:
    return _traefik(traefik_on_etcd, etcd_store, client)


def _traefik(live: LiveTraefik, store: Store, client: httpx.AsyncClient) -> TraefikSubject:
    can = TRAEFIK_FILE if store.provider == "file" else TRAEFIK_ETCD
    pace = Pace(
        confirm_within=20.0, endpoints_within=20.0, answer_within=5.0
    )  # the machine may be busy
    router = TraefikRouter(store, [live.api_url], client=client, can=can.capabilities, pace=pace)
    return TraefikSubject(live, store, router)


@pytest.fixture
async def coarse_subject(client: httpx.AsyncClient) -> AsyncIterator[CoarseSubject]:
    async with CoarseGateway() as gateway:
        yield CoarseSubject(gateway, client)


@pytest.fixture
def memory_subject() -> MemorySubject:
    return MemorySubject()


@pytest.fixture(scope="session")
def alb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAlb]:
    """One server for all tests; each test has services of its own."""
    live = LiveAlb(tmp_path_factory.mktemp("alb"))
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
async def alb_subject(alb: LiveAlb) -> AsyncIterator[AlbSubject]:
    pace = AlbPace(confirm_within=20.0, poll_every=0.05)  # the machine may be busy
    can = SUBJECTS["alb"]
    router = AlbRouter(Elb(alb.client), alb.listeners, can=can, pace=pace)
    yield AlbSubject(alb, router)
    await router.aclose()


@pytest.fixture
def several_subject() -> SeveralSubject:
    return SeveralSubject()


@pytest.fixture
def gateway_api_subject() -> MeshSubject:
    return MeshSubject("HTTPRoute", GATEWAY_API.capabilities)


@pytest.fixture
def istio_subject() -> MeshSubject:
    return MeshSubject("VirtualService", ISTIO.capabilities)


@pytest.fixture
def example_subject(tmp_path: Path) -> ExampleSubject:
    return ExampleSubject(tmp_path)


@pytest.fixture
def flagd_subject(tmp_path: Path) -> FlagdSubject:
    return FlagdSubject(tmp_path)


@pytest.fixture(scope="session")
def live_unleash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveUnleash]:
    """One Unleash for all tests; each test has flags of its own."""
    try:
        live = LiveUnleash(tmp_path_factory.mktemp("unleash"))
    except (DebianError, NpmError) as error:
        pytest.skip(str(error))
    with running(live):
        yield live


@pytest.fixture
async def unleash_subject(live_unleash: LiveUnleash) -> AsyncIterator[UnleashSubject]:
    subject = UnleashSubject(live_unleash)
    yield subject
    await subject.routing.router.aclose()


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """A router that claims what the module is about; every router where it is about the core."""
    found: Subject = request.getfixturevalue(f"{request.param}_subject")
    return found


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Subject:
    """A router that does not claim it: what it must refuse."""
    found: Subject = request.getfixturevalue(f"{request.param}_subject")
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module of the suite with the routers that claim what it is about (`CLAIM`)."""
    claim: str | None = getattr(metafunc.module, "CLAIM", None)
    named = outside(metafunc.config)
    subjects = SUBJECTS if named is None else {OUTSIDE: capabilities_of(named)}
    for fixture, wanted in (("subject", True), ("stranger", False)):
        if fixture not in metafunc.fixturenames:
            continue
        if "by" in metafunc.fixturenames:
            pairs = [
                (name, by)
                for name, can in subjects.items()
                for by in (FORCE if claim == "forced" else AudienceBy)
                if (f"{claim} by {by}" in claimed(can)) is wanted
            ]
            metafunc.parametrize((fixture, "by"), pairs, indirect=[fixture])
        else:
            names = [
                name
                for name, can in subjects.items()
                if ((claim is None or claim in claimed(can)) is wanted)
            ]
            metafunc.parametrize(fixture, names, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what is run when.

    `make test` asks those of `_OFTEN`, `make acceptance` the others: of some what differs from
    all others, and `make chaos` all.
    """
    for one in items:
        callspec = getattr(one, "callspec", None)
        if callspec is None or one.path.parent != _HERE:
            continue
        asked = callspec.params.get("subject")
        if asked in _SELDOM and one.name.partition("[")[0] not in _OF_THEM:
            one.add_marker(pytest.mark.long)
        if {asked, callspec.params.get("stranger")} - _OFTEN - {None}:
            one.add_marker(pytest.mark.acceptance)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what was not run, for it was not claimed."""
    named = outside(terminalreporter.config)
    subjects = SUBJECTS if named is None else {OUTSIDE: capabilities_of(named)}
    terminalreporter.section("router contract: claims")
    for name, can in subjects.items():
        without = ", ".join(sorted(EVERY - claimed(can))) or "nothing"
        counted = f"{len(claimed(can))} of {len(EVERY)}"
        terminalreporter.line(f"{name}: {counted}; refuses, and is not asked for: {without}")
