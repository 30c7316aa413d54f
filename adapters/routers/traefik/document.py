"""Between Aviary's route and Traefik's dynamic configuration: pure data, both ways.

Of each service there are, below `http`:

    routers/<service>             its hosts, to the split, or to stable where the canary is for some
    routers/<service>.audience    those whom the canary is for, to the split
    routers/<service>.always      who asks for the canary, by header or cookie, to its twin
    routers/<service>.never       who asks for stable
    routers/<service>.reads       with a mirror of GET, HEAD and OPTIONS alone: those of the first
    routers/<service>.audience.reads    likewise of the second
    services/<service>            the split; with a mirror, what copies and then splits
    services/<service>.split      the split, beside a mirror
    services/<service>.<digest>   a pool under a name that can be hashed (see `_by_address`)
    services/<service>.others     stable with copies, for everybody whom the canary is not for
    middlewares/<service>.route   the route and a digest of all the rest; no router uses it

The last is how the store and Traefik's API tell which route they have: a configuration of a
provider is taken as a whole, so that whoever shows it serves the rest as well. The digest tells
what somebody else has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.routers.traefik.capabilities import WEIGHTS, Sticky
from adapters.routers.traefik.matches import fits, quoted
from adapters.routers.traefik.names import apart_name, mark_name, pool_name
from adapters.routers.traefik.store import Entries, flatten
from schemas.outside import cut
from schemas.route import AudienceBy, Match, Route

FORCE: Final = {AudienceBy.HEADER: "X-Canary", AudienceBy.COOKIE: "canary"}
"""The header and the cookie that ask for a version: `always` the canary, or `never`."""

ROUTE: Final = "aviary-route"
DIGEST: Final = "aviary-digest"
LOCAL: Final = "Host(`{service}`) || Host(`{service}.local`)"
"""The requests of a service by default."""
SERVICE: Final = "{service}"
"""Stands for the name of the service in a rule."""
_SAID_MOST: Final = 200
_KINDS: Final = ("weighted", "highestRandomWeight")
_READS: Final = "(Method(`GET`) || Method(`HEAD`) || Method(`OPTIONS`))"


@dataclass(frozen=True)
class Entrance:
    """Which requests are those of a service, and how they are treated beside their route."""

    rule: str = LOCAL
    """In Traefik's language; `{service}` stands for the name."""
    entry_points: tuple[str, ...] = ()
    """Names; none: all that Traefik takes by default."""
    middlewares: tuple[str, ...] = ()
    tls: bool = False
    sticky: Sticky = Sticky.NONE

    def of(self, service: str) -> str:
        """The rule of one service."""
        return self.rule.replace(SERVICE, service)


EVERYWHERE: Final = Entrance()


def document(route: Route, entrance: Entrance) -> dict[str, Any]:
    """Describe a route to Traefik."""
    plain = {"routers": _routers(route, entrance), "services": _services(route, entrance.sticky)}
    mark = {
        # ASCII: Traefik's YAML has no halves of surrogate pairs, as JSON around it would.
        ROUTE: json.dumps(route.model_dump(mode="json", exclude_none=True)),
        DIGEST: _digest(flatten({"http": plain})),
    }
    middlewares = {mark_name(route.service): {"headers": {"customRequestHeaders": mark}}}
    return {"http": {**plain, "middlewares": middlewares}}


def names(route: Route, entrance: Entrance) -> list[str]:
    """What Traefik must have taken up, as paths of its API: `routers/payments`."""
    http = document(route, entrance)["http"]
    return [f"{kind}/{name}" for kind in ("services", "routers") for name in http[kind]]


def route_in(entries: Entries, service: str) -> Route | None:
    """The route of a service in what a store has; None where nothing is marked as one.

    Raises:
        Retryable: there is one but it is damaged: somebody must repair it.
    """
    text = entries.get(route_path(service))
    return None if text is None else read_mark(service, text)


def route_path(service: str) -> str:
    """Where in a store the route is."""
    return f"{_mark(service)}/{ROUTE}"


def read_mark(service: str, text: str) -> Route:
    """A route as its middleware carries it.

    Raises:
        Retryable: it is damaged.
    """
    try:
        found = Route.model_validate_json(text)
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors(include_input=False))
        raise Retryable(f"middleware {mark_name(service)}: expected a route: {why}") from None
    if found.service != service:
        raise Retryable(f"middleware {mark_name(service)}: holds a route of {found.service}")
    return found


def is_changed(entries: Entries, service: str) -> bool:
    """Whether somebody else has changed what Aviary wrote."""
    mark = _mark(service)
    rest = {name: value for name, value in entries.items() if not name.startswith(f"{mark}/")}
    return entries.get(f"{mark}/{DIGEST}") != _digest(rest)


def split_in(entries: Entries, service: str) -> str:
    """Where the requests go, for a person; empty if that is not said in a form that is known.

    Args:
        entries: as they were found: whoever changed them may have written anything.
        service: whose they are.
    """
    for name, kind in product((service, f"{service}.split"), _KINDS):
        prefix = f"http/services/{name}/{kind}/services/"
        parts = [
            f"{entries.get(f'{prefix}{n}/name')} {entries.get(f'{prefix}{n}/weight', '1')}"
            for n in range(2)
            if f"{prefix}{n}/name" in entries
        ]
        if parts:
            return cut(", ".join(parts), _SAID_MOST)
    return ""


def _mark(service: str) -> str:
    return f"http/middlewares/{mark_name(service)}/headers/customRequestHeaders"


