"""The page about Traefik, followed to the letter on a real one."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from adapters.routers.traefik.capabilities import FILE
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from aviary.catalogs import make_catalog
from aviary.local.parts import MissingPartError, traefik_program
from schemas.route import Route
from tests.contract.routers.live_traefik import FilePools, LiveTraefik
from tests.contract.routers.served import running
from tests.contract.routers.wire import Caller, Instances
from tests.groups import ROOT

PAGE = (ROOT / "docs/how-to/traefik.md").read_text()
TOLD, BY_HAND = "2.0.1", "2.1.0"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


STATIC, ON_FILES, ON_ETCD, POOL = _blocks("yaml")


class _OfThePage(LiveTraefik):
    """One with the page's configuration, at a folder and ports of its own."""

    def __init__(self, folder: Path, instances: Instances) -> None:
        self.watched, self._static = folder / "dynamic", folder / "traefik.yml"
        self.watched.mkdir()
        super().__init__(
            traefik_program(),
            folder,
            instances,
            provider="file",
            flags=[],
            pools=FilePools(self.watched),
        )

    def here(self, text: str) -> str:
        """Part of the page with this folder and these ports."""
        for old, new in {
            "/etc/traefik/dynamic": str(self.watched),
            "127.0.0.1:8080": f"127.0.0.1:{self.api_port}",
            '":80"': f'"127.0.0.1:{self.port}"',
        }.items():
            text = text.replace(old, new)
        return text

    def command(self) -> list[str]:
        self._static.write_text(self.here(STATIC))
        return [str(self._binary), f"--configFile={self._static}"]


@pytest.fixture
def instances() -> Iterator[Instances]:
    with Instances() as found:
        yield found


@pytest.fixture
def live(tmp_path: Path, instances: Instances) -> Iterator[_OfThePage]:
    try:
        found = _OfThePage(tmp_path, instances)
    except MissingPartError as error:
        pytest.skip(str(error))
    with running(found):
        yield found


def _catalog(router: str) -> dict[str, object]:
    return {"version": 1, "services": {"payments": yaml.safe_load(router)}}


def _run(words: list[str], catalog: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "AVIARY_CATALOG": str(catalog)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_its_configuration_its_command_and_a_pool_by_hand_give_a_canary_its_share(
    live: _OfThePage, instances: Instances, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(yaml.safe_dump(_catalog(live.here(ON_FILES))))
    (block,) = _blocks("sh")
    command = block.replace("10.0.0.7:8080", f"127.0.0.1:{instances.port(TOLD)}")
    words = shlex.split(command.replace(" 10.0.0.8:8080", ""))
    assert words[0] == "aviary"
    await asyncio.to_thread(_run, words, catalog)

    port = instances.port(BY_HAND)
    pool = POOL.replace(TOLD, BY_HAND).replace("10.0.0.7:8080", f"127.0.0.1:{port}")
    one = pool.replace(', {url: "http://10.0.0.8:8080"}', "").replace("/healthz", "/")
    (live.watched / "payments.yaml").write_text(one)
    live.wait_for(live.pool_path("payments", BY_HAND), '"UP"')

    async with httpx.AsyncClient() as client:
        pace = Pace(confirm_within=20.0, answer_within=5.0)
        store = FileStore(live.watched)
        router = TraefikRouter(store, [live.api_url], client=client, can=FILE, pace=pace)
        await router.register("payments", TOLD)
        await router.apply(Route.split("payments", TOLD, BY_HAND, 50, generation=1))
        async with Caller(live.port, "payments") as caller:
            got = await caller.users([str(number) for number in range(40)])
        assert set(got.values()) == {TOLD, BY_HAND}
        assert sum((await router.requests("payments")).values()) == len(got)
        assert await router.instances("payments") is None, "one has no health check"


def test_the_catalog_takes_its_routers() -> None:
    found = make_catalog(_catalog(ON_FILES)).services["payments"].router
    assert found is not None
    assert found.kind == "traefik-file"
    assert yaml.safe_load(ON_ETCD)["router"] == {"kind": "traefik-etcd", "connection": "prod-eu"}
