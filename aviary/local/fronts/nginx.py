"""nginx as the stack's router: Debian's packages, Aviary's Lua module, its internal server."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.routers.envoy.names import pool_name
from adapters.routers.nginx.place import ETC
from adapters.routers.nginx.router import NginxRouter
from aviary.local import configs, parts, probes
from aviary.local.fronts.front import Instances, PoolCount
from aviary.local.http1 import fetch
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildSpec
from aviary.local.unpacked import environment, unpacked
from schemas.deployment import Endpoint

PACKAGES: Final = ("nginx", "libnginx-mod-http-lua", "lua-cjson")
_SUM: Final = "sum by (service, version)"
_ANSWERS: Final = "aviary_nginx_responses_total"
_RULE: Final = configs.Rule(
    done=f'{_SUM} ({_ANSWERS}{{path="split"}}#)',
    good=f'{_SUM} ({_ANSWERS}{{path="split",class="2"}}#)',
    service="{{ $labels.service }}",
    version="{{ $labels.version }}",
)
_SAMPLE: Final = re.compile(
    rf'^{_ANSWERS}{{service="([^"]+)",version="([^"]+)",path="split",class="(\d)"}} (\d+)$',
    re.MULTILINE,
)
_CONFIG: Final = """\
load_module {root}/usr/lib/nginx/modules/ndk_http_module.so;
load_module {root}/usr/lib/nginx/modules/ngx_http_lua_module.so;
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temp;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp;
    uwsgi_temp_path {folder}/temp;
    scgi_temp_path {folder}/temp;
    lua_package_path "{etc}/?.lua;{root}/usr/share/lua/5.1/?.lua;;";
    lua_package_cpath "{root}/usr/lib/{arch}/lua/5.1/?.so;;";
    init_by_lua_block {{ require("aviary").setup {{ state = "{folder}/state" }} }}
    include {etc}/http.conf;
    server {{
        listen {host}:{port};
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
        listen {host}:{internal};
        include {etc}/control.conf;
    }}
}}
"""


class NginxFront:
    """nginx.

    Args:
        folder: the stack's.
        ports: its ports; those of Envoy are nginx'.
    """

    title: Final = "nginx"

    def __init__(self, folder: Path, ports: parts.Ports) -> None:
        self._folder = folder / "nginx"
        self._ports = ports

    @property
    def addresses(self) -> Mapping[str, str]:
        """Its internal server."""
        return {"nginx_internal": f"http://{LOOPBACK}:{self._ports.envoy_admin}"}

    def catalog(self) -> dict[str, Any]:
        """Its internal server."""
        return {"kind": "nginx", "instances": [*self.addresses.values()]}

    def scrape(self) -> dict[str, Any]:
        """What its Lua module counts."""
        return {
            "job_name": "nginx",
            "static_configs": [{"targets": [f"{LOOPBACK}:{self._ports.envoy_admin}"]}],
        }

    def alert_rules(self) -> str:
        """From what its Lua module counts."""
        return configs.alert_rules(_RULE)

    async def prepare(self, _: Instances) -> Sequence[ChildSpec]:
        """Write its configuration; the versions are told to it while it runs."""
        root = await asyncio.to_thread(unpacked, "nginx", *PACKAGES)
        for name in ("state", "temp"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        config = self._folder / "nginx.conf"
        text = _CONFIG.format(
            root=root,
            user="user root;" if os.geteuid() == 0 else "",
            folder=self._folder,
            etc=ETC,
            arch=next((root / "usr/lib").glob("*-linux-gnu")).name,
            host=LOOPBACK,
            port=self._ports.envoy,
            internal=self._ports.envoy_admin,
        )
        config.write_text(text)
        program, log = str(root / "usr/sbin/nginx"), str(self._folder / "error.log")
        return (
            ChildSpec(
                "nginx",
                (program, "-p", str(self._folder), "-c", str(config), "-e", log),
                env={"LD_LIBRARY_PATH": environment(root)["LD_LIBRARY_PATH"]},
                probe=probes.http(self._ports.envoy_admin, "/metrics"),
            ),
        )

    async def begin(self, instances: Instances) -> None:
        """Tell it where all are, and the first routes."""
        for (service, version), port in instances.items():
            await self.put_up(service, version, port)
        router = NginxRouter([*self.addresses.values()])
        try:
            for service, version in instances:
                await router.register(service, version)
        finally:
            await router.aclose()

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Tell it where the version is; it looks at no instance before a request goes there."""
        router = NginxRouter([*self.addresses.values()])
        try:
            endpoint = Endpoint(host=LOOPBACK, port=port)
            await router.put_endpoints(service, version, [endpoint], 0)
        finally:
            await router.aclose()

    async def take_down(self, service: str, version: str) -> None:
        """Have it forget the version."""
        router = NginxRouter([*self.addresses.values()])
        try:
            await router.drop_endpoints(service, version, 0)
        finally:
            await router.aclose()

    async def routed(self, service: str) -> dict[str, int]:
        """As it serves it."""
        response = await fetch(self._ports.envoy_admin, f"/routes/{service}")
        route = json.loads(response.body)["route"] or {"arms": []}
        return {
            pool_name(service, arm["version"]): round(100 * arm["weight"]) for arm in route["arms"]
        }

    async def counts(self) -> Mapping[str, PoolCount]:
        """What its Lua module counts."""
        response = await fetch(self._ports.envoy_admin, "/metrics")
        found: defaultdict[str, PoolCount] = defaultdict(lambda: PoolCount(0, 0))
        for service, version, class_, count in _SAMPLE.findall(response.body.decode()):
            name, more = pool_name(service, version), int(count)
            failed = more if class_ == "5" else 0
            found[name] = PoolCount(found[name].completed + more, found[name].failed + failed)
        return found