def _digest(entries: Entries) -> str:
    return _hash(json.dumps(sorted(entries.items())))


def _services(route: Route, sticky: Sticky) -> dict[str, Any]:
    service, mirror = route.service, route.mirror
    if mirror is None:
        return _split(service, route, sticky)
    copies = [{"name": apart_name(service, mirror.version), "percent": int(mirror.share)}]
    split = f"{service}.split"
    found = {
        **_split(split, route, sticky),
        service: {"mirroring": {"service": split, "mirrors": copies}},
    }
    if route.audience is not None:
        stable = apart_name(service, route.stable)
        found[f"{service}.others"] = {"mirroring": {"service": stable, "mirrors": copies}}
    return found


def _split(name: str, route: Route, sticky: Sticky) -> dict[str, Any]:
    """The service of this name that splits the requests, and what it needs."""
    pools = [pool_name(route.service, arm.version) for arm in route.arms]
    if route.canary is None:
        return {name: _weighted(pools, (1,))}
    parts = WEIGHTS.nearest(route.weight)
    if sticky is Sticky.ADDRESS:
        return _by_address(name, route.service, pools, parts)
    found = _weighted(pools, parts)
    if sticky is Sticky.COOKIE:
        # Of this canary: who stayed with stable all through the last is drawn anew for the next.
        cookie = f"aviary-{route.service}-{_hash(route.canary)[:8]}"
        settings = {"name": cookie, "path": "/", "httpOnly": True}
        found["weighted"]["sticky"] = {"cookie": settings}
    return {name: found}


def _by_address(
    name: str, service: str, pools: Sequence[str], parts: Sequence[int]
) -> dict[str, Any]:
    """A split of addresses, by highest random weight.

    Traefik hashes the address and then the name with FNV-1a, which hardly mixes what comes last: of
    names that differ in their last character alone, the one with more weight would have everybody.
    So each pool stands behind a name that differs all along.
    """
    names = {f"{service}.{_hash(pool)[:32]}": pool for pool in pools}
    behind = {one: _weighted([pool], (1,)) for one, pool in names.items()}
    weighted = _weighted(list(names), parts)["weighted"]
    return {name: {"highestRandomWeight": weighted}, **behind}


def _weighted(names: Sequence[str], parts: Sequence[int]) -> dict[str, Any]:
    pairs = zip(names, parts, strict=True)
    return {"weighted": {"services": [{"name": name, "weight": part} for name, part in pairs]}}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _routers(route: Route, entrance: Entrance) -> dict[str, Any]:
    """The routers of a service; Traefik asks the one with the highest priority first.

    Without one, a priority is the length of the rule. The others follow upon it: what has been
    longer, and so came before, still does.
    """
    service, base = route.service, entrance.of(route.service)
    stable, step = apart_name(service, route.stable), 2 if _leaves_out(route) else 1
    found = _copying(route, entrance, service, _Way(service, f"{service}.split"))
    if route.audience is not None:
        meant = _any(map(fits, route.audience.any_of))
        others = _Way(f"{service}.others" if route.mirror else stable, stable)
        ours = _Way(service, f"{service}.split", meant, above=step)
        found = {
            **_copying(route, entrance, service, others),
            **_copying(route, entrance, f"{service}.audience", ours),
        }
    if route.canary is not None:
        for wish, version in (("always", route.canary), ("never", route.stable)):
            pool = apart_name(service, version)
            found[f"{service}.{wish}"] = _router(entrance, base, pool, _asks(wish), above=2 * step)
    return found


@dataclass(frozen=True)
class _Way:
    """Where some requests go."""

    whole: str
    """The service that makes copies too, where there is a mirror."""
    plain: str
    """The one without copies."""
    condition: str = ""
    above: int = 0


def _leaves_out(route: Route) -> bool:
    """Whether some of the requests are not to be copied."""
    return route.mirror is not None and not route.mirror.writes


def _copying(route: Route, entrance: Entrance, name: str, way: _Way) -> dict[str, Any]:
    """The router of some requests; of those that are copied another, where not all are."""
    base = entrance.of(route.service)
    if not _leaves_out(route):
        return {name: _router(entrance, base, way.whole, way.condition, way.above)}
    reads = " && ".join(filter(None, (way.condition, _READS)))
    return {
        name: _router(entrance, base, way.plain, way.condition, way.above),
        f"{name}.reads": _router(entrance, base, way.whole, reads, way.above + 1),
    }


def _router(
    entrance: Entrance, base: str, service: str, condition: str = "", above: int = 0
) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": f"({base}) && {condition}" if condition else base}
    if above:
        found["priority"] = len(base) + above
    if entrance.entry_points:
        found["entryPoints"] = list(entrance.entry_points)
    if entrance.middlewares:
        found["middlewares"] = list(entrance.middlewares)
    if entrance.tls:
        found["tls"] = {"options": "default"}  # a section without fields is none in etcd
    return {**found, "service": service}


def _asks(wish: str) -> str:
    """The condition for who asks for a version; the header comes first."""
    header, cookie = FORCE[AudienceBy.HEADER], FORCE[AudienceBy.COOKIE]
    by_header = fits(Match(by=AudienceBy.HEADER, name=header, value=wish))
    by_cookie = fits(Match(by=AudienceBy.COOKIE, name=cookie, value=wish))
    said = f"HeaderRegexp({quoted(header)}, {quoted('^(always|never)$')})"
    return f"({by_header} || ({by_cookie} && !{said}))"


def _any(conditions: Iterable[str]) -> str:
    return f"({' || '.join(conditions)})"
