"""The page about Caddy, followed to the letter on a real one."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.routers.caddy import CADDY
from adapters.routers.caddy.router import Pace
from aviary.catalogs import make_catalog
from aviary.local.parts import MissingPartError, caddy_program
from schemas.capabilities import StickyBy
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.served import running
from tests.contract.routers.wire import Caller, Instances
from tests.groups import ROOT

PAGE = (ROOT / "docs/how-to/caddy.md").read_text()
FOLDER = "/var/lib/aviary/caddy"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class _OfThePage(LiveCaddy):
    """One with the page's configuration, at a folder and ports of its own."""

    own_port = 0

    def write_config(self) -> None:
        main, _ = _blocks("text")
        (code,) = _blocks("python")
        code = code.replace(FOLDER, str(self.folder.directory))
        names: dict[str, Any] = {}
        exec(compile(code.replace(":10000", f"127.0.0.1:{self.port}"), "caddy.md", "exec"), names)
        here = f"{{\n\tadmin localhost:{self.admin}\n\tpersist_config off\n\tauto_https off\n"
        self.caddyfile.write_text(
            main.replace("{\n", here, 1).replace(FOLDER, str(self.folder.directory))
        )

    def add_own_site(self) -> None:
        """The page's site of one's own, without TLS."""
        self.own_port = free_port()
        own = _blocks("text")[1].replace("shop.example", f"http://shop.example:{self.own_port}")
        self.caddyfile.write_text(self.caddyfile.read_text() + own)
        self.reload()


@pytest.fixture
def instances() -> Iterator[Instances]:
    with Instances() as found:
        yield found


@pytest.fixture
def live(tmp_path: Path, instances: Instances) -> Iterator[_OfThePage]:
    try:
        found = _OfThePage(caddy_program(), tmp_path, instances)
    except MissingPartError as error:
        pytest.skip(str(error))
    try:
        with running(found):
            yield found
    finally:
        found.clean()


def _put(live: _OfThePage, tmp_path: Path, version: str, port: int) -> None:
    (router,), (block,) = _blocks("yaml"), _blocks("sh")
    spec = yaml.safe_load(router)
    spec["router"] |= {
        "directory": str(live.folder.directory),
        "instances": [live.address],
        "caddyfile": str(live.caddyfile),
    }
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"version": 1, "services": {"payments": spec}}))
    command = block.replace("2.0.1", version).replace("10.0.0.7:8080", f"127.0.0.1:{port}")
    words = shlex.split(command)
    assert words[0] == "aviary"
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "AVIARY_CATALOG": str(catalog)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_its_python_its_caddyfile_and_its_command_give_a_canary_its_share(
    live: _OfThePage, instances: Instances, tmp_path: Path
) -> None:
    for version in ("2.0.1", "2.1.0"):
        await asyncio.to_thread(_put, live, tmp_path, version, instances.port(version))
    await asyncio.to_thread(live.add_own_site)
    router = live.router(Pace(confirm_within=20.0, answer_within=5.0))
    await router.register("payments", "2.0.1")
    await router.apply(Route.split("payments", "2.0.1", "2.1.0", 50, generation=1))
    got = []
    for port, host in ((live.port, "payments.local"), (live.own_port, "shop.example")):
        async with Caller(port, host) as caller:
            got.append(await caller.users([str(number) for number in range(20)]))
    assert set(got[0].values()) == {"2.0.1", "2.1.0"}
    assert got[0] == got[1], "by either site"
    assert sum((await router.requests("payments")).values()) == 40
    shown = await asyncio.to_thread(live.ask, "/routes/payments")
    assert shown == "payments_2.0.1|payments_2.1.0|80000000|1||"
    await router.aclose()


def test_the_catalog_takes_its_router() -> None:
    (router,) = _blocks("yaml")
    document = {"version": 1, "services": {"payments": yaml.safe_load(router)}}
    spec = make_catalog(document).services["payments"].router
    assert spec is not None
    assert spec.kind == "caddy"


def test_it_says_what_caddy_can_do() -> None:
    can = CADDY.capabilities
    assert can.sticky == (StickyBy.HEADER, StickyBy.COOKIE)
    assert not can.mirroring
    for error in can.platform_errors:
        assert f"| {error.status} |" in PAGE
