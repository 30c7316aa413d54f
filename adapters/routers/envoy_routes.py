"""Between Aviary's route and Envoy's virtual host: pure data, both ways.

A virtual host carries the whole `Route` in its metadata, so that the file is the only store: what
is applied, its generation and its owner survive whatever dies, and `config_dump` shows them. Beside
it stands a digest of all the rest: what somebody else has changed is told from what Aviary wrote.

In one virtual host, first match first:

1. header `x-canary: always` or `never`, then cookie `canary=always` or `never`: that version;
   these matches are there only while there is a canary;
2. the split, for methods that may safely be repeated (`GET`, `HEAD`, `OPTIONS`);
3. the split, for all others, which are repeated only if no instance has seen the request.

Stable stands first in the split, the total is always 10,000, and the bucket is a hash of the user:
so users keep their version while the weight grows, and the same ones come back when it shrinks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.routers.envoy_capabilities import WEIGHTS
from adapters.routers.envoy_names import (
    TYPES,
    forced_name,
    guarded_name,
    pool_name,
    tag_of,
    tagged,
)
from adapters.routers.envoy_sampling import USER_COOKIE, USER_HEADER
from schemas.outside import cut
from schemas.route import Route

FORCE_HEADER = "x-canary"
FORCE_COOKIE = "canary"

Domains = Callable[[str], Sequence[str]]

_DIGEST = "digest"
_SAID_MOST = 200
_PREDICATES = f"{TYPES}envoy.extensions.retry"
_UNSEEN = "connect-failure,refused-stream,reset-before-request"
_SAFE_METHODS = "GET|HEAD|OPTIONS"


def local_domains(service: str) -> Sequence[str]:
    """Hosts of a service by default: `payments` and `payments.local`, with or without a port."""
    return [service, f"{service}:*", f"{service}.local", f"{service}.local:*"]


def virtual_host(route: Route, domains: Domains) -> dict[str, Any]:
    """Describe a route to Envoy."""
    safe = {":method": {"safe_regex": {"regex": _SAFE_METHODS}}}
    host = {
        "name": route.service,
        "domains": list(domains(route.service)),
        "routes": [
            *_forced(route),
            _split(route, safe, f"{_UNSEEN},reset"),
            _split(route, {}, _UNSEEN),
        ],
    }
    return sealed({**host, "metadata": tagged(_tag(route))})


def sealed(host: Mapping[str, Any]) -> dict[str, Any]:
    """A virtual host with the digest of what it does beside its route."""
    tag = {**(tag_of(host) or {}), _DIGEST: _digest(host)}
    return {**host, "metadata": tagged(tag)}


def _tag(route: Route) -> dict[str, Any]:
    tag = route.model_dump(mode="json", exclude_none=True)
    for arm in tag["arms"]:
        # A bare 5.0 comes back as text, since Envoy reads YAML; written as text it stays the same.
        arm["weight"] = f"{arm['weight']}%"
    return tag


def _digest(host: Mapping[str, Any]) -> str:
    """Of all that a virtual host does: its own tag left out."""
    plain = {name: value for name, value in host.items() if name != "metadata"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def is_changed(host: Mapping[str, Any]) -> bool:
    """Whether a virtual host of the file was changed by somebody else since Aviary wrote it."""
    tag = tag_of(host)
    return tag is None or tag.get(_DIGEST) != _digest(host)


def split_in(host: Mapping[str, Any]) -> str:
    """Where a virtual host sends what asks for no version, for a person; empty if it is not said.

    Args:
        host: of the file, as it was found: whoever changed it may have written anything.
    """
    routes = host.get("routes")
    last = routes[-1] if isinstance(routes, list) and routes else None
    action = last.get("route") if isinstance(last, Mapping) else None
    if not isinstance(action, Mapping):
        return ""
    if isinstance(cluster := action.get("cluster"), str):
        return cut(cluster, _SAID_MOST)
    weighted = action.get("weighted_clusters")
    clusters = weighted.get("clusters") if isinstance(weighted, Mapping) else None
    found = [one for one in clusters or [] if isinstance(one, Mapping)]
    parts = (f"{str(one.get('name')).partition('/')[0]} {one.get('weight')}" for one in found)
    return cut(", ".join(parts), _SAID_MOST)


def clusters_of(route: Route) -> frozenset[str]:
    """Name every cluster that the virtual host of a route sends requests to."""
    stable = pool_name(route.service, route.stable)
    if route.canary is None:
        return frozenset({stable})
    guarded = guarded_name(route.service, route.canary, route.stable)
    forced = (forced_name(route.service, version) for version in (route.stable, route.canary))
    return frozenset({stable, guarded, *forced})


def route_in(config: Mapping[str, Any], service: str) -> Route | None:
    """The route of a service in a route configuration; None if there is none.

    Raises:
        Retryable: there is one but it is damaged: somebody must repair it.
    """
    tag = tags_in(config).get(service)
    if tag is None:
        return None
    try:
        return Route.model_validate({k: v for k, v in tag.items() if k != _DIGEST})
    except ValidationError as error:
        raise Retryable(f"virtual host {service}: expected Aviary's route: {error}") from error


def host_in(config: Mapping[str, Any], service: str) -> Mapping[str, Any] | None:
    """The virtual host of a service, whoever wrote it."""
    hosts: Sequence[Mapping[str, Any]] = config.get("virtual_hosts", [])
    return next((host for host in hosts if host.get("name") == service), None)


def tags_in(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the virtual hosts of a route configuration carry for Aviary, by service."""
    tags = {host.get("name", ""): tag_of(host) for host in config.get("virtual_hosts", [])}
    return {name: tag for name, tag in tags.items() if tag is not None}


