"""A real Caddy on free loopback ports, and the services behind it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from adapters.routers.caddy.folder import CaddyFolder
from adapters.routers.caddy.folder_form import Pool
from adapters.routers.caddy.router import CaddyRouter, Pace
from tests.contract.routers.live import free_port
from tests.contract.routers.names import new_name
from tests.contract.routers.wire import Instances

_WITHIN_S = 60.0
_MAIN = """\
{{
	admin localhost:{{$ADMIN_PORT}}
	auto_https off
	persist_config off
	log {{
		level WARN
	}}
	import {folder}/global.caddy
}}
import {folder}/aviary.caddy
"""


class LiveCaddy:
    """One Caddy; `restart` kills it as a crash would.

    Args:
        binary: its program.
        directory: for its folder, its configuration and its log.
        instances: what the pools are made of.
        port: of its frontend.
    """

    def __init__(
        self, binary: Path, directory: Path, instances: Instances, port: int | None = None
    ) -> None:
        self._binary = binary
        self._directory = directory
        self._instances = instances
        self.folder = CaddyFolder(directory / "aviary")
        self.port, self.admin = port or free_port(), free_port()
        self.run = Path(tempfile.mkdtemp(prefix="caddy-"))  # a socket's path must be short
        self.caddyfile = directory / "Caddyfile"
        self.log = self.run / "caddy.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.write_config()

    @property
    def address(self) -> str:
        return f"unix:{self.run / 'aviary.sock'}"

    def write_config(self) -> None:
        """As the how-to says, at paths and ports of its own."""
        self.folder.prepare(f"127.0.0.1:{self.port}")
        self.caddyfile.write_text(_MAIN.format(folder=self.folder.directory))

    def twin(self) -> LiveCaddy:
        """Another Caddy on the same folder and the same port."""
        return LiveCaddy(self._binary, self._directory, self._instances, self.port)

    def router(self, pace: Pace, *others: LiveCaddy) -> CaddyRouter:
        """A router of it, and of others on the same folder."""
        addresses = [one.address for one in (self, *others)]
        caddyfile = str(self.caddyfile)
        return CaddyRouter(self.folder.directory, addresses, caddyfile=caddyfile, pace=pace)

    def start(self) -> None:
        """Start and wait until it answers."""
        environment = {
            **os.environ,
            "AVIARY_SOCKET": str(self.run / "aviary.sock"),
            "AVIARY_ADMIN": f"localhost:{self.admin}",
            "ADMIN_PORT": str(self.admin),
            "XDG_DATA_HOME": str(self.run),
            "XDG_CONFIG_HOME": str(self.run),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binary), "run", "--config", str(self.caddyfile)],
                stdout=log,
                stderr=log,
                env=environment,
            )
        self.wait_for("/mark", self.folder.mark())

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on the same files."""
        self.stop()
        self.start()

    def clean(self) -> None:
        """Take its socket and its log away."""
        shutil.rmtree(self.run, ignore_errors=True)

    def reload(self) -> None:
        """Have it load its Caddyfile, as `caddy reload` does, and wait until it has."""
        text = f"import {self.caddyfile}\n"
        done = httpx.post(
            f"http://localhost:{self.admin}/load",
            content=text,
            headers={"content-type": "text/caddyfile"},
            timeout=_WITHIN_S,
        )
        assert done.status_code == 200, done.text
        self.wait_for("/mark", self.folder.mark())

    def add_service(self, *versions: str, length: int = 0) -> str:
        """Put up a service under a new name, with one instance of each version."""
        service = new_name(length)
        for version in versions:
            self.folder.put_pool(self.pool(service, version))
        self.reload()
        return service

    def pool(self, service: str, version: str, *ports: int) -> Pool:
        """One version on these ports, or on that of its instance."""
        found = ports or (self._instances.port(version),)
        endpoints = tuple(("127.0.0.1", port) for port in found)
        return Pool(service=service, version=version, endpoints=endpoints)

    def instance_ports(self, version: str, count: int) -> Sequence[int]:
        """Ports of so many instances that answer with a version; Caddy is not told."""
        return [self._instances.port(version, number) for number in range(count)]

    def ask(self, path: str) -> str:
        """What its own site answers; empty while there is none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(self.address.removeprefix("unix:"))
                client.sendall(f"GET {path} HTTP/1.0\r\nhost: caddy\r\n\r\n".encode())
                answer = b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()
            except OSError:
                return ""
        return answer.partition("\r\n\r\n")[2]

    def wait_for(self, path: str, text: str) -> None:
        """Ask until the answer is the text."""
        deadline = time.monotonic() + _WITHIN_S
        while self.ask(path) != text:
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            assert self._process is None or self._process.poll() is None, self.log.read_text()
            time.sleep(0.02)
