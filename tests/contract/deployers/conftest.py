from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from adapters.ports import Deployer
from aviary.local.docker import DockerError, DockerHost
from tests.contract.deployers.docker_host import DockerSubject, build, docker_tools, host_folder
from tests.contract.deployers.processes import ProcessSubject
from tests.contract.deployers.subjects import NEW, OLD, RUNNERS, SUBJECTS, MemorySubject, Subject
from tests.contract.outside import OUTSIDE, outside


@pytest.fixture
def memory_deployer_subject() -> MemorySubject:
    return MemorySubject()


@pytest.fixture
async def process_deployer_subject(tmp_path: Path) -> AsyncIterator[ProcessSubject]:
    async with httpx.AsyncClient() as client:
        made = ProcessSubject(tmp_path, client, range(21_000, 25_000))
        yield made
        made.stop()


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Every deployer; in a module with `CLAIM = "runs"`, those that run commands."""
    found: Subject = request.getfixturevalue(f"{request.param}_deployer_subject")
    return found


@pytest.fixture
async def deployer(subject: Subject) -> AsyncIterator[Deployer]:
    made = subject.deployer()
    yield made
    await made.aclose()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with every deployer that claims what its module is about.

    Docker is in `make acceptance`.
    """
    if "subject" in metafunc.fixturenames:
        runs = getattr(metafunc.module, "CLAIM", "") == "runs"
        names: Sequence[str] = RUNNERS if runs else SUBJECTS
        if (named := outside(metafunc.config)) is not None:
            names = (OUTSIDE,) if hasattr(named, "runner") or not runs else ()
        marks = {"docker": [pytest.mark.acceptance]}
        subjects = [pytest.param(name, marks=marks.get(name, [])) for name in names]
        metafunc.parametrize("subject", subjects, indirect=True)


@pytest.fixture(scope="session")
def docker_host() -> Iterator[DockerHost]:
    """One daemon for all tests that do not break it."""
    with asyncio.Runner() as runner, host_folder() as folder:
        host = DockerHost(runner.run(docker_tools()), folder)
        try:
            runner.run(host.__aenter__())
        except DockerError as error:
            pytest.skip(str(error))
        try:
            for version in (OLD, NEW):
                runner.run(build(host, f"shop:{version}", version))
            yield host
        finally:
            runner.run(host.remove())


@pytest.fixture
async def docker_deployer_subject(
    docker_host: DockerHost, tmp_path: Path
) -> AsyncIterator[DockerSubject]:
    subject = DockerSubject(docker_host, tmp_path)
    tmp_path.chmod(0o777)
    yield subject
    await subject.clean()
