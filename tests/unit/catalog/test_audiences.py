"""Audiences of a catalog: what is said, what routers are told, and who is on the canary when."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.routers.envoy.capabilities import CAPABILITIES as ENVOY
from adapters.routers.memory.router import MemoryRouter
from aviary.catalogs import parse_catalog_text
from schemas.audience import Audience, AudienceBy, AudienceShare, Condition, How, Match
from schemas.audience_judging import by_limits, limits_of
from schemas.audience_spec import AudienceError, AudienceSpec, Values, audience_of
from schemas.audience_steps import reaches
from schemas.capabilities import AudienceTerms, Capabilities, TotalGrid, lacking, untellable
from schemas.catalog_check import check_weights
from schemas.judging import HistogramMetric, JudgeSpec, Method, MetricSpec, RatioMetric
from schemas.route import Route
from schemas.simple_regex import check_regex, without
from schemas.stages import ShiftStage
from schemas.sticky import Sticky
from tests.unit.catalog.builders import catalog, deploy
from workflows.planning import plan_release

Request = dict[tuple[AudienceBy, str], str]

STAFF = {"header": {"x-group": ["staff"]}}
AUDIENCES = {"staff": STAFF, "benelux": {"country": ["BE", "NL", "LU"]}}
STEPS = [
    {"audience": "staff", "weight": 100, "bake": "10m"},
    {"audience": "benelux", "weight": 20},
    5,
]


def spec(**said: Any) -> AudienceSpec:
    return AudienceSpec.model_validate(said)


def told(**said: Any) -> Audience:
    return audience_of(spec(**said), "cf-ipcountry").audience


# --- what is said, and what a router is told ---

LEAVES = st.sampled_from(
    [
        {"header": {"a": ["1", "2"]}},
        {"header": {"a": {"prefix": "1"}, "b": "2"}},
        {"cookie": {"a": "1"}},
        {"path": {"prefix": "/a"}, "method": ["GET", "PUT"]},
        {"path": {"regex": "/[ab]"}},
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda below: (
        st.builds(lambda one: {"not": one}, below)
        | st.builds(lambda some: {"any_of": some}, st.lists(below, min_size=1, max_size=2))
        | st.builds(lambda some: {"all_of": some}, st.lists(below, min_size=1, max_size=2))
    ),
    max_leaves=4,
)
REQUESTS = st.fixed_dictionaries(
    {(AudienceBy.METHOD, ""): st.sampled_from(["GET", "PUT", "POST"])},
    optional={
        (AudienceBy.HEADER, "a"): st.sampled_from(["1", "12", "2", "3"]),
        (AudienceBy.HEADER, "b"): st.sampled_from(["2", "3"]),
        (AudienceBy.COOKIE, "a"): st.sampled_from(["1", "2"]),
        (AudienceBy.PATH, ""): st.sampled_from(["/a", "/ab", "/b", "/"]),
    },
)


def _is_in(one: AudienceSpec, request: Request) -> bool:
    """What is said, taken literally."""
    said = [
        *(_has((AudienceBy.HEADER, name), of, request) for name, of in one.header.items()),
        *(_has((AudienceBy.COOKIE, name), of, request) for name, of in one.cookie.items()),
        *(_has((AudienceBy.PATH, ""), of, request) for of in (one.path,) if of),
        *(_has((AudienceBy.METHOD, ""), of, request) for of in (one.method,) if of),
        *(_is_in(below, request) for below in one.all_of),
    ]
    if one.any_of:
        said.append(any(_is_in(below, request) for below in one.any_of))
    if one.not_ is not None:
        said.append(not _is_in(one.not_, request))
    return all(said)


def _has(key: tuple[AudienceBy, str], values: Values, request: Request) -> bool:
    value = request.get(key)
    if value is None:
        return False
    return any(
        re.fullmatch(wanted, value) is not None
        if how is How.REGEX
        else (value.startswith(wanted) if how is How.PREFIX else value == wanted)
        for how, wanted in values.each
    )


def _router() -> MemoryRouter:
    router = MemoryRouter()
    for version in ("1", "2"):
        router.add_pool("cart", version)
    return router


@given(TREES, REQUESTS)
def test_a_router_is_told_what_is_said(tree: dict[str, Any], request: Request) -> None:
    said = AudienceSpec.model_validate(tree)
    try:
        audience = audience_of(said, None).audience
    except AudienceError:  # two values of one thing at once
        assert not _is_in(said, request)
        return
    router = _router()
    route = Route.split("cart", "1", "2", 100, audience=audience)
    router.change(route)
    assert (router.send("cart", "user", request) == "2") is _is_in(said, request)


def test_country_and_users_are_headers() -> None:
    assert (
        told(country=["BE", "NL"]).text == "header cf-ipcountry = BE, or header cf-ipcountry = NL"
    )
    assert told(users="u-1").text == "header x-user-id = u-1"


@pytest.mark.parametrize(
    ("said", "path", "expected"),
    [
        ({}, (), "at least one of header, cookie"),
        ({"path": "admin"}, ("path",), "begins with /"),
        ({"host": "Shop:80"}, ("host",), "a host in lower case"),
        ({"method": "get"}, ("method",), "a method in capitals"),
        ({"network": "10.0.0.1/8"}, ("network",), "a network such as"),
        ({"header": {"a": "b\r\nx: y"}}, ("header", "a"), "printable ASCII"),
        ({"header": {"a": {"regex": "(a+)+b"}}}, ("header", "a"), "a repeat of one character"),
        ({"header": {"a": {"regex": "(?=a)b"}}}, ("header", "a"), "the subset of RE2"),
        ({"header": {"a": {"regex": r"(a)\1"}}}, ("header", "a"), "the subset of RE2"),
        ({"header": {"a": {"regex": ".*.*.*.*"}}}, ("header", "a"), "at most 3"),
        ({"all_of": [{"header": {"a": "1"}}, {"header": {"A": "2"}}]}, (), "can fit"),
        ({"not": STAFF | {"percent": 5}}, ("not", "percent"), "no percent inside"),
        (
            {"header": {"a": [f"{n}" for n in range(150)], "b": ["1", "2"]}},
            (),
            "at most 200 combinations",
        ),
        (
            {"not": {"not": {"not": {"not": {"not": STAFF}}}}},
            ("not",) * 5,
            "at most 5 in another",
        ),
    ],
)
def test_what_makes_no_audience_is_refused_with_its_place(
    said: dict[str, Any], path: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(AudienceError) as refused:
        audience_of(spec(**said), None)
    assert refused.value.path == path
    assert expected in refused.value.expected


@given(st.text(alphabet="ab.*+?()[]{}|^$\\d1,-:=!", max_size=24), st.text("ab?1:/", max_size=8))
def test_an_expression_is_refused_or_safe_and_can_leave_a_sign_out(text: str, value: str) -> None:
    try:
        check_regex(text)
    except ValueError:
        return
    fits = re.fullmatch(text, value) is not None
    if "?" not in value and "?" not in text:
        assert (re.fullmatch(without(text, "?"), value) is not None) is fits


# --- steps ---


@given(
    st.lists(
        st.tuples(st.sampled_from([None, "staff", "benelux"]), st.integers(1, 100).map(float)),
        min_size=1,
        max_size=6,
    ),
    st.sets(st.sampled_from(["staff", "benelux"])),
    st.integers(0, 99),
)
def test_nobody_leaves_the_canary_while_steps_add_others(
    steps: list[tuple[str | None, float]], member: set[str], user: int
) -> None:
    known = {
        "staff": audience_of(spec(**STAFF), None),
        "benelux": audience_of(spec(country="BE"), "c"),
    }
    has: Request = {(AudienceBy.HEADER, "x-group"): "staff"} if "staff" in member else {}
    has |= {(AudienceBy.HEADER, "c"): "BE"} if "benelux" in member else {}
    grown: list[tuple[str | None, float]] = []
    for step in steps:
        names, weights = zip(*grown, step, strict=True)
        grown += [step] if not list(check_weights(weights, (), names)) else []
    router, before = _router(), "1"
    for reach in reaches(grown, known):
        router.change(
            Route.split("cart", "1", "2", reach.weight, audience=reach.audience, kept=reach.kept)
        )
        now = router.send("cart", f"user-{user}", has)
        assert (before, now) != ("2", "1")
        before = now


def _planned(**sections: Any) -> list[ShiftStage]:
    found = catalog(
        {"cart": {"strategy": "geo"}},
        strategies={"geo": {"steps": STEPS, "bake": "1m"}},
        audiences=AUDIENCES,
        country_header="cf-ipcountry",
        **sections,
    )
    plan = plan_release(found, deploy("cart"))
    return [one for one in plan.services["cart"].stages if isinstance(one, ShiftStage)]


def test_a_plan_says_whom_each_step_adds_and_keeps() -> None:
    staff, benelux, few, every = _planned()
    assert (staff.weight, staff.whom, staff.adds) == (100, "staff", "100 % of staff")
    assert staff.unlike == "nobody of staff is on stable"
    assert benelux.adds == "20 % of benelux; staff keeps 100 %"
    assert benelux.kept == (AudienceShare(audience=staff.audience, weight=100),)
    assert benelux.unlike == ""
    assert few.adds == "5 % of everybody; staff keeps 100 %; benelux keeps 20 %"
    assert (few.audience, len(few.kept)) == (None, 2)
    assert (every.weight, every.kept, every.whom) == (100, (), "")


def test_a_strategy_for_an_audience_ends_with_everybody() -> None:
    found = catalog(
        {"cart": {"strategy": "inside"}},
        strategies={"inside": {"audience": "staff", "steps": [10, 100]}},
        audiences={"staff": {**STAFF, "percent": 50}},
    )
    stages = plan_release(found, deploy("cart")).services["cart"].stages
    shifts = [one for one in stages if isinstance(one, ShiftStage)]
    assert [(one.whom, one.weight) for one in shifts] == [("staff", 5), ("staff", 50), ("", 100)]


def _problems(text: str) -> str:
    with pytest.raises(ValueError, match=".") as refused:
        parse_catalog_text(text, "catalog.yaml")
    return str(refused.value)


DOCUMENT = """\
version: 1
defaults: {router: {kind: memory}, metrics: []}
audiences:
  staff: {header: {x-group: [staff]}}
  benelux: {country: [BE]}
  everybody: {method: GET}
