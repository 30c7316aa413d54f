"""The page about HAProxy, followed to the letter on a real one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.routers.haproxy.folder import HaproxyFolder
from adapters.routers.haproxy.router import HaproxyRouter
from aviary.catalogs import make_catalog
from aviary.local.debian import DebianError
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_haproxy import LiveHaproxy, haproxy_root
from tests.contract.routers.wire import Caller, Instances
from tests.groups import ROOT
from tests.unpacked import environment

PAGE = (ROOT / "docs/how-to/haproxy.md").read_text()
FOLDER = "/var/lib/aviary/haproxy"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def root() -> Path:
    try:
        return haproxy_root()
    except DebianError as error:
        pytest.skip(str(error))


@pytest.fixture
def run() -> Iterator[Path]:
    """For sockets, whose path has at most 97 characters in HAProxy."""
    with tempfile.TemporaryDirectory(prefix="aviary-haproxy-") as name:
        yield Path(name)


@pytest.fixture
def instances() -> Iterator[Instances]:
    with Instances() as running:
        yield running


async def test_its_python_and_configuration_give_a_service_its_route(
    root: Path, tmp_path: Path, run: Path, instances: Instances
) -> None:
    main, command, _ = _blocks("text")
    (code,) = _blocks("python")
    folder, port = tmp_path / "haproxy", free_port()
    code = code.replace(FOLDER, str(folder)).replace(":10000", f"127.0.0.1:{port}")
    code = code.replace('(("10.0.0.7", 8080), ("10.0.0.8", 8080))', f"{_endpoints(instances)}")
    names: dict[str, Any] = {}
    exec(compile(code, "haproxy.md", "exec"), names)
    main = main.replace("/run/haproxy", str(run)).replace("8405", str(free_port()))
    (tmp_path / "haproxy.cfg").write_text(main)
    words = command.replace(FOLDER, str(folder)).replace("/etc/haproxy", str(tmp_path))
    words = words.replace("/run/haproxy-master", str(run / "master"))
    assert [str(one) for one in names["files"]] == words.split()[-3::2]

    program, *arguments = words.split()
    assert program == "haproxy"
    live = _Started(root, arguments, run)
    try:
        live.start()
        live.wait_for("show stat payments:2.0.0 4 -1", ",L7OK,")
        router = HaproxyRouter(folder, [live.master])
        await router.apply(await router.register("payments", "2.0.0"))
        async with Caller(port, "payments") as caller:
            assert (await caller.get()).version == "2.0.0"
        assert await router.read("payments") == Route.split("payments", "2.0.0")
    finally:
        live.stop()


def test_a_frontend_of_ones_own_is_taken(root: Path, tmp_path: Path) -> None:
    own = _blocks("text")[2].replace(" ssl crt /etc/haproxy/shop.pem", "")
    folder = HaproxyFolder(tmp_path / "haproxy")
    files = folder.prepare()
    (tmp_path / "own.cfg").write_text(own.replace(":443", f"127.0.0.1:{free_port()}"))
    words = [word for file in (*files, tmp_path / "own.cfg") for word in ("-f", str(file))]
    done = subprocess.run(
        [root / "usr/sbin/haproxy", "-c", *words],
        env=dict(environment(root)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_catalog_takes_its_router() -> None:
    (router,) = _blocks("yaml")
    document = {"version": 1, "services": {"payments": yaml.safe_load(router)}}
    spec = make_catalog(document).services["payments"].router
    assert spec is not None
    assert spec.kind == "haproxy"


class _Started(LiveHaproxy):
    """One that is started as the page says."""

    def __init__(self, root: Path, arguments: list[str], run: Path) -> None:
        self._root, self._arguments, self._run = root, arguments, run
        self._process = None

    def words(self) -> list[str]:
        return self._arguments


def _endpoints(instances: Instances) -> tuple[tuple[str, int], ...]:
    return (("127.0.0.1", instances.port("2.0.0")),)
