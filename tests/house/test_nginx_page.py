"""The page about nginx, followed to the letter on a real one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.routers.nginx.place import place
from adapters.routers.nginx.router import NginxRouter
from aviary.local.debian import DebianError
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_nginx import LiveNginx, nginx_root
from tests.contract.routers.wire import Caller, Instances
from tests.groups import ROOT

PAGE = (ROOT / "docs/how-to/nginx.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def instances() -> Iterator[Instances]:
    with Instances() as running:
        yield running


class _OfThePage(LiveNginx):
    """One with the page's configuration, at paths and ports of its own."""

    def write_config(self) -> None:
        text, metrics = _blocks("nginx")
        place(self.folder / "aviary")
        root = self.folder.as_posix()
        arch = next((self._root / "usr/lib").glob("*-linux-gnu")).name
        modules = "".join(
            f"load_module {self._root}/usr/lib/nginx/modules/{name}_module.so;\n"
            for name in ("ndk_http", "ngx_http_lua")
        )
        temp = "".join(
            f"{kind}_temp_path {root}/temp;\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        replaced = {
            "include /etc/nginx/modules-enabled/*.conf;": modules + "daemon off;\n"
            f"worker_processes 2;\npid {root}/nginx.pid;\nerror_log {self.log};\n",
            "user www-data;": "user root;" if os.geteuid() == 0 else "",
            "http {\n": f"http {{\naccess_log off;\n{temp}",
            "/etc/nginx/aviary": f"{root}/aviary",
            '?.lua;;";': f'?.lua;{self._root}/usr/share/lua/5.1/?.lua;;";\n'
            f'lua_package_cpath "{self._root}/usr/lib/{arch}/lua/5.1/?.so;;";',
            "/var/lib/aviary-nginx": str(self.state),
            "unix:/run/aviary/nginx.sock": self.control,
            "listen 80;": f"listen 127.0.0.1:{self.port};",
        }
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        text = text.rstrip().removesuffix("}") + metrics.replace("9113", str(free_port())) + "}\n"
        (self.folder / "nginx.conf").write_text(text)


def test_the_configuration_and_the_commands_of_the_page_work(
    tmp_path: Path, instances: Instances
) -> None:
    try:
        root = nginx_root()
    except DebianError as error:
        pytest.skip(str(error))
    live = _OfThePage(root, tmp_path, instances)
    assert live.syntax() == ""
    live.start()
    try:
        for block in _blocks("sh")[1:]:
            command = block.replace("\\\n", "").replace(
                "/run/aviary/nginx.sock", live.control.removeprefix("unix:")
            )
            command = command.replace("10.0.0.7:8080", f"127.0.0.1:{live.port_of('2.0.0')}")
            words = shlex.split(command)
            done = subprocess.run([*words, "-sS"], capture_output=True, text=True, check=True)
            assert json.loads(done.stdout) is not None, done.stdout
        assert asyncio.run(_used(live)) == "2.0.0"
    finally:
        live.stop()


async def _used(live: LiveNginx) -> str:
    router = NginxRouter([live.control])
    assert await router.read("payments") == Route.split("payments", "2.0.0")
    await router.aclose()
    async with Caller(live.port, "payments") as caller:
        return (await caller.get()).version
