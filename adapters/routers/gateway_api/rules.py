"""Between Aviary's route and the rules of an HTTPRoute or GRPCRoute: pure data, both ways.

The rules of a service are those that send to its Service, or to Services of its versions. Each
keeps its place, matches, filters and time-outs, and gets other backends. Behind all rules stand,
while there is a canary, copies of it with more to match, which are known by their names:

    aviary.<service>.<n>.always     who asks for the canary, by header or cookie
    aviary.<service>.<n>.never      who asks for stable
    aviary.<service>.<n>.audience   those whom the canary is for, to the split

More to match goes first in the Gateway API, and the first of two that match as much. Data planes
name what they count after the place of a rule: with copies before it, its series would end with the
first weight. All other rules stay as they are. To write a route that is there already changes
nothing: that is how a change of somebody else is seen.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.errors import ForeignChange, UnknownRoute, Unsupported
from adapters.routers.kubernetes.cookies import pattern
from adapters.routers.kubernetes.names import Backends
from adapters.routers.kubernetes.parts import ALWAYS, FORCE_COOKIE, FORCE_HEADER, NEVER, parts
from schemas.outside import cut, visible
from schemas.route import AudienceBy, Match, Mirror, Route

Rule = dict[str, Any]
_MIRROR: Final = "RequestMirror"
_ALL: Final = 100
_SAID_MOST: Final = 300
_EVERYTHING: Final[Mapping[str, Any]] = {
    "HTTPRoute": {"path": {"type": "PathPrefix", "value": "/"}},
    "GRPCRoute": {},
}
"""What a rule without matches takes, by kind."""


def put(  # noqa: PLR0913 - what a rule depends on
    rules: Sequence[Rule],
    route: Route,
    backends: Backends,
    *,
    kind: str,
    before: Route | None = None,
    is_forced: bool = True,
) -> list[Rule]:
    """The rules with a route in them.

    Args:
        rules: as the API server has them.
        route: what shall be.
        backends: names of Services.
        kind: `HTTPRoute` or `GRPCRoute`.
        before: what Aviary wrote last; its versions are known for the service's own.
        is_forced: whether requests can ask for a version.

    Raises:
        UnknownRoute: no rule sends to the service.
        ForeignChange: a rule sends to its Services and to others.
        Unsupported: a rule matches already by what the route has to match by.
    """
    ours = _names(backends, route, before)
    made = _Made(route, backends, _EVERYTHING[kind], is_forced=is_forced)
    found: list[Rule] = []
    added: list[Rule] = []
    place: int | None = None
    number = 0
    for rule in rules:
        if is_added(rule, route.service):
            place = len(found) if place is None else place
            continue
        if not _is_ours(rule, ours, route.service):
            found.append(rule)
            continue
        *copies, itself = made.rules(rule, ours, number)
        found.append(itself)
        added += copies
        number += 1
    if not number:
        raise UnknownRoute(
            f"{route.service}: no rule sends to the Service {backends.base}, or to one of: "
            f"{', '.join(sorted(ours - {backends.base}))}"
        )
    # Where they are already: two services of one object would take turns at its end.
    place = len(found) if place is None else place
    return [*found[:place], *added, *found[place:]]


def is_added(rule: Rule, service: str) -> bool:
    """Whether a rule is one of those that Aviary adds."""
    return str(rule.get("name", "")).startswith(f"aviary.{service}.")


def leads_to(rules: Sequence[Rule], names: Collection[str]) -> bool:
    """Whether a rule sends to one of these Services."""
    return any(_service(ref) in names for rule in rules for ref in rule.get("backendRefs") or ())


def split_in(rules: Sequence[Rule], service: str, names: Collection[str]) -> str:
    """Where the rules of a service send, for a person; empty where none does."""
    found = [
        ", ".join(f"{ref.get('name')} {ref.get('weight', 1)}" for ref in rule["backendRefs"])
        for rule in rules
        if not is_added(rule, service) and leads_to([rule], names)
    ]
    return visible(cut("; ".join(dict.fromkeys(found)), _SAID_MOST))


def weights_in(rules: Sequence[Rule]) -> list[dict[str, int]]:
    """The weights of each rule that sends anywhere, by Service; those with weight 0 left out."""
    return [
        {str(ref["name"]): ref.get("weight", 1) for ref in refs if ref.get("weight", 1)}
        for rule in rules
        if (refs := rule.get("backendRefs"))
    ]


def names_of(backends: Backends, *routes: Route | None) -> frozenset[str]:
    """Every Service that rules of a service may name."""
    return _names(backends, *routes)


def _names(backends: Backends, *routes: Route | None) -> frozenset[str]:
    versions = [version for route in routes if route is not None for version in route.versions]
    split = {backends.of(version) for version in versions}
    return frozenset({backends.base, *split, *(backends.apart_of(one) for one in versions)})


def _service(ref: Mapping[str, Any]) -> str | None:
    """The Service of the route's own namespace that a reference names, if that is what it does."""
    is_service = not ref.get("group") and ref.get("kind", "Service") == "Service"
    return str(ref["name"]) if is_service and not ref.get("namespace") else None


