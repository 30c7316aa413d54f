"""docs/how-to/try-your-services.md, followed literally: a service that is not in Python.

First as a process; then as a container, on a Docker daemon that `--connections` tells of.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from pathlib import Path

import httpx
import pytest
import yaml

from aviary.local import debian, docker, images
from aviary.local.unpacked import unpacked
from tests.e2e.newcomer import Newcomer

pytestmark = pytest.mark.e2e

WENT_BACK = 3
PATIENCE_S = 120.0


async def test_the_how_to_releases_a_service_in_perl(tmp_path: Path) -> None:
    hello = tmp_path / "hello"
    here = Newcomer(
        "how-to/try-your-services.md",
        {".aviary/hello": str(tmp_path / "stack"), "--catalog hello/": f"--catalog {hello}/"},
    )
    hello.mkdir()
    (hello / "hello.pl").write_text(here.block("accept", language="perl"))
    (hello / "catalog.yaml").write_text(here.block("hello.pl", language="yaml"))
    async with here.stack():
        *settings, ask = here.block("curl").splitlines()
        if shutil.which("curl"):
            assert await here.run(*settings, ask.replace("curl", "curl -s")) == (
                0,
                "hello from 1.0.0\n",
            )
        code, output = await here.run(*settings, here.block("release start first"))
        assert code == 0, output
        assert "hello 2.0.0" in output
        code, output = await here.run(*settings, here.block("release start second"))
        assert code == WENT_BACK, output
        explain = "python -m aviary release explain second"
        assert f"`{explain}`" in here.page
        code, output = await here.run(*settings, explain)
        assert code == 0, output
        assert "hello 3.0.0" in output


async def test_the_how_to_releases_it_in_containers(tmp_path: Path) -> None:
    try:
        docker.check_machine()
        tools = await docker.install(debian.cache_folder())
    except (docker.DockerError, debian.DebianError) as error:
        pytest.skip(str(error))
    hello, folder = tmp_path / "hello", docker.host_folder()
    try:
        async with docker.DockerHost(tools, folder / "host") as host:
            here = Newcomer(
                "how-to/try-your-services.md",
                {
                    ".aviary/hello": str(tmp_path / "stack"),
                    "--catalog hello/": f"--connections {hello}/box.yaml --catalog {hello}/",
                    "ssh://me@box.example": f"unix://{host.socket}",
                    "192.0.2.7": host.address,
                    'LocalAddr => "127.0.0.1"': 'LocalAddr => "0.0.0.0"',
                },
            )
            hello.mkdir()
            write_container(here, hello)
            root = unpacked("perl-root", "perl-base", "dash", whole=True)
            await images.import_root(host, root, "debian:bookworm-slim")
            for line in here.block("docker build", language="text").splitlines():
                _, *words = shlex.split(line)
                await host.docker(*words[:-1], hello)
            async with here.stack():
                settings = here.block("curl").splitlines()[:-1]
                assert "hello-1.0.0" in await host.docker("ps", "--format", "{{.Names}}")
                code, output = await here.run(*settings, here.block("release start first"))
                assert code == 0, output
                async with asyncio.timeout(PATIENCE_S):
                    while "hello-1.0.0" in await host.docker("ps", "--format", "{{.Names}}"):  # noqa: ASYNC110 - a daemon is asked
                        await asyncio.sleep(0.5)
                assert await failed(tmp_path / "stack") == 0, "users, as one came and one went"
                code, output = await here.run(*settings, here.block("release start second"))
                assert code == WENT_BACK, output
            assert await host.docker("ps", "--all", "--quiet") == "", "what was put up has ended"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def failed(stack: Path) -> int:
    """How many requests of the stack's users have failed so far."""
    address = json.loads((stack / "addresses.json").read_text())["load"]
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        return int((await client.get(address)).json()["users"]["failed"])


def write_container(here: Newcomer, hello: Path) -> None:
    """All files of the part about containers."""
    (hello / "hello.pl").write_text(here.block("accept", language="perl"))
    (hello / "Dockerfile").write_text(here.block("FROM", language="dockerfile"))
    (hello / "box.yaml").write_text(here.block("box:", language="text"))
    catalog = yaml.safe_load(here.block("hello.pl", language="yaml"))
    catalog |= yaml.safe_load(here.block("kind: docker", language="yaml"))
    catalog["services"]["hello"]["deploy"]["connection"] = "box"
    (hello / "catalog.yaml").write_text(yaml.safe_dump(catalog))
