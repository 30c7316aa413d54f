"""Between Aviary's route and the routes of an Istio VirtualService: pure data, both ways.

The routes of a service are those whose destination is its host, or the host of one of its
versions. Each keeps its matches, retries and whatever else it has, and gets other destinations.
Before each of HTTP stand, while there is a canary, copies of it with more to match, known by their
names:

    aviary.<service>.<n>.always     who asks for the canary, by header or cookie
    aviary.<service>.<n>.never      who asks for stable
    aviary.<service>.<n>.audience   those whom the canary is for, to the split

The first that matches takes a request. Those of TLS and TCP split connections, and know no more. To
write a route that is there already changes nothing: that is how somebody else's change is seen.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.errors import ForeignChange, UnknownRoute, Unsupported
from adapters.routers.kubernetes.cookies import pattern
from adapters.routers.kubernetes.names import Backends
from adapters.routers.kubernetes.parts import ALWAYS, FORCE_COOKIE, FORCE_HEADER, NEVER, parts
from schemas.outside import cut, visible
from schemas.route import AudienceBy, Match, Mirror, Route

Rule = dict[str, Any]
HTTP: Final = "http"
PLAIN: Final = ("tls", "tcp")
"""Those that know connections only."""
_ALL: Final = 100
_SAID_MOST: Final = 300


@dataclass(frozen=True)
class Hosts:
    """The destinations of one service."""

    backends: Backends
    namespace: str
    """Of the VirtualService, which short names belong to."""
    subsets: bool = False
    """Whether versions are subsets of the service's host, and not Services of their own."""

    def names(self, *routes: Route | None) -> frozenset[str]:
        """The Services that are the service's own."""
        if self.subsets:
            return frozenset({self.backends.base})
        versions = [one for route in routes if route is not None for one in route.versions]
        split = {self.backends.of(version) for version in versions}
        apart = {self.backends.apart_of(version) for version in versions}
        return frozenset({self.backends.base}) | split | apart

    def copies(self, *routes: Route | None) -> frozenset[tuple[str, str]]:
        """Service and subset of each version, as a mirror of Aviary's names them."""
        versions = [one for route in routes if route is not None for one in route.versions]
        if self.subsets:
            return frozenset((self.backends.base, self.backends.of(one)) for one in versions)
        return frozenset((self.backends.apart_of(one), "") for one in versions)

    def service(self, destination: Mapping[str, Any]) -> str | None:
        """The Service of the namespace that a destination names, if that is what it does."""
        name, _, domain = str(destination.get("host", "")).partition(".")
        is_here = not domain or domain == self.namespace or domain.startswith(f"{self.namespace}.")
        return name if is_here else None

    def to(self, model: Mapping[str, Any], version: str, *, is_split: bool) -> Rule:
        """A destination like another one, for a version."""
        kept = copy.deepcopy(dict(model))
        if self.subsets:
            return kept | {"subset": self.backends.of(version)}
        name = self.backends.of(version) if is_split else self.backends.apart_of(version)
        _, dot, domain = str(kept["host"]).partition(".")
        return kept | {"host": f"{name}{dot}{domain}"}


def put(
    spec: Mapping[str, Any],
    route: Route,
    hosts: Hosts,
    *,
    before: Route | None = None,
    is_forced: bool = True,
) -> Rule:
    """The routes of a VirtualService with a route of Aviary's in them, by `http`, `tls` and `tcp`.

    Args:
        spec: as the API server has it.
        route: what shall be.
        hosts: names of destinations.
        before: what Aviary wrote last; its versions are known for the service's own.
        is_forced: whether requests can ask for a version.

    Raises:
        UnknownRoute: no route sends to the service.
        ForeignChange: one sends to its hosts and to others.
        Unsupported: one leaves no room for what the route asks for.
    """
    ours = hosts.names(route, before)
    made = _Made(route, hosts, hosts.copies(route, before), is_forced=is_forced)
    found: Rule = {}
    number = 0
    for section in (HTTP, *PLAIN):
        if section not in spec:
            continue
        found[section] = []
        for rule in spec[section] or ():
            if section == HTTP and is_added(rule, route.service):
                continue
            if not _is_ours(rule, hosts, ours, route.service):
                found[section].append(rule)
            elif section == HTTP:
                found[section] += made.rules(rule, number)
                number += 1
            else:
                found[section].append(made.plain(rule, section))
                number += 1
    if not number:
        raise UnknownRoute(
            f"{route.service}: no route sends to the host {hosts.backends.base}, or to one of: "
            f"{', '.join(sorted(ours - {hosts.backends.base})) or 'its subsets'}"
        )
    return found


def is_added(rule: Mapping[str, Any], service: str) -> bool:
    """Whether a route is one of those that Aviary adds."""
    return str(rule.get("name", "")).startswith(f"aviary.{service}.")


def split_in(spec: Mapping[str, Any], service: str, hosts: Hosts, names: Collection[str]) -> str:
    """Where the routes of a service send, for a person; empty where none does."""
    found = []
    for section in (HTTP, *PLAIN):
        for rule in spec.get(section) or ():
            sent = [one for one in rule.get("route") or () if hosts.service(_to(one)) in names]
            if sent and not is_added(rule, service):
                found.append(
                    ", ".join(f"{_text(_to(one))} {one.get('weight', 100)}" for one in sent)
                )
    return visible(cut("; ".join(dict.fromkeys(found)), _SAID_MOST))


