"""What the fleet's files say to Envoy, as plain data: bootstrap, listener, clusters.

The numbers are chosen so that an instance that dies costs its callers nothing (retry budget,
detection of failed connections, fallback) while an instance that *answers badly* is left in place:
its errors are the canary's evidence and must not be hidden by taking it out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from itertools import groupby, permutations
from pathlib import Path
from typing import Any

from adapters.routers.envoy import sampling, sources
from adapters.routers.envoy.names import (
    CLUSTER_TYPE,
    LISTENER_TYPE,
    TYPES,
    apart_name,
    guarded_apart_name,
    guarded_name,
    pool_name,
    tagged,
)

_EXTENSIONS = f"{TYPES}envoy.extensions"


def address(host: str, port: int) -> dict[str, Any]:
    """One TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def watched(path: Path) -> dict[str, Any]:
    """Read a file, and again whenever something is renamed to it.

    Not whenever its *directory* changes: each new route would have Envoy read all clusters again,
    a third of a second for sixty services.
    """
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def bootstrap(directory: Path, admin_host: str, admin_port: int) -> dict[str, Any]:
    """What Envoy is started with; all else it reads from the directory."""
    return {
        "node": {"id": f"aviary-{admin_port}", "cluster": "aviary"},
        "admin": {"address": address(admin_host, admin_port)},
        "dynamic_resources": {
            "cds_config": watched(directory / "cds.yaml"),
            "lds_config": watched(directory / "lds.yaml"),
        },
        "stats_config": sampling.stats_config(),
        # Otherwise a scrape sees histograms that are up to five seconds old.
        "stats_flush_on_admin": True,
    }


def listener(
    hosts: Sequence[str],
    port: int,
    names: tuple[str, str],
    source: dict[str, Any],
    further: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """One port for all services; which one is meant, the request's host says.

    Args:
        hosts: addresses to listen on.
        port: likewise.
        names: prefix of its metrics, and name of its routes.
        source: where the routes come from.
        further: HTTP filters to stand before all others.
    """
    stat_prefix, routes = names
    first, *others = hosts
    additional = [{"address": address(host, port)} for host in others]
    router = f"{_EXTENSIONS}.filters.http.router.v3.Router"
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "rds": {"route_config_name": routes, "config_source": source},
        "http_filters": [
            *further,
            *sampling.filters(),
            {"name": "router", "typed_config": {"@type": router}},
        ],
    }
    return {
        "@type": LISTENER_TYPE,
        "name": "aviary",
        "address": address(first, port),
        **({"additional_addresses": additional} if additional else {}),
        "filter_chains": [
            {"filters": [sources.of_connection(), {"name": "http", "typed_config": manager}]}
        ],
    }


Described = tuple[Sequence[tuple[str, int]], str | None]
"""A pool's addresses, and the path of its health check (None: a connection is enough)."""


def for_pools(pools: Mapping[tuple[str, str], Described]) -> list[dict[str, Any]]:
    """All clusters of these pools, which are known by service and version."""
    found: list[dict[str, Any]] = []
    for service, group in groupby(sorted(pools), key=lambda pool: pool[0]):
        versions = [version for _, version in group]
        for version in versions:
            endpoints, health_path = pools[service, version]
            found.append(_pool(service, version, endpoints, health_path))
            # No health check of its own: who asks for this version gets it, or its error.
            found.append(_instances(apart_name(service, version), endpoints))
        for one, other in permutations(versions, 2):
            own, apart = (
                (name(service, one), name(service, other)) for name in (pool_name, apart_name)
            )
            found.append(_guarded(guarded_name(service, one, other), *own))
            found.append(_guarded(guarded_apart_name(service, one, other), *apart))
    return found


def endpoints_of(cluster: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The addresses of a pool's instances."""
    items = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    sockets = (item["endpoint"]["address"]["socket_address"] for item in items)
    return [(one["address"], one["port_value"]) for one in sockets]


def health_path_of(cluster: Mapping[str, Any]) -> str | None:
    """The path of a pool's health check, None where a connection is enough."""
    path: str | None = cluster["health_checks"][0].get("http_health_check", {}).get("path")
    return path


def _pool(
    service: str, version: str, endpoints: Sequence[tuple[str, int]], health_path: str | None
) -> dict[str, Any]:
    cluster = _instances(pool_name(service, version), endpoints)
    cluster["metadata"] = tagged({"service": service, "version": version})
    cluster["health_checks"] = [_health_check(health_path)]
    return cluster


def _instances(name: str, endpoints: Sequence[tuple[str, int]]) -> dict[str, Any]:
    # The instances stand in the cluster: a file of endpoints for each would cost Envoy an inotify
    # instance each, of which Linux gives a user 128, and Envoy aborts when there are no more.
    addresses = [{"endpoint": {"address": address(host, port)}} for host, port in endpoints]
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        "type": "STATIC" if all(_is_ip(host) for host, _ in endpoints) else "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": addresses}]},
        "connect_timeout": "1s",
        # Envoy hands out the cookie of sticky users only with a hashing policy.
        "lb_policy": "MAGLEV",
        "circuit_breakers": {"thresholds": [_threshold()]},
        "outlier_detection": _outlier_detection(),
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _threshold() -> dict[str, Any]:
    # The default of three retries at once is what makes one dead instance cost thousands of 503s.
    return {
        "retry_budget": {"budget_percent": {"value": 25.0}, "min_retry_concurrency": 20},
        "max_connections": 16384,
        "max_pending_requests": 16384,
        "max_requests": 16384,
    }


def _outlier_detection() -> dict[str, Any]:
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_failure_percentage": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 100,
    }


def _health_check(path: str | None) -> dict[str, Any]:
    check: dict[str, Any] = {
        "timeout": "1s",
        "interval": "1s",
        # The default is a minute: a canary without traffic yet would count as dead for so long.
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
    }
    if path is None:
        return {**check, "tcp_health_check": {}}
    return {**check, "http_health_check": {"path": path}}


def _guarded(name: str, pool: str, fallback: str) -> dict[str, Any]:
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        # Envoy counts responses in the cluster that the route names, so the aggregate counts into
        # its pool; what an aggregate has no instances to count (requests sent, members) it leaves.
        "alt_stat_name": pool,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.clusters.aggregate.v3.ClusterConfig",
                "clusters": [pool, fallback],
            },
        },
        "circuit_breakers": {"thresholds": [_threshold()]},
    }
