"""A real Docker daemon for tests, with tiny images: busybox, and a page that says the version."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.deployer import DockerDeployer
from aviary.local import debian, docker
from aviary.local.debian import DebianError
from aviary.local.docker import DockerError, DockerHost, DockerTools, check_machine, install
from schemas.deployment import Endpoint, Instance, Trouble, WantedVersion
from tests.contract.deployers.subjects import NEW, OLD, OWNER, order

PORT: Final = 8080
_APPLETS: Final = ("sh", "httpd", "sleep", "cat", "echo", "test", "true", "false", "ls")
_SERVE: Final = ["httpd", "-f", "-p", str(PORT), "-h", "/www"]


@contextmanager
def host_folder() -> Iterator[Path]:
    """Where a daemon has its disk: not below pytest's, which would remove what is mounted there."""
    folder = docker.host_folder()
    try:
        yield folder / "host"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def docker_tools() -> DockerTools:
    """The programs; skips where they can't be had or run."""
    try:
        check_machine()
        return await install(debian.cache_folder())
    except (DockerError, DebianError) as error:
        pytest.skip(str(error))


def image(tools: DockerTools, version: str, *, weight: int = 0) -> bytes:
    """The files of an image, as a tar: `docker import` makes one of them.

    Args:
        tools: has busybox.
        version: that its page says.
        weight: bytes of something that does not compress well.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for folder in ("bin", "tmp", "www", "flags"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            archive.addfile(entry)
        _add(archive, "bin/busybox", tools.program("busybox").read_bytes(), 0o755)
        for applet in _APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
        _add(archive, "www/index.html", version.encode(), 0o644)
        if weight:
            _add(archive, "weight", os.urandom(weight), 0o644)
    return content.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


async def build(host: DockerHost, name: str, version: str, *, weight: int = 0) -> None:
    """Make an image on a host that serves a page with its version."""
    await host.docker(
        "import", "--change", _cmd(), "--change", "ENV PATH=/bin", "-", name,
        stdin=image(host.tools, version, weight=weight),
    )  # fmt: skip


def _cmd() -> str:
    words = ", ".join(f'"{word}"' for word in _SERVE)
    return f"CMD [{words}]"


async def answer(endpoint: Endpoint, path: str = "/") -> str:
    """What an instance answers; empty where nobody does."""
    timeout = aiohttp.ClientTimeout(total=3)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{endpoint}{path}") as found,
        ):
            return await found.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""


def recipe(**more: Any) -> dict[str, Any]:
    """One that is ready soon and ends at once."""
    return {
        "image": "shop:{version}",
        "pull": "never",
        "port": PORT,
        "init": True,
        "stop_grace": "2s",
        "probe": {"path": "/", "timeout": "2s"},
        **more,
    }


class DockerSubject:
    """The deployer for Docker, on a daemon of its own."""

    remembers = True
    troubles = frozenset(
        {
            Trouble.IMAGE_MISSING,
            Trouble.PULL_FAILED,
            Trouble.CRASH_LOOP,
            Trouble.OUT_OF_MEMORY,
            Trouble.PROBE_FAILED,
            Trouble.NAME_TAKEN,
            Trouble.WRONG_RECIPE,
        }
    )

    def __init__(self, host: DockerHost, flags: Path) -> None:
        self.host = host
        self._flags = flags
        self._made: list[DockerDeployer] = []

    @property
    def connection(self) -> DockerConnection:
        return DockerConnection(host=f"unix://{self.host.socket}", address=self.host.address)

    def deployer(self, owner: str = OWNER) -> DockerDeployer:
        self._made.append(DockerDeployer(self.connection, owner))
        return self._made[-1]

    def runner(self, owner: str = OWNER) -> DockerDeployer:
        return self.deployer(owner)

    def wanted(
        self,
        service: str,
        version: str,
        generation: int,
        instances: int = 1,
        *,
        trouble: Trouble | None = None,
        config: dict[str, str] | None = None,
    ) -> WantedVersion:
        flag = f"/flags/{service}"
        until = f"test -e {flag} ||"
        serve = f"exec {' '.join(_SERVE)}"
        troubled: dict[Trouble | None, dict[str, Any]] = {
            None: {},
            Trouble.IMAGE_MISSING: {"image": f"{service}:{{version}}"},
            Trouble.PULL_FAILED: {"image": f"{service}:{{version}}", "pull": "missing"},
            Trouble.CRASH_LOOP: {
                "command": ["sh", "-c", f"{until} {{ echo no database; exit 4; }}; {serve}"]
            },
            Trouble.OUT_OF_MEMORY: {
                "command": ["sh", "-c", f"{until} while true; do x=$x$x.; done; {serve}"],
                "memory": "8m",
            },
            Trouble.PROBE_FAILED: {"probe": {"path": f"{flag}", "start_period": "0s"}},
            Trouble.NAME_TAKEN: {},
            Trouble.WRONG_RECIPE: {"networks": [service]},
        }
        if trouble is Trouble.PULL_FAILED:
            name = f"{self.host.network.here}:9/{service}:{{version}}"
            troubled[trouble] = {"image": name, "pull": "missing"}
        if trouble is Trouble.NAME_TAKEN:
            self._docker("create", "--name", f"aviary-{service}-{version}-1", f"shop:{OLD}")
        mounts = [f"{self._flags}:/flags", f"{self._flags}:/www/flags:ro"]
        made = recipe(mounts=mounts) | troubled[trouble]
        return order(service, version, generation, instances, recipe=made, config=config or {})

    async def heal(self, wanted: WantedVersion) -> None:
        said: dict[str, Any] = wanted.recipe
        (self._flags / wanted.service).write_text("ok")
        await self.host.docker("tag", f"shop:{NEW}", str(said["image"]).format(version=NEW))
        for network in said.get("networks") or ():
            await self.host.docker("network", "create", network)
        foreign = await self.host.docker(
            "ps", "-aq", "--filter", f"name=aviary-{wanted.service}-", "--filter", "status=created"
        )
        for one in foreign.split():
            labels = await self.host.docker("inspect", "-f", "{{json .Config.Labels}}", one)
            if "aviary" not in labels:
                await self.host.docker("rm", one)

    async def answer(self, endpoint: Endpoint) -> str:
        return await answer(endpoint)

    async def things(self) -> frozenset[str]:
        return frozenset((await self.host.docker("ps", "--format", "{{.Names}}")).split())

    async def plant(self, like: Instance) -> str:
        await self.host.docker(
            "run", "-d", "--name", like.name, "--label", "aviary.service=x", f"shop:{OLD}"
        )
        return like.name

    async def kill(self, instance: Instance) -> None:
        await self.host.docker("kill", instance.name)

    def command(self, text: str, exit_code: int, seconds: float = 0.0) -> tuple[str, ...]:
        script = f"echo '{text}' >> /flags/runs; sleep {seconds}; echo '{text}'; exit {exit_code}"
        return ("sh", "-c", script)

    async def runs(self, text: str) -> int:
        await asyncio.sleep(0.05)
        runs = self._flags / "runs"
        return runs.read_text().splitlines().count(text) if runs.exists() else 0

    async def clean(self) -> None:
        """Remove all containers, and close all deployers; images stay."""
        await self.close()
        found = (await self.host.docker("ps", "-aq")).split()
        if found:
            await self.host.docker("rm", "-f", *found)

    async def close(self) -> None:
        """Close all deployers."""
        for deployer in self._made:
            await deployer.aclose()

    def _docker(self, *words: str) -> None:
        program = self.host.tools.program("docker")
        environment = {**self.host.tools.environment, "DOCKER_HOST": f"unix://{self.host.socket}"}
        subprocess.run([program, *words], env=environment, check=True, capture_output=True)


def texts(states: Iterable[Any]) -> str:
    """All that was told, for looking into."""
    return "\n".join(state.sentence for state in states)
