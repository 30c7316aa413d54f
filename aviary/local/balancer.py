"""One address for parts of which there are several, as a Service of Kubernetes or any balancer.

Envoy passes connections on to whoever is well, and ends those to one that is not: a client then
connects again, and meets another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aviary.local import parts, probes
from aviary.local.ports import LOOPBACK
from aviary.local.process import ChildSpec

_TYPES: Final = "type.googleapis.com/envoy.extensions"
_TCP: Final = f"{_TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
_HTTP2: Final = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
_TRIES: Final = 3
"""Connections that are tried for one of a client's."""


@dataclass(frozen=True)
class Shared:
    """A port, and who is behind it.

    Attributes:
        port: where clients connect.
        behind: ports of those that there are several of.
        asks: how each is asked whether it is well, as Envoy's configuration says it.
        http2: whether they are asked over HTTP/2, as gRPC is.
    """

    port: int
    behind: Sequence[int]
    asks: Mapping[str, Any]
    http2: bool = False


TEMPORAL: Final = {
    "grpc_health_check": {"service_name": "temporal.api.workflowservice.v1.WorkflowService"}
}
"""How a frontend of Temporal is asked."""


def ready(path: str) -> dict[str, Any]:
    """How an HTTP server is asked."""
    return {"http_health_check": {"path": path}}


def spec(folder: Path, admin: int, shared: Mapping[str, Shared]) -> ChildSpec:
    """Write the configuration; the balancer as a part of a stack.

    Args:
        folder: the balancer's own, which is made.
        admin: its admin port.
        shared: by name.
    """
    folder.mkdir()
    file = folder / "envoy.json"
    document = {
        "node": {"id": "balancer", "cluster": "balancer"},
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [_listener(name, one) for name, one in shared.items()],
            "clusters": [_cluster(name, one) for name, one in shared.items()],
        },
    }
    file.write_text(json.dumps(document, indent=1))
    argv = (
        str(parts.envoy_program()),
        "-c", str(file),
        "--concurrency", "1",
        "--log-level", "warning",
        "--disable-hot-restart",
    )  # fmt: skip
    return ChildSpec("balancer", argv, probe=probes.http(admin, "/ready"))


def _listener(name: str, one: Shared) -> dict[str, Any]:
    proxy = {
        "@type": _TCP,
        "stat_prefix": name,
        "cluster": name,
        "idle_timeout": "0s",
        "max_connect_attempts": _TRIES,
    }
    return {
        "name": name,
        "address": _address(one.port),
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }


def _cluster(name: str, one: Shared) -> dict[str, Any]:
    check = {
        "timeout": "1s",
        "interval": "1s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        **one.asks,
    }
    hosts = [{"endpoint": {"address": _address(port)}} for port in one.behind]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        "health_checks": [check],
        "close_connections_on_host_health_failure": True,
        **({"typed_extension_protocol_options": _HTTP2} if one.http2 else {}),
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
