"""The routes of a VirtualService, with Aviary's route in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import ForeignChange, UnknownRoute, Unsupported
from adapters.routers.istio.rules import Hosts, Rule, is_added, put, split_in
from adapters.routers.kubernetes.names import Backends
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.unit.routers.kubernetes_routes import routes

HOSTS = Hosts(Backends("checkout", "checkout"), "shop")
APART = Hosts(Backends("checkout", "checkout", apart=True), "shop")
SUBSETS = Hosts(Backends("checkout", "checkout", "v{version}"), "shop", subsets=True)
OLD, NEW = "1.4.1", "1.4.2"


def to(host: str, weight: int | None = None, **more: Any) -> Rule:
    found: Rule = {"destination": {"host": host} | more}
    return found if weight is None else {**found, "weight": weight}


def rule(*route: Rule, **more: Any) -> Rule:
    return {"route": list(route), **more}


def split(weight: float, **more: Any) -> Route:
    return Route.split("checkout", OLD, NEW, weight, generation=1, owner="shop-1", **more)


def test_the_route_of_the_service_is_split_and_keeps_what_the_team_wrote() -> None:
    mine = rule(
        to("checkout.shop.svc.cluster.local", port={"number": 80}),
        name="primary",
        retries={"attempts": 2},
    )
    other = rule(to("cart"), match=[{"uri": {"prefix": "/cart"}}])
    found = put({"hosts": ["x"], "http": [other, mine]}, split(5), HOSTS)["http"]
    assert found[0] == other
    assert found[-1] == {
        **mine,
        "route": [
            to("checkout-1-4-1.shop.svc.cluster.local", 95, port={"number": 80}),
            to("checkout-1-4-2.shop.svc.cluster.local", 5, port={"number": 80}),
        ],
    }
    always, never = found[1:3]
    assert always["match"][0] == {"headers": {"x-canary": {"exact": "always"}}}
    assert set(always["match"][1]["headers"]["cookie"]) == {"regex"}
    assert always["route"] == [
        to("checkout-1-4-2.shop.svc.cluster.local", 100, port={"number": 80})
    ]
    assert never["route"][0]["destination"]["host"].startswith("checkout-1-4-1.")
    assert always["retries"] == {"attempts": 2}


def test_versions_may_be_subsets_of_one_host() -> None:
    spec = {"http": [rule(to("checkout", 70, subset="a"), to("checkout", 30, subset="b"))]}
    found = put(spec, split(30), SUBSETS)["http"][-1]
    assert found["route"] == [
        to("checkout", 70, subset="v1-4-1"),
        to("checkout", 30, subset="v1-4-2"),
    ]
    assert split_in({"http": [found]}, "checkout", SUBSETS, SUBSETS.names()) == (
        "checkout v1-4-1 70, checkout v1-4-2 30"
    )


def test_connections_are_split_by_weight_alone() -> None:
    spec = {
        "tcp": [rule(to("checkout"))],
        "tls": [rule(to("checkout"), match=[{"sniHosts": ["a"]}])],
    }
    found = put(spec, split(25), HOSTS)
    for section in ("tcp", "tls"):
        assert [one["weight"] for one in found[section][0]["route"]] == [75, 25]
    audience = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-beta", value="yes"),))
    with pytest.raises(Unsupported, match="a route of tls can't tell an audience"):
        put(spec, split(25, audience=audience), HOSTS)


def test_copies_go_beside_mirrors_of_the_team_and_not_over_them() -> None:
    route = Route.split("checkout", OLD, generation=1, mirror=Mirror(version=NEW, share=12.5))
    theirs = {"destination": {"host": "audit"}}
    (found,) = put({"http": [rule(to("checkout"), mirrors=[theirs])]}, route, HOSTS)["http"]
    assert found["mirrors"] == [
        theirs,
        {"destination": {"host": "checkout-1-4-2"}, "percentage": {"value": 12.5}},
    ]
    with pytest.raises(Unsupported, match="has a mirror of its own"):
        put({"http": [rule(to("checkout"), mirror={"host": "audit"})]}, route, HOSTS)


def test_what_is_not_the_services_own_is_left_or_refused() -> None:
    with pytest.raises(ForeignChange, match="checkout, cart"):
        put({"http": [rule(to("checkout"), to("cart"))]}, split(5), HOSTS)
    with pytest.raises(UnknownRoute, match="no route sends to the host checkout"):
        put({"http": [rule(to("checkout.elsewhere.svc.cluster.local"))]}, split(5), HOSTS)
    taken = {"headers": {"X-Canary": {"exact": "mine"}}}
    with pytest.raises(Unsupported, match="matches by header x-canary already"):
        put({"http": [rule(to("checkout"), match=[taken])]}, split(5), HOSTS)


def test_a_weight_that_the_definition_let_pass_is_a_change_and_is_overruled() -> None:
    found = put({"http": [rule(to("checkout"))]}, split(5), HOSTS)
    frozen = copy.deepcopy(found)
    frozen["http"][-1]["route"][1]["weight"] = -5
    assert put(frozen, split(5), HOSTS, before=split(5)) == found


_OTHERS = st.sampled_from(
    [
        rule(to("cart"), name="cart"),
        {"redirect": {"uri": "/x"}},
        {"delegate": {"name": "d"}},
        rule(to("checkout-api")),
    ]
)
_OWN = st.builds(
    lambda match, more, host: rule(to(host), **match, **more),
    st.sampled_from([{}, {"match": [{"uri": {"prefix": "/a"}}, {"method": {"exact": "GET"}}]}]),
    st.sampled_from([{}, {"name": "primary", "timeout": "2s"}]),
    st.sampled_from(["checkout", "checkout.shop.svc.cluster.local"]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(_OTHERS, max_size=2),
    st.lists(_OWN, min_size=1, max_size=2),
    st.lists(routes(), min_size=1, max_size=3),
    st.sampled_from([HOSTS, APART, SUBSETS]),
)
def test_routes_in_a_row_leave_what_the_last_says_and_all_of_the_team(
    others: list[Rule], own: list[Rule], row: list[Route], hosts: Hosts
) -> None:
    spec: Rule = {"http": [*others, *own]}
    given_spec, found, before = copy.deepcopy(spec), spec, None
    for route in row:
        found = put(found, route, hosts, before=before)
        before = route
        assert put(found, route, hosts, before=route) == found, "the same again changes nothing"
        for one in found["http"]:
            weights = [each.get("weight", 100) for each in one.get("route", ())]
            assert not weights or sum(weights) in {100, 10_000}
            assert min(weights, default=0) >= 0
    assert spec == given_spec, "what is read is not changed in its place"
    assert found == put(spec, row[-1], hosts), "no trace of the routes before"
    plain = [one for one in found["http"] if not is_added(one, "checkout")]
    assert plain[: len(others)] == others
    for was, now in zip(own, plain[len(others) :], strict=True):
        ours = {"route", "mirrors"}
        assert {k: v for k, v in now.items() if k not in ours} == {
            k: v for k, v in was.items() if k not in ours
        }