def _forced(route: Route) -> list[dict[str, Any]]:
    if route.canary is None:
        return []
    wishes = {
        "always": forced_name(route.service, route.canary),
        "never": forced_name(route.service, route.stable),
    }
    by_header = [
        ({"headers": _headers({FORCE_HEADER: {"exact": wish}})}, cluster)
        for wish, cluster in wishes.items()
    ]
    by_cookie = [
        ({"cookies": [{"name": FORCE_COOKIE, "string_match": {"exact": wish}}]}, cluster)
        for wish, cluster in wishes.items()
    ]
    return [
        {"match": {"prefix": "/", **match}, "route": {"cluster": cluster, **_sticky()}}
        for match, cluster in (*by_header, *by_cookie)
    ]


def _split(route: Route, headers: Mapping[str, Any], retry_on: str) -> dict[str, Any]:
    action: dict[str, Any] = {**_sticky(), "retry_policy": _retries(retry_on)}
    if route.canary is None:
        action["cluster"] = pool_name(route.service, route.stable)
    else:
        stable, canary = WEIGHTS.nearest(route.weight)
        guarded = guarded_name(route.service, route.canary, route.stable)
        action["weighted_clusters"] = {
            "use_hash_policy": True,
            "clusters": [
                {"name": pool_name(route.service, route.stable), "weight": stable},
                {"name": guarded, "weight": canary},
            ],
        }
    match: dict[str, Any] = {"prefix": "/"}
    if headers:
        match["headers"] = _headers(headers)
    return {"match": match, "route": action}


def _headers(matches: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "string_match": match} for name, match in matches.items()]


def _sticky() -> dict[str, Any]:
    cookie = {"name": USER_COOKIE, "ttl": "2592000s", "path": "/"}
    return {
        "hash_policy": [
            {"header": {"header_name": USER_HEADER}, "terminal": True},
            {"cookie": cookie},
        ]
    }


def _retries(retry_on: str) -> dict[str, Any]:
    hosts = f"{_PREDICATES}.host.previous_hosts.v3.PreviousHostsPredicate"
    priorities = f"{_PREDICATES}.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "retry_on": retry_on,
        "num_retries": 2,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": hosts}}
        ],
        "host_selection_retry_max_attempts": 3,
        # In the aggregate the canary is the first priority and stable the second.
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": priorities, "update_frequency": 1},
        },
    }
