"""Between Aviary's route and Envoy's virtual host: pure data, both ways.

A virtual host carries the whole `Route` in its metadata, so that the file is the only store: what
is applied, its generation and its owner survive whatever dies, and `config_dump` shows them. Beside
it stands a digest of all the rest: what somebody else has changed is told from what Aviary wrote.

In one virtual host, first match first:

1. header `x-canary: always` or `never`, then cookie `canary=always` or `never`: that version;
   these matches are there only while there is a canary, and so is the next, which sends what a
   copy caused (header `x-aviary-mirror`) to stable;
2. the split, for methods that may safely be repeated (`GET`, `HEAD`, `OPTIONS`);
3. the split, for all others, which are repeated only if no instance has seen the request.

Where the release has a lane, 2 and 3 stand behind the same two for requests that have it, which get
the canary, and are there twice: what the split sends to the canary is given the lane, beside what
its header has already. Nothing that has the lane is given it again.

Where the canary is for an audience, 2 and 3 stand once for each of its matches, and stable for
everybody else comes last, in a cluster that is counted apart, or the share would not be that of the
audience. Those who were let in before it have a split of their own, likewise, between clusters that
are counted apart. Who is in several has the one with the largest weight: it stands first. Copies
are made of 2 and, where the service can take them, of 3; they are counted apart.

Stable stands first in the split, the total is always 10,000, and the bucket is a hash of the user:
so users keep their version while the weight grows, and the same ones come back when it shrinks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.routers.envoy.capabilities import WEIGHTS
from adapters.routers.envoy.lanes import LANE_STAT, carried, given
from adapters.routers.envoy.matches import exactly, fits
from adapters.routers.envoy.names import (
    TYPES,
    apart_name,
    guarded_apart_name,
    guarded_name,
    pool_name,
    tag_of,
    tagged,
)
from adapters.routers.envoy.sampling import USER_COOKIE, USER_HEADER
from schemas.outside import cut
from schemas.route import MIRROR_HEADER, AudienceBy, Mirror, Route, Tier
from schemas.sticky import Session, Sticky

FORCE_HEADER = "x-canary"
FORCE_COOKIE = "canary"

Domains = Callable[[str], Sequence[str]]

_DIGEST = "digest"
_GENERATION = re.compile(r"[0-9]{1,18}")
_SAID_MOST = 200
_PREDICATES = f"{TYPES}envoy.extensions.retry"
_UNSEEN = "connect-failure,refused-stream,reset-before-request"
_SAFE_METHODS = "GET|HEAD|OPTIONS"
_NOTHING: Mapping[str, Any] = {}
_MARKED: Mapping[str, Any] = {"name": MIRROR_HEADER, "present_match": True}


def local_domains(service: str) -> Sequence[str]:
    """Hosts of a service by default: `payments` and `payments.local`, with or without a port."""
    return [service, f"{service}:*", f"{service}.local", f"{service}.local:*"]


def virtual_host(route: Route, domains: Domains) -> dict[str, Any]:
    """Describe a route to Envoy."""
    host = {
        "name": route.service,
        "domains": list(domains(route.service)),
        "routes": [*_forced(route), *_by_audience(route)],
    }
    return sealed({**host, "metadata": tagged(_tag(route))})


def sealed(host: Mapping[str, Any]) -> dict[str, Any]:
    """A virtual host with the digest of what it does beside its route."""
    tag = {**(tag_of(host) or {}), _DIGEST: _digest(host)}
    return {**host, "metadata": tagged(tag)}


def _tag(route: Route) -> dict[str, Any]:
    tag = route.model_dump(mode="json", exclude_none=True)
    # A bare 5.0 and a large number come back as text, since Envoy reads YAML; written as text they
    # stay the same.
    tag["generation"] = str(tag["generation"])
    for share in (*tag["arms"], *tag.get("kept", ())):
        share["weight"] = f"{share['weight']}%"
    if "mirror" in tag:
        tag["mirror"]["share"] = f"{tag['mirror']['share']}%"
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
    found = {pool_name(route.service, route.stable)}
    if route.mirror is not None:
        found.add(apart_name(route.service, route.mirror.version))
    if route.canary is not None:
        found.add(guarded_name(route.service, route.canary, route.stable))
        found |= {apart_name(route.service, one) for one in (route.stable, route.canary)}
        if route.kept or route.lane is not None:
            found.add(guarded_apart_name(route.service, route.canary, route.stable))
    return frozenset(found)


def route_in(config: Mapping[str, Any], service: str) -> Route | None:
    """The route of a service in a route configuration; None if there is none.

    Raises:
        Retryable: there is one but it is damaged: somebody must repair it.
    """
    tag = tags_in(config).get(service)
    if tag is None:
        return None
    known = {key: value for key, value in tag.items() if key != _DIGEST}
    generation = known.get("generation")
    if isinstance(generation, str) and _GENERATION.fullmatch(generation):
        known["generation"] = int(generation)
    try:
        return Route.model_validate(known)
    except ValidationError as error:
        raise Retryable(f"virtual host {service}: expected Aviary's route: {error}") from error


def leased_in(config: Mapping[str, Any]) -> frozenset[str]:
    """The services whose route has a lease, by their mark alone."""
    return frozenset(name for name, tag in tags_in(config).items() if "lease" in tag)


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
        "always": apart_name(route.service, route.canary),
        "never": apart_name(route.service, route.stable),
    }
    return [
        {
            "match": {"prefix": "/", **exactly(by, name, wish)},
            "route": {"cluster": cluster, **_sticky(route.sticky)},
        }
        for by, name in ((AudienceBy.HEADER, FORCE_HEADER), (AudienceBy.COOKIE, FORCE_COOKIE))
        for wish, cluster in wishes.items()
    ] + [{"match": {"prefix": "/", "headers": [_MARKED]}, "route": {"cluster": wishes["never"]}}]


def _by_audience(route: Route) -> list[dict[str, Any]]:
    """What each audience has, and everybody else."""
    return [
        entry
        for tier in route.tiers
        for match in ([{}] if tier.audience is None else map(fits, tier.audience.any_of))
        for entry in _of_tier(route, tier, match)
    ]


def _of_tier(route: Route, tier: Tier, match: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the requests of one match of an audience have: those of the lane first."""
    lane = route.open_lane
    if lane is None or route.canary is None:
        yield from _both(route, match, _split(route, tier))
        return
    to = _guarded(tier)(route.service, route.canary, route.stable)
    for entry in _both(route, _also(match, carried(lane)), {"cluster": to}):
        yield {**entry, "stat_prefix": LANE_STAT}
    if not tier.weight:
        yield from _both(route, match, _split(route, tier))
        return
    for headers, added in given(lane):
        yield from _both(route, _also(match, *headers), _split(route, tier, added))


