"""Lanes in a catalog: who is part of one, by what it is carried, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.routers.envoy.lanes import carried
from aviary.cli.tables import lane_of
from schemas.catalog_file import CatalogError
from schemas.deploy import DeployRequested
from schemas.lane import Lane, LaneSpec
from schemas.route import Route
from tests.catalogs import parse
from workflows.planning import plan_release

ENVOY = 'router: {kind: envoy, directory: /srv, admin: ["http://127.0.0.1:9901"]}'
HEAD = f"version: 1\nlanes: true\ndefaults: {{{ENVOY}}}\n"
ASKED = DeployRequested.model_validate(
    {"release": "r", "services": [{"service": one, "version": "2"} for one in "ab"]}
)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
RUNS = st.uuids().map(str)


def test_every_service_is_part_of_a_lane_unless_it_says_no() -> None:
    catalog = parse(f"{HEAD}services:\n  a:\n  b: {{lane: false}}\n")
    plan = plan_release(catalog, ASKED)
    assert {name: one.lane for name, one in plan.services.items()} == {"a": LaneSpec(), "b": None}
    (line,) = lane_of(plan)
    assert line == (
        "Lane: requests that have met a canary carry aviary-lane in baggage, and meet those of a."
    )


def test_without_lanes_there_is_none() -> None:
    catalog = parse(f"version: 1\ndefaults: {{{ENVOY}}}\nservices:\n  a:\n  b: {{lane: true}}\n")
    plan = plan_release(catalog, ASKED)
    assert {one.lane for one in plan.services.values()} == {None}
    assert not list(lane_of(plan))
    assert "lane" not in plan.services["a"].model_dump(mode="json")


def test_a_router_that_can_t_do_it_is_refused_until_the_service_says_no() -> None:
    other = "router: {kind: haproxy, directory: /srv, sockets: [/run/haproxy.sock]}"
    text = f"{HEAD}services:\n  a:\n  b: {{ROUTER}}\n"
    with pytest.raises(CatalogError, match=r"6: services\.b: got .*lane.*expected lane: false of "):
        parse(text.replace("ROUTER", other))
    parse(text.replace("ROUTER", f"{other}, lane: false"))


def test_a_ramp_is_refused_in_a_lane() -> None:
    ramp = "strategies: {s: {ramp: {budget: 10}}}\n"
    with pytest.raises(
        CatalogError, match=r"strategies\.s\.ramp: got 'a ramp', expected steps, or"
    ):
        parse(f"{HEAD}{ramp}services:\n  a: {{strategy: s}}\n")
    parse(f"{HEAD}{ramp}services:\n  a: {{strategy: s, lane: false}}\n")


@pytest.mark.parametrize(
    "header", ["baggage", "Baggage", "cookie", "Host", "x-canary", "X-User-Id", "a b", ":path", ""]
)
def test_a_header_is_one_of_its_own(header: str) -> None:
    with pytest.raises(ValidationError):
        LaneSpec(header=header)
    with pytest.raises(ValidationError):
        LaneSpec.model_validate(False)


def test_a_lane_is_of_a_canary() -> None:
    with pytest.raises(ValidationError, match="lane: expected none without a canary"):
        Route.split("a", "1", lane=LaneSpec().of("r", "0" * 16))


@given(IDS, RUNS, st.sampled_from([LaneSpec(), LaneSpec(header="X-Lane")]), st.data())
def test_envoy_and_the_model_read_a_header_alike(
    release: str, run: str, spec: LaneSpec, data: st.DataObject
) -> None:
    lane = spec.of(release, run)
    assert Lane.model_validate_json(lane.model_dump_json()) == lane
    parts = st.sampled_from(
        [lane.member, lane.name, "aviary-lane", "=", ",", ";", " ", "a=b", "x", "\t"]
    )
    value = "".join(data.draw(st.lists(parts, max_size=8)))
    regex = carried(lane)["string_match"]["safe_regex"]["regex"]
    assert bool(re.fullmatch(regex, value)) == lane.is_in(value), value


@given(IDS, RUNS, RUNS)
def test_another_run_of_the_same_release_has_another_lane(
    release: str, run: str, other: str
) -> None:
    mine, theirs = LaneSpec().of(release, run), LaneSpec().of(release, other)
    same = run.replace("-", "")[-16:] == other.replace("-", "")[-16:]
    assert mine.is_in(theirs.member) is same


@pytest.mark.parametrize(
    "value", ["x=NAME", "aviary-lane=shopx1.0123456789abcdef", "aviary-lane", "NAME", "a=b;NAME"]
)
def test_what_only_looks_like_the_lane_is_another(value: str) -> None:
    lane = LaneSpec().of("shop.1", "0123456789abcdef")
    value = value.replace("NAME", lane.name)
    regex = carried(lane)["string_match"]["safe_regex"]["regex"]
    assert not lane.is_in(value)
    assert not re.fullmatch(regex, value)


def test_the_lane_has_the_half_of_a_run_s_id_that_is_drawn_by_chance() -> None:
    run = "0198c0de-0000-7000-8123-456789abcdef"
    assert LaneSpec().of("r", run).name == "r.8123456789abcdef"
