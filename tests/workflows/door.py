"""A door before Temporal: an Envoy that lets calls through, or refuses them as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aviary.local import probes
from aviary.local.http1 import fetch
from aviary.local.parts import envoy_program
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor

PERMISSION_DENIED: Final = 7
ALL: Final = "refuse.all"
ACTIVITY_POLLS: Final = "refuse.activity_polls"
_FAULT: Final = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_MANAGER: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)
_HTTP2: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_POLL: Final = "/temporal.api.workflowservice.v1.WorkflowService/PollActivityTaskQueue"


class Door:
    """An open door; `refuse` and `admit` say otherwise. Streams that are open stay so."""

    def __init__(self, port: int, admin: int) -> None:
        self.address = f"{LOOPBACK}:{port}"
        self.port = port
        self._admin = admin

    def spec(self, target: int) -> ChildSpec:
        """The process: before the port `target` of loopback."""
        config = json.dumps(_config(self.port, self._admin, target))
        argv = [str(envoy_program()), "--config-yaml", config, "--disable-hot-restart"]
        argv += ["--log-level", "error", "--concurrency", "1"]
        return ChildSpec("door", argv, probe=probes.http(self._admin, "/ready"))

    async def refuse(self, what: str = ALL) -> None:
        """Answer PERMISSION_DENIED, as with a key that has expired."""
        await self._set(what, 100)

    async def admit(self, what: str = ALL) -> None:
        """Let calls through again."""
        await self._set(what, 0)

    async def _set(self, what: str, percent: int) -> None:
        answer = await fetch(self._admin, f"/runtime_modify?{what}={percent}", method="POST")
        assert answer.status == 200, answer


@asynccontextmanager
async def door(folder: Path, target: str) -> AsyncIterator[Door]:
    """A door before Temporal at `target`, on loopback."""
    ports = FreePorts()
    here = Door(ports.take(), ports.take())
    async with Supervisor(folder / "door") as supervisor:
        await supervisor.start(here.spec(int(target.rpartition(":")[2])))
        yield here


def _fault(runtime: str) -> dict[str, Any]:
    abort = {"grpc_status": PERMISSION_DENIED, "percentage": {"numerator": 0}}
    return {"@type": _FAULT, "abort": abort, "abort_percent_runtime": runtime}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _config(port: int, admin: int, target: int) -> dict[str, Any]:
    route = {"cluster": "temporal", "timeout": "0s"}
    routes = [
        {
            "match": {"path": _POLL},
            "route": route,
            "typed_per_filter_config": {"polls": _fault(ACTIVITY_POLLS)},
        },
        {"match": {"prefix": "/"}, "route": route},
    ]
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "door",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "all", "typed_config": _fault(ALL)},
            {"name": "polls", "typed_config": {"@type": _FAULT}},
            {"name": "router", "typed_config": {"@type": _ROUTER}},
        ],
    }
    endpoint = {"endpoint": {"address": _address(target)}}
    cluster = {
        "name": "temporal",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP2,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "temporal",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    filters = [{"filters": [{"name": "http", "typed_config": manager}]}]
    return {
        "admin": {"address": _address(admin)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": filters}],
            "clusters": [cluster],
        },
    }
