"""The stack of `docker-compose.yml` on a Docker daemon of its own, run as the docs say."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import yaml

from aviary.local.docker import DockerHost, DockerTools, run
from aviary.local.parts import ROOT
from aviary.local.unpacked import environment, unpacked
from tests.compose import names, standins

FILE: Final = ROOT / "docker-compose.yml"
SERVICES: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
"""As they are in the file, before anything is merged."""
SECRETS: Final = {"AVIARY_WEBHOOK_TOKEN": "a-token", "TEMPORAL_DB_PASSWORD": "a-password"}
_IPTABLES: Final = """\
#!/bin/sh
LD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={modules} exec {program} iptables "$@"
"""


class ComposeSite:
    """A host with `docker compose` and the images that the file names.

    Args:
        tools: Docker's programs.
        override: what differs from the file, by service.
    """

    def __init__(self, tools: DockerTools, override: Mapping[str, dict[str, Any]]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="aviary-compose-"))
        (self._folder / "bin").mkdir()
        self.host = DockerHost(tools, self._folder / "host", helpers=(self._folder / "bin",))
        self._override = override
        self._file = self._folder / "override.yml"
        self._names: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._install)
            await self.host.__aenter__()
            self._names = await names.answer(self.host.network.here)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._names is not None:
            self._names.close()
        await self.host.remove()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def make_images(self) -> None:
        """Have an image for each that the file names: stand-ins, and Aviary's own.

        Raises:
            DebianError, DockerError, TemporalBuildError: one can't be made.
        """
        self.write_override(await standins.mounts())
        named = {name: one["image"] for name, one in SERVICES.items()}
        with standins.packages(self.host.network.here) as page:
            await standins.make(self.host, named, page)
            await self.compose("build", "aviary-worker")  # one for all that are Aviary's

    def write_override(self, mounts: Mapping[str, list[str]]) -> None:
        """Write what differs from the file, with what stand-ins have mounted, by service."""
        asked = {"dns": [self.host.network.here]}
        services: dict[str, dict[str, Any]] = {
            name: {**asked, **self._override.get(name, {})} for name in SERVICES
        }
        for name, mounted in mounts.items():
            services[name]["volumes"] = [*services[name].get("volumes", ()), *mounted]
        self._file.write_text(yaml.safe_dump({"services": services}))

    async def compose(self, *words: str, stdin: bytes | None = None) -> str:
        """`docker compose` in the repository.

        Raises:
            DockerError: it failed; with what it printed.
        """
        files = ("--project-directory", str(ROOT), "--file", str(FILE), "--file", self._file)
        program = self.host.tools.program("docker")
        own = {"DOCKER_CONFIG": str(self._folder / "config"), **SECRETS}
        every = {**self.host.environment, **own}
        return await run(program, "compose", *files, *words, stdin=stdin, environment=every)

    async def aviary(self, *words: str) -> str:
        """Aviary's own command line, in the worker's container."""
        told = ("exec", "-T", "aviary-worker", "python", "-m", "aviary", *words)
        return await self.compose(*told)

    async def states(self) -> dict[str, str]:
        """What Docker says of each service that runs: `Up 2 minutes (healthy)`."""
        shown = '{{.Label "com.docker.compose.service"}} {{.Status}}'
        mine = ("--filter", "label=com.docker.compose.project=aviary")
        found = await self.host.docker("ps", *mine, "--format", shown)
        return {name: said for name, _, said in (one.partition(" ") for one in found.splitlines())}

    async def logs(self, *services: str) -> str:
        """The last lines of services."""
        return await self.compose("logs", "--no-color", "--tail", "40", *services)

    def _install(self) -> None:
        plugins = self._folder / "config/cli-plugins"
        plugins.mkdir(parents=True)
        root = unpacked("docker-compose", "docker-compose", suite="trixie")
        (plugins / "docker-compose").symlink_to(
            root / "usr/libexec/docker/cli-plugins/docker-compose"
        )
        root = unpacked("iptables", "iptables")
        script = self._folder / "bin/iptables"
        text = _IPTABLES.format(
            libraries=environment(root)["LD_LIBRARY_PATH"],
            modules=_one(root.glob("usr/lib/*/xtables")),
            program=root / "usr/sbin/xtables-nft-multi",
        )
        script.write_text(text)
        script.chmod(0o755)


def _one(found: Any) -> Path:
    paths: Sequence[Path] = list(found)
    return paths[0]