strategies:
  geo:
    steps:
      [{audience: stuff, weight: 5}, {audience: staff, weight: 5}, 5, {audience: staff, weight: 4}]
services: {cart: {strategy: geo}}
"""


def test_a_catalog_tells_at_their_lines_what_is_wrong_with_audiences() -> None:
    assert (
        "strategies.geo.steps[3].weight: got 4, expected a weight that grows from step to step: "
        "more than 5" in _problems(DOCUMENT)
    )
    found = _problems(DOCUMENT.replace("weight: 4", "weight: 40"))
    assert "5: audiences.benelux.country: got ['BE'], expected country_header in the" in found
    assert "audiences.everybody: got 'everybody', expected another name" in found
    assert "10: strategies.geo.steps[0].audience: got 'stuff', expected the name of an" in found
    assert "did you mean 'staff'?" in found


def test_a_router_that_can_t_is_named_with_field_value_and_what_it_can() -> None:
    text = """\
version: 1
defaults: {router: {kind: haproxy, directory: /x, sockets: [/y]}, metrics: []}
audiences: {inside: {host: shop.example}, staff: {header: {x-group: staff}}}
strategies:
  one: {steps: [{audience: inside, weight: 50}]}
  two: {steps: [{audience: staff, weight: 50}, 5]}
