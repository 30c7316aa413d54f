"""A real nginx with Aviary's Lua module on free loopback ports, and the services behind it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from adapters.routers.nginx.place import ETC
from tests.contract.routers.live import free_port
from tests.contract.routers.wire import Instances
from tests.unpacked import environment, unpacked

PACKAGES: Final = ("nginx", "libnginx-mod-http-lua", "lua-cjson")
WORKERS: Final = 2
_WITHIN_S: Final = 60.0
_CONFIG: Final = """\
load_module {root}/usr/lib/nginx/modules/ndk_http_module.so;
load_module {root}/usr/lib/nginx/modules/ngx_http_lua_module.so;
{user}
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    lua_package_path "{etc}/?.lua;{root}/usr/share/lua/5.1/?.lua;;";
    lua_package_cpath "{root}/usr/lib/{arch}/lua/5.1/?.so;;";
    init_by_lua_block {{ require("aviary").setup {{ {setup} }} }}
    include {etc}/http.conf;
    {more}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            set $aviary_service $host;
            include {etc}/location.conf;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_pass http://$aviary_pool;
        }}
    }}
    server {{
        listen {control};
        include {etc}/control.conf;
    }}
}}
"""


def nginx_root() -> Path:
    """Where Debian's nginx with its Lua module is unpacked."""
    return unpacked("nginx", *PACKAGES)


class LiveNginx:
    """One nginx with a state folder of its own; `crash` kills it as a power cut would.

    Args:
        root: where its packages are unpacked.
        folder: for its configuration, its state and its log.
        instances: the servers behind it.
    """

    def __init__(self, root: Path, folder: Path, instances: Instances) -> None:
        self._root = root
        self._instances = instances
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "error.log"
        self.port = free_port()
        # Not below `folder`: the path of a socket has at most 107 characters.
        self._sockets = Path(tempfile.mkdtemp(prefix="aviary-nginx-"))
        self.control = f"unix:{self._sockets}/control.sock"
        self.metrics: int | None = None
        """Port of its counters, where they shall have one."""
        self.more = ""
        """More of the `http` block."""
        self.setup = ""
        """More of what the Lua module is told."""
        for path in (self.state, folder / "temp"):
            path.mkdir(parents=True)

    def write_config(self) -> None:
        """Write its configuration."""
        as_root = os.geteuid() == 0
        listens = self.control.removeprefix("http://")
        arch = next((self._root / "usr/lib").glob("*-linux-gnu")).name
        text = _CONFIG.format(
            root=self._root,
            user="user root;" if as_root else "",
            workers=WORKERS,
            folder=self.folder,
            etc=ETC,
            arch=arch,
            setup=f'state = "{self.state}", {self.setup}',
            more=self.more + self._metrics_server(),
            port=self.port,
            control=listens,
        )
        (self.folder / "nginx.conf").write_text(text)

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        self._sockets.mkdir(exist_ok=True)
        self.write_config()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                env=dict(environment(self._root)),
                start_new_session=True,
            )
        self.wait_for(lambda: len(self.workers()) == WORKERS)

    def refusal(self) -> str:
        """Start it where it must refuse its configuration; what it says."""
        self.write_config()
        done = subprocess.run(
            self._command(),
            env=dict(environment(self._root)),
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
        self.stop()
        assert done.returncode != 0
        return done.stderr

    def syntax(self) -> str:
        """What `nginx -t` says of its configuration; empty where it is good."""
        self.write_config()
        done = subprocess.run(
            [*self._command(), "-t"],
            env=dict(environment(self._root)),
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if done.returncode == 0 else done.stderr

    def reload(self) -> None:
        """Have it load its configuration, and wait until no old worker is left."""
        old = set(self.workers())
        self.write_config()
        self.hang_up()
        self.wait_for(lambda: len(self.workers()) == WORKERS and not old & set(self.workers()))

    def hang_up(self) -> None:
        """Tell it to load its configuration."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Kill all of it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        # What a killed nginx leaves behind stands in the way of the next.
        shutil.rmtree(self._sockets, ignore_errors=True)

    def restart(self) -> None:
        """Kill all of it, and start it on the same state."""
        self.stop()
        self.start()

    def workers(self) -> Sequence[int]:
        """The processes that serve."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children]

    def port_of(self, version: str) -> int:
        """Port of the server that answers with this version."""
        return self._instances.port(version)

    def instance_ports(self, version: str, count: int) -> list[int]:
        """Ports of so many servers that answer with this version."""
        return [self._instances.port(version, number) for number in range(count)]

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Ask until it is."""
        deadline = time.monotonic() + _WITHIN_S
        while not is_so():
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            assert self._process is None or self._process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def _metrics_server(self) -> str:
        if self.metrics is None:
            return ""
        part = 'location = /metrics { content_by_lua_block { require("aviary").metrics() } }'
        return f"server {{ listen 127.0.0.1:{self.metrics}; {part} }}"

    def _command(self) -> list[str]:
        program = self._root / "usr/sbin/nginx"
        return [
            str(program), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"),
            "-e", str(self.log),
        ]  # fmt: skip
