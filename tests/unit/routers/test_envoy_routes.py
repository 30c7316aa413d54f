"""What Envoy is told, and what is read back from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Retryable
from adapters.routers.envoy import capabilities
from adapters.routers.envoy.names import (
    apart_name,
    guarded_apart_name,
    guarded_name,
    pool_name,
)
from adapters.routers.envoy.routes import (
    clusters_of,
    is_changed,
    local_domains,
    route_in,
    virtual_host,
)
from schemas.route import Audience, AudienceBy, AudienceShare, Condition, How, Match, Mirror, Route
from schemas.sticky import Sticky

VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,8}", fullmatch=True)
SERVICES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
WEIGHTS = st.integers(0, 10_000).map(lambda share: share / 100)

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,9}", fullmatch=True)
NAMED = st.builds(
    Match,
    by=st.sampled_from((AudienceBy.HEADER, AudienceBy.COOKIE, AudienceBy.QUERY)),
    name=NAMES,
    value=st.from_regex(r"[!-~]([ -~]{0,9}[!-~])?", fullmatch=True),
    how=st.sampled_from((How.EQUAL, How.PREFIX)),
)
PATHS = st.builds(
    Match,
    by=st.just(AudienceBy.PATH),
    value=st.sampled_from(("/", "/a.b", "/shop/[0-9]+")),
    how=st.just(How.REGEX),
    negated=st.booleans(),
    also=st.just(())
    | st.builds(
        lambda name: (Condition(by=AudienceBy.HEADER, name=name, value="1", negated=True),), NAMES
    ),
)
NETWORKS = st.builds(
    Match,
    by=st.just(AudienceBy.NETWORK),
    value=st.sampled_from(("10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0")),
    negated=st.booleans(),
)
MATCHES = NAMED | PATHS | NETWORKS
AUDIENCES = st.builds(Audience, any_of=st.lists(MATCHES, min_size=1, max_size=3).map(tuple))


STICKY = st.none() | st.sampled_from(
    (
        {"user": {"header": "x-account"}},
        {"user": {"cookie": "account"}},
        {"session": {"age": "7d", "secure": True}},
        "address",
        "nothing",
    )
).map(Sticky.model_validate)


def kept(audience: Audience | None) -> st.SearchStrategy[tuple[AudienceShare, ...]]:
    """Others that have a weight of their own."""
    shares = st.builds(AudienceShare, audience=st.none() | AUDIENCES, weight=WEIGHTS.filter(bool))
    others = shares.filter(lambda one: one.audience != audience)
    return st.lists(others, max_size=2, unique_by=lambda one: one.audience).map(tuple)


@st.composite
def any_route(draw: st.DrawFn) -> Route:
    stable = draw(VERSIONS)
    mirrors = st.builds(Mirror, version=VERSIONS, share=WEIGHTS.filter(bool))
    canary = draw(st.none() | VERSIONS.filter(lambda version: version != stable))
    return Route.split(
        service=draw(SERVICES),
        stable=stable,
        canary=canary,
        weight=draw(WEIGHTS) if canary is not None else 0,
        generation=draw(st.integers(0, 2**53)),
        owner=draw(st.text(max_size=5)),
        audience=(audience := draw(st.none() | AUDIENCES) if canary is not None else None),
        sticky=draw(STICKY) if canary is not None else None,
        kept=draw(kept(audience)) if canary is not None else (),
        mirror=draw(st.none() | mirrors.filter(lambda one: one.version != stable)),
    )


def config(route: Route) -> dict[str, Any]:
    return {"virtual_hosts": [virtual_host(route, local_domains)]}


def splits(host: dict[str, Any]) -> list[list[tuple[str, int]]]:
    actions = [entry["route"] for entry in host["routes"]]
    weighted = [a["weighted_clusters"]["clusters"] for a in actions if "weighted_clusters" in a]
    return [[(cluster["name"], cluster["weight"]) for cluster in one] for one in weighted]


@given(any_route())
def test_a_route_is_read_back_as_it_was(route: Route) -> None:
    assert route_in(config(route), route.service) == route


@given(WEIGHTS)
def test_a_split_is_whole_and_exact(weight: float) -> None:
    stable, canary = capabilities.WEIGHTS.nearest(weight)
    assert stable + canary == 10_000
    assert canary == pytest.approx(weight * 100)


@given(any_route().filter(lambda route: route.canary is not None))
def test_stable_comes_first_and_the_canary_falls_back_to_it(route: Route) -> None:
    assert route.canary is not None
    service, pair = route.service, (route.stable, route.canary)
    found = []
    for tier in route.tiers:
        if not (tier.counted or tier.weight):
            continue  # all of them on stable
        own = pool_name if tier.counted else apart_name
        guarded = guarded_name if tier.counted else guarded_apart_name
        stable, canary = capabilities.WEIGHTS.nearest(tier.weight)
        split = [(own(service, pair[0]), stable), (guarded(service, *reversed(pair)), canary)]
        # One for methods that may be repeated, one for the others; that for each match.
        times = 1 if tier.audience is None else len(tier.audience.any_of)
        found += [split, split] * times
    assert splits(virtual_host(route, local_domains)) == found


@given(any_route())
def test_what_was_written_is_nobodys_change(route: Route) -> None:
    host = virtual_host(route, local_domains)
    assert not is_changed(host)
    assert is_changed({**host, "domains": [*host["domains"], "else"]})


@given(any_route())
def test_every_cluster_of_a_virtual_host_is_named(route: Route) -> None:
    found: set[str] = set()
    for entry in virtual_host(route, local_domains)["routes"]:
        action = entry["route"]
        found |= {c["name"] for c in action.get("weighted_clusters", {}).get("clusters", [])}
        found |= {action["cluster"]} if "cluster" in action else set()
        found |= {policy["cluster"] for policy in action.get("request_mirror_policies", [])}
    assert found <= clusters_of(route)
    assert clusters_of(route) - found <= _shadowed(route)


def _shadowed(route: Route) -> set[str]:
    """What nobody is sent to, where everybody has a larger weight than an audience."""
    canary = route.canary or ""
    guarded = {
        name(route.service, canary, route.stable) for name in (guarded_name, guarded_apart_name)
    }
    return guarded | {pool_name(route.service, route.stable)} if route.kept else set()


@given(any_route().filter(lambda route: route.canary is None))
def test_without_canary_all_goes_to_stable(route: Route) -> None:
    entries = virtual_host(route, local_domains)["routes"]
    stable = pool_name(route.service, route.stable)
    assert [entry["route"]["cluster"] for entry in entries] == [stable, stable]


@given(st.lists(st.tuples(SERVICES, VERSIONS), unique=True, max_size=6))
def test_no_two_clusters_have_one_name(pools: list[tuple[str, str]]) -> None:
    names = [pool_name(*pool) for pool in pools] + [apart_name(*pool) for pool in pools]
    names += [guarded_name(s, v, w) for s, v in pools for t, w in pools if s == t and v != w]
    assert len(set(names)) == len(names)
    assert not any("." in name for name in names)


def test_a_foreign_virtual_host_is_nobodys_route() -> None:
    assert route_in({"virtual_hosts": [{"name": "cart", "domains": ["cart"]}]}, "cart") is None


def test_a_damaged_route_names_its_service() -> None:
    damaged = config(Route.split(service="cart", stable="1"))
    tag = damaged["virtual_hosts"][0]["metadata"]["filter_metadata"]["aviary"]
    tag["generation"] = "many"
    with pytest.raises(Retryable, match="virtual host cart: expected Aviary's route"):
        route_in(damaged, "cart")