services: {cart: {strategy: one}, shop: {strategy: two}}
"""
    found = _problems(text)
    assert (
        "strategies.one.steps[0].audience: got 'inside', expected one that the router haproxy can "
        "tell: audience by host: expected by header, cookie, query, path, method, network" in found
    )
    assert "strategies.two.steps[1]: got 'everybody', expected steps of one audience" in found
    assert "the router haproxy can't have several weights at a time" in found


# --- capabilities ---


def test_what_a_router_can_t_tell_is_said_with_what_it_can() -> None:
    few = Capabilities(
        weights=TotalGrid(total=100),
        audiences=(AudienceBy.HEADER,),
        audience_terms=AudienceTerms(matches=2),
    )
    audience = told(header={"a": {"prefix": ["1", "2"]}}, **{"not": {"path": "/x"}})
    assert untellable(audience, few) == [
        "audience by a prefix of header a: expected a prefix of nothing of a request",
        "audience by path: expected by header",
        "audience by not path: expected not of nothing of a request",
        "audience by header a begins with 1 and path not = /x: expected one condition at a time",
    ]
    many = told(header={"a": ["1", "2", "3"]})
    assert untellable(many, few) == ["audience of 3 matches: expected at most 2"]
    route = Route.split(
        "cart", "1", "2", 5, kept=(AudienceShare(audience=told(path="/x"), weight=9),)
    )
    assert lacking(route, few) == [
        "audience by path: expected by header",
        "2 audiences at once: expected one",
    ]
    assert untellable(audience, ENVOY) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "header", "value": "x"},
        {"by": "path", "name": "x", "value": "/x"},
        {"by": "method", "value": "GET", "how": "prefix"},
        {"by": "network", "value": "10.0.0.0"},
        {"by": "header", "name": "a", "value": "b", "also": [{}]},
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|Field required"):
        Match.model_validate(wrong)


def test_a_condition_is_small_where_it_is_plain() -> None:
    plain = Condition(by=AudienceBy.HEADER, name="a", value="b")
    assert plain.model_dump(mode="json") == {"by": "header", "name": "a", "value": "b"}


# --- judging ---


def test_without_stable_a_canary_is_held_against_limits_alone() -> None:
    judge = JudgeSpec.model_validate(
        {"threshold": {"max_latency": "300ms", "max_times_stable": 2}, "kayenta": {"critical": []}}
    )
    limited = limits_of(judge)
    assert (limited.method, limited.threshold.max_times_stable) == (Method.THRESHOLD, None)
    metrics: list[MetricSpec] = [
        RatioMetric(name="errors"),
        HistogramMetric(name="latency"),
        RatioMetric(name="own", slo=0.5),
    ]
    errors, latency, own = by_limits(judge, metrics)
    slos = [one.model_dump().get("slo") for one in (errors, latency, own)]
    assert slos == [0.01, pytest.approx(0.01), 0.5]
    assert latency.model_dump()["edges"] == (0.3,)
    assert by_limits(JudgeSpec(), metrics[1:2]) == ()


# --- what keeps users there ---


@pytest.mark.parametrize(
    ("said", "by"),
    [
        ({"user": {"header": "x-account"}}, "header"),
        ({"user": {"cookie": "account"}}, "cookie"),
        ({"session": {"age": "0s"}}, "session"),
        ("session", "session"),
        ("address", "address"),
        ("nothing", "nothing"),
    ],
)
def test_a_strategy_says_by_what_users_stay(said: Any, by: str) -> None:
    sticky = Sticky.model_validate(said)
    assert sticky.by == by
    assert Sticky.model_validate_json(sticky.model_dump_json()) == sticky


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        "moon",
        {"address": True, "nothing": True},
        {"user": {}},
        {"user": {"header": "a", "cookie": "b"}},
        {"user": {"header": "x y"}},
        {"session": {"cookie": "a;b"}},
        {"session": {"age": "500d"}},
        {"session": {"same_site": "None"}},
        {"session": {"path": "/x"}},
    ],
)
def test_what_keeps_nobody_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="."):
        Sticky.model_validate(wrong)


def test_a_router_that_can_t_keep_users_so_is_named() -> None:
    text = """\
version: 1
defaults: {router: {kind: haproxy, directory: /x, sockets: [/y]}, metrics: []}
strategies: {one: {steps: [50], sticky: address}}
services: {cart: {strategy: one}}
"""
    assert "3: strategies.one.sticky: got 'address', expected none: with the router haproxy" in (
        _problems(text)
    )
    memory = text.replace("{kind: haproxy, directory: /x, sockets: [/y]}", "{kind: memory}")
    assert "one that the router memory can do: header, nothing" in _problems(memory)
