"""The rules of an HTTPRoute or GRPCRoute, with Aviary's route in them."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.deployers.kubernetes.labels import name_of
from adapters.errors import ForeignChange, UnknownRoute, Unsupported
from adapters.routers.gateway_api.rules import (
    Rule,
    is_added,
    names_of,
    put,
    split_in,
    weights_in,
)
from adapters.routers.gateway_api.status import said
from adapters.routers.kubernetes.cookies import pattern
from adapters.routers.kubernetes.names import Backends, object_name
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.unit.routers.kubernetes_routes import routes

BACKENDS = Backends("checkout", "checkout")
APART = Backends("checkout", "checkout", apart=True)
OLD, NEW = "1.4.1", "1.4.2"
EVERYTHING = {"path": {"type": "PathPrefix", "value": "/"}}


def ref(name: str, weight: int = 1, **more: Any) -> Rule:
    """A reference as the API server gives it back."""
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight, **more}


def rule(*refs: Rule, matches: list[Rule] | None = None, **more: Any) -> Rule:
    return {"matches": matches or [EVERYTHING], "backendRefs": list(refs), **more}


def split(weight: float, **more: Any) -> Route:
    return Route.split("checkout", OLD, NEW, weight, generation=1, owner="shop-1", **more)


def written(rules: list[Rule], route: Route, before: Route | None = None) -> list[Rule]:
    return put(rules, route, BACKENDS, kind="HTTPRoute", before=before)


def test_the_rule_of_the_service_is_split_and_keeps_what_the_team_wrote() -> None:
    filters = [{"type": "URLRewrite", "urlRewrite": {"hostname": "x"}}]
    mine = rule(ref("checkout", port=8080), filters=filters, timeouts={"request": "2s"})
    other = rule(ref("cart"), matches=[{"path": {"type": "Exact", "value": "/cart"}}])

    found = written([other, mine], split(5))

    assert found[0] == other
    assert found[1] == {
        **mine,
        "backendRefs": [
            ref("checkout-1-4-1", 95, port=8080),
            ref("checkout-1-4-2", 5, port=8080),
        ],
    }
    assert [one["name"] for one in found[2:]] == [
        "aviary.checkout.0.always",
        "aviary.checkout.0.never",
    ]
    assert all(one["filters"] == filters for one in found[1:])


def test_whole_percents_are_parts_of_100_and_others_of_10_000() -> None:
    assert written([rule(ref("checkout"))], split(5))[0]["backendRefs"][1]["weight"] == 5
    assert written([rule(ref("checkout"))], split(0.05))[0]["backendRefs"][1]["weight"] == 5
    assert written([rule(ref("checkout"))], split(0.05))[0]["backendRefs"][0]["weight"] == 9995


def test_who_asks_for_a_version_has_a_rule_with_more_to_match() -> None:
    _, always, never = written([rule(ref("checkout"))], split(0))
    header, cookie = always["matches"]
    assert header == EVERYTHING | {
        "headers": [{"type": "Exact", "name": "x-canary", "value": "always"}]
    }
    assert cookie["headers"][0]["type"] == "RegularExpression"
    assert always["backendRefs"] == [ref("checkout-1-4-2", 100)]
    assert never["backendRefs"] == [ref("checkout-1-4-1", 100)]


def test_an_audience_is_split_and_everybody_else_is_on_stable() -> None:
    audience = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-beta", value="yes"),))
    found = put([rule(ref("checkout"))], split(25, audience=audience), APART, kind="HTTPRoute")
    by_name = {one.get("name", ""): one for one in found}
    assert weights_in([by_name["aviary.checkout.0.audience"]]) == [
        {"checkout-1-4-1": 75, "checkout-1-4-2": 25}
    ]
    assert weights_in([by_name[""]]) == [{"checkout-1-4-1-apart": 100}]
    assert weights_in([by_name["aviary.checkout.0.always"]]) == [{"checkout-1-4-2-apart": 100}]


def test_copies_are_a_filter_beside_those_of_the_team() -> None:
    theirs = {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"name": "audit", "port": 80}},
    }
    route = Route.split("checkout", OLD, generation=1, mirror=Mirror(version=NEW, share=12.5))
    (found,) = written([rule(ref("checkout"), filters=[theirs])], route)
    assert found["filters"][0] == theirs
    assert found["filters"][1]["requestMirror"] == {
        "backendRef": {"group": "", "kind": "Service", "name": "checkout-1-4-2", "port": 80},
        "fraction": {"numerator": 1250, "denominator": 10_000},
    }
    after = Route.split("checkout", OLD, generation=2)
    (again,) = written([found], after, before=route)
    assert again["filters"] == [theirs]


def test_a_grpc_route_without_matches_takes_no_path() -> None:
    found = put([{"backendRefs": [ref("checkout")]}], split(5), BACKENDS, kind="GRPCRoute")
    assert found[1]["matches"][0] == {
        "headers": [{"type": "Exact", "name": "x-canary", "value": "always"}]
    }
    assert "matches" not in found[0]


def test_a_rule_that_sends_to_others_as_well_is_nobodys_to_change() -> None:
    with pytest.raises(ForeignChange, match="checkout, cart"):
        written([rule(ref("checkout"), ref("cart"))], split(5))


def test_a_service_of_another_namespace_or_kind_is_not_the_service() -> None:
    elsewhere: Rule = {"namespace": "elsewhere"}
    for more in (elsewhere, {"kind": "Bucket", "group": "example.org"}):
        with pytest.raises(UnknownRoute, match="no rule sends to the Service checkout"):
            written([rule(ref("checkout", **more))], split(5))


def test_a_rule_that_uses_the_header_already_is_refused() -> None:
    taken = {"headers": [{"type": "Exact", "name": "X-Canary", "value": "mine"}]}
    with pytest.raises(Unsupported, match="matches by header x-canary already"):
        written([rule(ref("checkout"), matches=[taken])], split(5))
    assert put(
        [rule(ref("checkout"), matches=[taken])],
        split(5),
        BACKENDS,
        kind="HTTPRoute",
        is_forced=False,
    )


def test_a_split_is_told_as_it_was_found() -> None:
    rules = [rule(ref("checkout-1-4-1", 25), ref("checkout-1-4-2", 75)), rule(ref("cart"))]
    names = names_of(BACKENDS, split(5))
    assert split_in(rules, "checkout", names) == "checkout-1-4-1 25, checkout-1-4-2 75"


# --- whatever the team has, and whatever the route is ---

_OTHER_RULES = st.sampled_from(
    [
        rule(ref("cart"), name="cart"),
        {"matches": [EVERYTHING], "filters": [{"type": "RequestRedirect"}]},
        rule(ref("checkout-api")),
    ]
)
_OWN_RULES = st.builds(
    lambda matches, filters: rule(ref("checkout"), matches=matches, **filters),
    st.lists(
        st.sampled_from(
            [
                EVERYTHING,
                {"path": {"type": "Exact", "value": "/a"}, "method": "GET"},
                EVERYTHING | {"headers": [{"type": "Exact", "name": "h", "value": "v"}]},
            ]
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([{}, {"filters": [{"type": "URLRewrite"}]}]),
)
_RULES = st.tuples(
    st.lists(_OTHER_RULES, max_size=2), _OWN_RULES, st.lists(_OWN_RULES | _OTHER_RULES, max_size=2)
).map(lambda found: copy.deepcopy([*found[0], found[1], *found[2]]))


@settings(max_examples=40, deadline=None)
@given(_RULES, st.lists(routes(), min_size=1, max_size=4), st.booleans())
def test_routes_in_a_row_leave_what_the_last_says_and_all_of_the_team(
    rules: list[Rule], row: list[Route], apart: bool
) -> None:
    backends = APART if apart else BACKENDS
    before, found = None, rules
    given_rules = copy.deepcopy(rules)
    for route in row:
        found = put(found, route, backends, kind="HTTPRoute", before=before)
        before = route
        again = put(found, route, backends, kind="HTTPRoute", before=route)
        assert again == found, "the same route again changes nothing"
    assert rules == given_rules, "what is read is not changed in its place"

    last = row[-1]
    plain = [one for one in found if not is_added(one, "checkout")]
    assert len(plain) == len(rules)
    assert found[: len(rules)] == plain, "the team's rules keep their places"
    for was, now in zip(rules, plain, strict=True):
        kept = [one for one in now.get("filters", ()) if one["type"] != "RequestMirror"]
        assert kept == was.get("filters", [])
        assert {**now, "filters": 0, "backendRefs": 0} == {**was, "filters": 0, "backendRefs": 0}
        if was.get("backendRefs", [ref("x")])[0]["name"] != "checkout":
            assert now == was
    if last.canary is None:
        assert plain == found
    direct = put(rules, last, backends, kind="HTTPRoute")
    assert found == direct, "no trace of the routes before"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), routes()), min_size=1, max_size=6))
def test_two_services_of_one_object_leave_each_other_in_their_places(
    row: list[tuple[bool, Route]],
) -> None:
    cart = Backends("cart", "cart")
    found = [rule(ref("checkout")), rule(ref("cart"))]
    last: dict[str, Route] = {}
    for is_cart, one in row:
        backends = cart if is_cart else BACKENDS
        route = one.model_copy(update={"service": "cart"}) if is_cart else one
        before = last.get(route.service)
        found = put(found, route, backends, kind="HTTPRoute", before=before)
        last[route.service] = route
        for name, written_last in last.items():
            backends = cart if name == "cart" else BACKENDS
            same = put(found, written_last, backends, kind="HTTPRoute", before=written_last)
            assert same == found, f"what {name} has is not taken for a change of somebody else"
    assert [one for one in found if "name" not in one] == found[:2]


@settings(max_examples=40, deadline=None)
@given(_RULES, routes(), st.integers(0, 100))
def test_another_weight_is_seen(rules: list[Rule], route: Route, weight: int) -> None:
    found = written(rules, route)
    changed = copy.deepcopy(found)
    own = next(one for one in changed if split_in([one], "checkout", names_of(BACKENDS, route)))
    was = own["backendRefs"][0]["weight"]
    own["backendRefs"][0]["weight"] = weight
    assert (written(changed, route, before=route) == changed) == (was == weight)


# --- names ---


@settings(max_examples=40, deadline=None)
@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}", fullmatch=True), unique=True))
def test_versions_have_labels_of_dns_and_never_one_for_two(versions: list[str]) -> None:
    for backends in (BACKENDS, APART, Backends("c" * 63, "c")):
        names = [backends.apart_of(version) for version in versions]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) for name in names)
        assert all(len(name) <= 63 for name in names)


_SERVICES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(_SERVICES, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}", fullmatch=True))
def test_the_deployer_makes_what_the_router_looks_for(service: str, version: str) -> None:
    assert object_name(service, version) == name_of(service, version)


def test_a_dot_at_the_end_makes_another_name() -> None:
    assert name_of("checkout", "1.") != name_of("checkout", "1")


def test_a_plain_version_can_be_read_in_its_name() -> None:
    assert object_name("checkout", "1.4.2") == "checkout-1-4-2"
    assert object_name("checkout", "1.4.2", "v{version}-{service}") == "v1-4-2-checkout"
    assert re.fullmatch(r"checkout-1-4-2-[0-9a-f]{8}", object_name("checkout", "1-4-2"))


_VALUE = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(_VALUE, _VALUE)
def test_a_cookie_is_found_among_others_and_nothing_else_is(value: str, other: str) -> None:
    if ";" in value or ";" in other:
        return
    fits = re.compile(pattern("who", value))
    for header in (f"who={value}", f"a=b; who={value}", f"a=b;who={value}; c=d"):
        assert fits.search(header)
    assert bool(fits.search(f"who={other}")) == (other.strip() == value)
    assert not fits.search(f"xwho={value}")
    assert not fits.search(f"who={value}x")


# --- what the parents say ---


def _object(*states: Rule, generation: int = 3) -> Rule:
    return {
        "metadata": {"namespace": "shop", "generation": generation},
        "spec": {"parentRefs": [{"name": "edge", "group": "gateway.networking.k8s.io"}]},
        "status": {"parents": list(states)},
    }


def _state(accepted: str = "True", resolved: str = "True", observed: int = 3) -> Rule:
    conditions = [
        {
            "type": kind,
            "status": status,
            "observedGeneration": observed,
            "reason": "R",
            "message": "m",
        }
        for kind, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    parent = {"name": "edge", "kind": "Gateway", "namespace": "shop"}
    return {"parentRef": parent, "controllerName": "example.org/c", "conditions": conditions}


def test_all_parents_of_the_current_generation_are_waited_for() -> None:
    assert said(_object(_state())) == said(_object(_state(), _state()))
    assert not said(_object(_state())).unsaid
    assert "says nothing" in said(_object()).unsaid[0]
    assert "has not said Accepted of generation 3" in said(_object(_state(observed=2))).unsaid[0]
    assert said(_object(_state(), _state(observed=2))).unsaid, "a second controller"
    assert said(_object(_state(accepted="False"))).refused == (
        "Gateway shop/edge (example.org/c) says Accepted=False: R: m",
    )
    assert said(_object(_state(resolved="False", observed=2))).refused == (), "an older answer"
