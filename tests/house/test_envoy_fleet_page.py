"""The page about Envoy fleets, followed to the letter with a real Envoy."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from adapters.routers.envoy.router import EnvoyRouter, Pace
from aviary.catalogs import make_catalog
from aviary.local.parts import MissingPartError, envoy_program
from schemas.route import Route
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.live_ads import LiveControlPlane
from tests.contract.routers.served import running
from tests.contract.routers.wire import Caller, Instances
from tests.groups import ROOT

PAGE = (ROOT / "docs/how-to/envoy-fleet.md").read_text()
FOLDER = "/var/lib/aviary/envoy"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """The paths of the page, and where they are here."""
    authority, found = trustme.CA(), dict[str, str]()
    for where, name in (("aviary", "control"), ("envoy", "edge")):
        issued = authority.issue_cert(f"{name}.example")
        pem, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        pem.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        found |= {f"/etc/{where}/{name}.pem": str(pem), f"/etc/{where}/{name}.key": str(key)}
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    return found | dict.fromkeys(
        ("/etc/aviary/envoys-ca.pem", "/etc/envoy/control-ca.pem"), str(ca)
    )


class _Booted(LiveEnvoy):
    """One on the bootstrap that the page's command prints."""

    def boot(self, text: str) -> None:
        self._config = self.fleet.directory.parent / "edge-1.yaml"
        self._config.write_text(text)


@pytest.fixture
def instances() -> Iterator[Instances]:
    with Instances() as found:
        yield found


async def test_its_python_and_its_commands_give_an_envoy_without_the_folder_its_routes(
    tmp_path: Path, certificates: dict[str, str], instances: Instances
) -> None:
    try:
        binary = envoy_program()
    except MissingPartError as error:
        pytest.skip(str(error))
    (code,), (serve, bootstrap) = _blocks("python"), _blocks("sh")
    directory = tmp_path / "fleet" / "envoy"
    live = _Booted(binary, directory, instances)
    names: dict[str, Any] = {}
    code = code.replace(FOLDER, str(directory)).replace("10000", str(live.port))
    exec(compile(code.replace("0.0.0.0", "127.0.0.1"), "envoy-fleet.md", "exec"), names)

    words = _here(serve, certificates)
    assert words[:4] == ["aviary", "envoys", "serve", FOLDER]
    plane = LiveControlPlane(directory, words[6:])
    made = _here(bootstrap, certificates)
    admin = f"127.0.0.1:{live.admin_port}"
    here = {"control.example:18000": f"127.0.0.1:{plane.port}", "10.0.0.4:9901": admin}
    command = [sys.executable, "-m", *(here.get(word, word) for word in made)]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    live.boot(done.stdout)
    with running(plane), running(live):
        for version in ("1", "2"):
            await asyncio.to_thread(live.add_version, "cart", version, instances.port(version))
        async with httpx.AsyncClient() as client:
            pace = Pace(confirm_within=30.0, answer_within=5.0)
            router = EnvoyRouter(directory, [live.admin_url], client=client, pace=pace)
            await router.apply(await router.register("cart", "1"))
            await router.apply(Route.split("cart", "1", "2", 100, generation=1))
            async with Caller(live.port, "cart") as caller:
                assert (await caller.get()).version == "2"


def _here(command: str, certificates: dict[str, str]) -> list[str]:
    words = shlex.split(command.replace("\\\n", ""))
    return [certificates.get(word, word) for word in words]


def test_the_catalog_takes_its_router() -> None:
    (router,) = _blocks("yaml")
    document = {"version": 1, "services": {"payments": yaml.safe_load(router)}}
    spec = make_catalog(document).services["payments"].router
    assert spec is not None
    assert spec.kind == "envoy"