def _also(match: Mapping[str, Any], *headers: Mapping[str, Any]) -> dict[str, Any]:
    """A match that wants these headers, too."""
    return {**match, "headers": [*match.get("headers", ()), *headers]}


def _both(
    route: Route, match: Mapping[str, Any], action: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """An action for methods that may safely be repeated, and copied, and for the others."""
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": _SAFE_METHODS}}}
    sticky = _sticky(route.sticky)
    reads = _also(match, safe)
    copied = {} if route.mirror is None else _copied(route.service, route.mirror)
    also = copied if route.mirror is not None and route.mirror.writes else {}
    return [
        {
            "match": {"prefix": "/", **matched},
            "route": {
                **sticky,
                "retry_policy": _retries(retry_on),
                **action,
                **mirrored,
            },
        }
        for matched, retry_on, mirrored in (
            (reads, f"{_UNSEEN},reset", copied),
            (match, _UNSEEN, also),
        )
    ]


def _guarded(tier: Tier) -> Callable[[str, str, str], str]:
    return guarded_name if tier.counted else guarded_apart_name


def _split(route: Route, tier: Tier, added: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
    """Where requests go by weight.

    Args:
        route: of the service.
        tier: whose requests.
        added: what those that go to the canary are given.
    """
    service, own = route.service, pool_name if tier.counted else apart_name
    if route.canary is None or not (tier.counted or tier.weight):
        return {"cluster": own(service, route.stable)}
    stable, canary = WEIGHTS.nearest(tier.weight)
    to = _guarded(tier)(service, route.canary, route.stable)
    clusters = [
        {"name": own(service, route.stable), "weight": stable},
        {"name": to, "weight": canary, **added},
    ]
    hashed = route.sticky is None or not route.sticky.nothing
    return {"weighted_clusters": {"use_hash_policy": hashed, "clusters": clusters}}


def _copied(service: str, mirror: Mirror) -> dict[str, Any]:
    """Copies, marked, and such that no router downstream sends what they cause to a canary."""
    share = {"numerator": WEIGHTS.nearest(mirror.share).canary, "denominator": "TEN_THOUSAND"}
    headers = {MIRROR_HEADER: "true", FORCE_HEADER: "never"}
    policy: dict[str, Any] = {
        "cluster": apart_name(service, mirror.version),
        "runtime_fraction": {"default_value": share},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [
            {
                "append": {
                    "header": {"key": name, "value": value},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            }
            for name, value in headers.items()
        ],
    }
    return {"request_mirror_policies": [policy]}


def _sticky(sticky: Sticky | None) -> dict[str, Any]:
    """What the bucket of a request is a hash of."""
    if sticky is None:
        cookie = {"name": USER_COOKIE, "ttl": "2592000s", "path": "/"}
        user = {"header": {"header_name": USER_HEADER}, "terminal": True}
        return {"hash_policy": [user, {"cookie": cookie}]}
    if sticky.user is not None:
        name = sticky.user.header
        by_cookie = {"cookie": {"name": sticky.user.cookie}}
        return {"hash_policy": [{"header": {"header_name": name}} if name else by_cookie]}
    if sticky.session is not None:
        return {"hash_policy": [{"cookie": _session(sticky.session)}]}
    if sticky.address:
        return {"hash_policy": [{"connection_properties": {"source_ip": True}}]}
    return {}


def _session(session: Session) -> dict[str, Any]:
    """A cookie that Envoy gives to whoever has none."""
    attributes = [{"name": "SameSite", "value": session.same_site.value}]
    attributes += [{"name": "Secure", "value": ""}] if session.secure else []
    return {
        "name": session.cookie,
        "ttl": f"{int(session.age.total_seconds())}s",
        "path": "/",
        "attributes": attributes,
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