def _to(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = one.get("destination") or {}
    return found


def _text(destination: Mapping[str, Any]) -> str:
    subset = destination.get("subset")
    return f"{destination.get('host')}{f' {subset}' if subset else ''}"


def _is_ours(rule: Rule, hosts: Hosts, names: Collection[str], service: str) -> bool:
    destinations = [_to(one) for one in rule.get("route") or ()]
    ours = [hosts.service(one) in names for one in destinations]
    if any(ours) and not all(ours):
        said = ", ".join(map(_text, destinations))
        raise ForeignChange(
            service, f"a route sends to {visible(cut(said, _SAID_MOST))}, expected only its own"
        )
    return any(ours)


class _Made:
    """Makes routes of one route of a team."""

    def __init__(
        self, route: Route, hosts: Hosts, copies: Collection[tuple[str, str]], *, is_forced: bool
    ) -> None:
        self._route = route
        self._hosts = hosts
        self._ours = copies
        self._is_forced = is_forced

    def rules(self, rule: Rule, number: int) -> list[Rule]:
        """Those that are added, and the route itself."""
        route, name = self._route, f"aviary.{self._route.service}.{number}"
        plain, mirrored = self._without_mirror(rule), self._mirrored(rule)
        split = {"route": self._split(rule)}
        found = []
        if self._is_forced and route.canary is not None:
            for wish, version in ((ALWAYS, route.canary), (NEVER, route.stable)):
                match = list(self._matches(rule, _forces(wish)))
                to = {"route": self._all(rule, version)}
                found.append({**plain, "name": f"{name}.{wish}", "match": match} | to)
        if route.audience is None:
            return [*found, {**mirrored} | split]
        match = list(self._matches(rule, route.audience.any_of))
        audience = {**mirrored, "name": f"{name}.audience", "match": match} | split
        return [*found, audience, {**mirrored, "route": self._all(rule, route.stable)}]

    def plain(self, rule: Rule, section: str) -> Rule:
        """A route of connections."""
        if self._route.audience is not None:
            raise Unsupported(
                f"{self._route.service}: a route of {section} can't tell an audience, "
                "expected none, or routes of http only"
            )
        return {**rule, "route": self._split(rule)}

    def _split(self, rule: Rule) -> list[Rule]:
        route, share = self._route, parts(self._route)
        if route.canary is None:
            return [self._one(rule, route.stable, _ALL)]
        versions = (route.stable, route.canary)
        return [
            self._one(rule, version, weight)
            for version, weight in zip(versions, share, strict=True)
        ]

    def _all(self, rule: Rule, version: str) -> list[Rule]:
        return [self._one(rule, version, _ALL, is_split=False)]

    def _one(self, rule: Rule, version: str, weight: int, *, is_split: bool = True) -> Rule:
        """A destination with this weight; all else of it is kept: port, headers."""
        there = {_text(_to(one)): one for one in rule["route"]}
        model = rule["route"][0]
        to = self._hosts.to(_to(model), version, is_split=is_split)
        kept = copy.deepcopy(there.get(_text(to), model))
        return {**kept, "destination": to, "weight": weight}

    def _matches(self, rule: Rule, more: Sequence[Match]) -> Iterator[Rule]:
        everything: tuple[Rule, ...] = ({},)
        for match in rule.get("match") or everything:
            for one in more:
                yield self._narrowed(match, one)

    def _narrowed(self, match: Mapping[str, Any], more: Match) -> Rule:
        is_header = more.by is AudienceBy.HEADER
        name = more.name.lower() if is_header else "cookie"
        headers = dict(match.get("headers") or {})
        if any(header.lower() == name for header in headers):
            raise Unsupported(
                f"{self._route.service}: a route of it matches by header {name} already, "
                f"expected one that leaves it to {more.by} {more.name}"
            )
        wanted = {"exact": more.value} if is_header else {"regex": pattern(more.name, more.value)}
        return {**copy.deepcopy(dict(match)), "headers": headers | {name: wanted}}

    def _mirrored(self, rule: Rule) -> Rule:
        """The route with Aviary's mirror in the place of an older one, or without."""
        plain = self._without_mirror(rule)
        mirror = self._route.mirror
        if mirror is None:
            return plain
        if "mirror" in plain:
            raise Unsupported(
                f"{self._route.service}: a route of it has a mirror of its own, expected mirrors, "
                "which may be several"
            )
        there = rule.get("mirrors") or []
        at = next((n for n, one in enumerate(there) if self._copies(one)), len(there))
        rest = list(plain.get("mirrors") or ())
        rest.insert(at, self._mirror(mirror, rule))
        return {**plain, "mirrors": rest}

    def _mirror(self, mirror: Mirror, rule: Rule) -> Rule:
        to = self._hosts.to(_to(rule["route"][0]), mirror.version, is_split=False)
        return {"destination": to, "percentage": {"value": mirror.share}}

    def _without_mirror(self, rule: Rule) -> Rule:
        kept = [one for one in rule.get("mirrors") or () if not self._copies(one)]
        rest = {name: value for name, value in rule.items() if name != "mirrors"}
        return {**rest, "mirrors": kept} if kept else rest

    def _copies(self, one: Mapping[str, Any]) -> bool:
        to = _to(one)
        return (self._hosts.service(to), str(to.get("subset", ""))) in self._ours


def _forces(wish: str) -> tuple[Match, ...]:
    return (
        Match(by=AudienceBy.HEADER, name=FORCE_HEADER, value=wish),
        Match(by=AudienceBy.COOKIE, name=FORCE_COOKIE, value=wish),
    )