def _is_ours(rule: Rule, names: Collection[str], service: str) -> bool:
    refs = rule.get("backendRefs") or ()
    ours = [_service(ref) in names for ref in refs]
    if any(ours) and not all(ours):
        said = ", ".join(str(ref.get("name")) for ref in refs)
        raise ForeignChange(
            service, f"a rule sends to {visible(cut(said, _SAID_MOST))}, expected only its own"
        )
    return any(ours)


class _Made:
    """Makes rules of one rule of a team."""

    def __init__(
        self, route: Route, backends: Backends, everything: Mapping[str, Any], *, is_forced: bool
    ) -> None:
        self._route = route
        self._backends = backends
        self._everything = everything
        self._is_forced = is_forced

    def rules(self, rule: Rule, ours: Collection[str], number: int) -> list[Rule]:
        """Those that are added, and the rule itself."""
        route, name = self._route, f"aviary.{self._route.service}.{number}"
        copies = self._backends.apart_of
        plain = _without_mirror(rule, ours)
        mirrored = self._mirrored(rule, ours)
        found = []
        if self._is_forced and route.canary is not None:
            for wish, version in ((ALWAYS, route.canary), (NEVER, route.stable)):
                matches = list(self._matches(rule, _forces(wish)))
                refs = self._refs(rule, {copies(version): _ALL})
                found.append({**plain, "name": f"{name}.{wish}", "matches": matches} | refs)
        if route.audience is None:
            return [*found, {**mirrored} | self._refs(rule, self._split())]
        matches = list(self._matches(rule, route.audience.any_of))
        split = self._refs(rule, self._split())
        others = self._refs(rule, {copies(route.stable): _ALL})
        audience = {**mirrored, "name": f"{name}.audience", "matches": matches}
        return [*found, audience | split, {**mirrored} | others]

    def _split(self) -> dict[str, int]:
        route, share = self._route, parts(self._route)
        if route.canary is None:
            return {self._backends.of(route.stable): _ALL}
        names = (self._backends.of(route.stable), self._backends.of(route.canary))
        return dict(zip(names, share, strict=True))

    def _refs(self, rule: Rule, weights: Mapping[str, int]) -> Rule:
        """References with these weights; all else of them is kept: port, filters."""
        there = {str(ref["name"]): ref for ref in rule["backendRefs"]}
        model = rule["backendRefs"][0]
        refs = [
            {**copy.deepcopy(there.get(name, model)), "name": name, "weight": weight}
            for name, weight in weights.items()
        ]
        return {"backendRefs": refs}

    def _matches(self, rule: Rule, more: Sequence[Match]) -> Iterator[Rule]:
        for match in rule.get("matches") or (self._everything,):
            for one in more:
                yield self._narrowed(match, one)

    def _narrowed(self, match: Mapping[str, Any], more: Match) -> Rule:
        is_header = more.by is AudienceBy.HEADER
        name = more.name if is_header else "cookie"
        headers = list(match.get("headers") or ())
        if any(str(header["name"]).lower() == name.lower() for header in headers):
            raise Unsupported(
                f"{self._route.service}: a rule of its route matches by header {name} already, "
                f"expected one that leaves it to {more.by} {more.name}"
            )
        kind = "Exact" if is_header else "RegularExpression"
        value = more.value if is_header else pattern(more.name, more.value)
        headers.append({"type": kind, "name": name, "value": value})
        return {**copy.deepcopy(dict(match)), "headers": headers}

    def _mirrored(self, rule: Rule, ours: Collection[str]) -> Rule:
        """The rule with the route's mirror in the place of an older one, or without."""
        filters = rule.get("filters") or []
        at = next((n for n, one in enumerate(filters) if _copies_to(one, ours)), len(filters))
        kept = _without_mirror(rule, ours)
        if self._route.mirror is None:
            return kept
        rest = list(kept.get("filters") or ())
        rest.insert(at, self._mirror(self._route.mirror, rule["backendRefs"][0]))
        return {**kept, "filters": rest}

    def _mirror(self, mirror: Mirror, model: Mapping[str, Any]) -> Rule:
        kept = {name: model[name] for name in ("group", "kind", "port") if name in model}
        backend = {**kept, "name": self._backends.apart_of(mirror.version)}
        request: Rule = {"backendRef": backend}
        if mirror.share < _ALL:
            share = round(mirror.share * 100)
            request["fraction"] = {"numerator": share, "denominator": 10_000}
        return {"type": _MIRROR, "requestMirror": request}


def _forces(wish: str) -> tuple[Match, ...]:
    return (
        Match(by=AudienceBy.HEADER, name=FORCE_HEADER, value=wish),
        Match(by=AudienceBy.COOKIE, name=FORCE_COOKIE, value=wish),
    )


def _copies_to(one: Mapping[str, Any], names: Collection[str]) -> bool:
    if one.get("type") != _MIRROR:
        return False
    return _service(one["requestMirror"]["backendRef"]) in names


def _without_mirror(rule: Rule, names: Collection[str]) -> Rule:
    filters = rule.get("filters") or ()
    kept = [one for one in filters if not _copies_to(one, names)]
    rest = {name: value for name, value in rule.items() if name != "filters"}
    return {**rest, "filters": kept} if kept else rest
