"""Images from a real registry that wants to know who asks."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.backoff import doubling
from adapters.deployers.docker.deployer import DockerDeployer
from aviary.local.ports import FreePorts
from schemas.deployment import Trouble
from tests.contract.deployers.docker_host import DockerSubject, answer, build, recipe, texts
from tests.contract.deployers.orders import LONGEST_S, begin, put_up, stop
from tests.contract.deployers.subjects import NEW, new_name, order

PASSWORD = "pass-of-bob"
HASH = "$2y$05$abcdefghijklmnopqrstuu7ho1nGUZE0m1golJwa1RVcRZM7QXj5G"
WEIGHT = 12_000_000


@dataclass
class Registry:
    """Debian's docker-registry, which lets bob in."""

    address: str
    folder: Path

    def config(self, password: str) -> Path:
        """What `docker login` would have left."""
        folder = self.folder / f"config-{len(password)}"
        folder.mkdir(exist_ok=True)
        auth = base64.b64encode(f"bob:{password}".encode()).decode()
        path = folder / "config.json"
        path.write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))
        return path


@pytest.fixture
async def registry(
    docker_deployer_subject: DockerSubject, tmp_path: Path
) -> AsyncIterator[Registry]:
    host = docker_deployer_subject.host
    found = Registry(f"{host.network.here}:{FreePorts().take()}", tmp_path)
    (tmp_path / "htpasswd").write_text(f"bob:{HASH}\n")
    (tmp_path / "registry.json").write_text(
        json.dumps(
            {
                "version": "0.1",
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "images")}},
                "http": {"addr": found.address},
                "auth": {"htpasswd": {"realm": "us", "path": str(tmp_path / "htpasswd")}},
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        host.tools.program("docker-registry"), "serve", str(tmp_path / "registry.json"),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await listening(found.address)
        yield found
    finally:
        process.kill()
        await process.wait()


async def listening(address: str) -> None:
    """Wait until somebody takes connections there."""
    host, _, port = address.rpartition(":")
    for pause in doubling():
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(pause)
        else:
            writer.close()
            return


async def push(
    subject: DockerSubject, registry: Registry, name: str, *, stays: bool = False
) -> str:
    """Have an image in the registry, and not on the host unless it stays there."""
    full = f"{registry.address}/{name}"
    await build(subject.host, full, NEW, weight=WEIGHT)
    config = registry.config(PASSWORD).parent
    await subject.host.docker("--config", config, "push", full)
    if not stays:
        await subject.host.docker("rmi", full)
    return full


def logged_in(subject: DockerSubject, registry: Registry, password: str) -> DockerDeployer:
    connection = subject.connection.model_copy(update={"config_file": registry.config(password)})
    subject._made.append(DockerDeployer(connection, "aviary"))
    return subject._made[-1]


async def test_an_image_is_pulled_and_it_is_told_how_far_that_is(
    docker_deployer_subject: DockerSubject, registry: Registry
) -> None:
    subject, service = docker_deployer_subject, new_name()
    await push(subject, registry, f"{service}:{NEW}")
    deployer = logged_in(subject, registry, PASSWORD)
    made = recipe(image=f"{registry.address}/{service}:{{version}}", pull="missing")
    task, reports = await begin(deployer, order(service, NEW, 1, recipe=made))
    async with asyncio.timeout(LONGEST_S):
        state = await task
    assert await answer(state.endpoints[0]) == NEW
    assert f"pulling {registry.address}/{service}:{NEW}" in texts(reports)
    assert " MB" in texts(reports)


async def test_who_is_not_let_in_is_told_so_without_the_password(
    docker_deployer_subject: DockerSubject, registry: Registry
) -> None:
    subject, service = docker_deployer_subject, new_name()
    await push(subject, registry, f"{service}:{NEW}")
    deployer = logged_in(subject, registry, "another-password")
    made = recipe(image=f"{registry.address}/{service}:{{version}}", pull="missing")
    task, reports = await begin(deployer, order(service, NEW, 1, recipe=made))
    told = await reports.until(lambda state: state.trouble is not None)
    assert told.trouble is Trouble.PULL_FAILED
    assert f"{registry.address}/{service}:{NEW}" in told.text
    assert "unauthorized" in told.text
    assert "another-password" not in texts(reports)
    registry.config("another-password").write_text(registry.config(PASSWORD).read_text())
    async with asyncio.timeout(LONGEST_S):
        assert (await task).ready == 1, "the credentials are read anew"


async def test_a_tag_that_is_not_there_yet_is_waited_for(
    docker_deployer_subject: DockerSubject, registry: Registry
) -> None:
    subject, service = docker_deployer_subject, new_name()
    deployer = logged_in(subject, registry, PASSWORD)
    made = recipe(image=f"{registry.address}/{service}:{{version}}", pull="always")
    task, reports = await begin(deployer, order(service, NEW, 1, recipe=made))
    told = await reports.until(lambda state: state.trouble is not None)
    assert told.trouble is Trouble.IMAGE_MISSING
    assert f"{registry.address}/{service}:{NEW}" in told.text
    await push(subject, registry, f"{service}:{NEW}", stays=True)
    async with asyncio.timeout(LONGEST_S):
        assert (await task).ready == 1


async def test_a_registry_that_is_away_is_told(docker_deployer_subject: DockerSubject) -> None:
    subject, service = docker_deployer_subject, new_name()
    image = f"{subject.host.network.here}:9/{service}:{{version}}"
    made = recipe(image=image, pull="missing")
    task, reports = await begin(subject.deployer(), order(service, NEW, 1, recipe=made))
    told = await reports.until(lambda state: state.trouble is not None)
    assert told.trouble is Trouble.PULL_FAILED
    assert "connection refused" in told.text
    await stop(task)


async def test_an_image_by_its_digest_is_that_image(
    docker_deployer_subject: DockerSubject, registry: Registry
) -> None:
    subject, service = docker_deployer_subject, new_name()
    full = await push(subject, registry, f"{service}:{NEW}")
    config = registry.config(PASSWORD).parent
    await subject.host.docker("--config", config, "pull", full)
    digest = await subject.host.docker("inspect", "-f", "{{index .RepoDigests 0}}", full)
    await subject.host.docker("rmi", full)
    deployer = logged_in(subject, registry, PASSWORD)
    wanted = order(service, NEW, 1, recipe=recipe(pull="missing"), image=digest)
    state = await put_up(deployer, wanted)
    assert await answer(state.endpoints[0]) == NEW
