"""What Traefik is told, and what is read back from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.routers.traefik import (
    TraefikEtcdConnection,
    TraefikEtcdOptions,
    TraefikFileOptions,
)
from adapters.routers.traefik.api import _COUNT
from adapters.routers.traefik.document import (
    DIGEST,
    EVERYWHERE,
    ROUTE,
    Entrance,
    document,
    is_changed,
    read_mark,
    route_in,
    split_in,
)
from adapters.routers.traefik.file import FileStore, _text
from adapters.routers.traefik.names import apart_name, mark_name, pool_name, version_of
from adapters.routers.traefik.pools import Pool, pools_document, read_told, told_in
from adapters.routers.traefik.store import flatten
from aviary.kinds import registry
from aviary.routers import CatalogKinds
from schemas.capability_check import unseen
from schemas.deployment import Endpoint, Endpoints
from schemas.judging import JudgeSpec
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from schemas.router_spec import RouterSpec
from tests.unit.routers.test_envoy_routes import SERVICES, VERSIONS, any_route


def entries(route: Route, entrance: Entrance = EVERYWHERE) -> dict[str, str]:
    return flatten(document(route, entrance))


@given(any_route())
def test_a_route_is_read_back_as_it_was_written(route: Route) -> None:
    found = entries(route)
    assert route_in(found, route.service) == route
    assert not is_changed(found, route.service)


@given(any_route())
def test_what_stands_in_a_file_is_what_was_meant_and_no_template(route: Route) -> None:
    wanted = document(route, EVERYWHERE)
    text = _text(wanted)
    assert "{{" not in text
    assert json.loads(text) == wanted
    assert yaml.safe_load(text) == wanted, "Traefik reads YAML"
    assert text.isascii()


@given(any_route(), st.data())
def test_every_change_by_somebody_else_is_seen(route: Route, data: st.DataObject) -> None:
    found = entries(route)
    mark = f"http/middlewares/{mark_name(route.service)}/"
    plain = [name for name in found if not name.startswith(mark)]
    name = data.draw(st.sampled_from(plain))
    assert is_changed({**found, name: f"{found[name]}0"}, route.service)
    assert is_changed({one: found[one] for one in found if one != name}, route.service)
    assert is_changed({**found, f"{name}x": "1"}, route.service)
    unmarked = {one: value for one, value in found.items() if not one.startswith(mark)}
    assert is_changed(unmarked, route.service)
    assert route_in(unmarked, route.service) is None


@given(SERVICES, SERVICES, VERSIONS, VERSIONS)
def test_names_tell_services_and_versions_apart(s1: str, s2: str, v1: str, v2: str) -> None:
    assert (pool_name(s1, v1) == pool_name(s2, v2)) is ((s1, v1) == (s2, v2))
    assert version_of(s1, pool_name(s1, v1)) == v1
    assert version_of(s1, apart_name(s1, v1)) is None
    if s1 != s2:
        assert version_of(s2, pool_name(s1, v1)) is None


def test_the_split_has_both_weights_and_the_rest_goes_apart() -> None:
    route = Route.split("pay", "1", "2", 12.34, generation=3, owner="r")
    http = document(route, EVERYWHERE)["http"]
    assert http["services"]["pay"]["weighted"]["services"] == [
        {"name": "pay_1", "weight": 8766},
        {"name": "pay_2", "weight": 1234},
    ]
    assert {name: one["service"] for name, one in http["routers"].items()} == {
        "pay": "pay",
        "pay.always": "pay_2~apart",
        "pay.never": "pay_1~apart",
    }
    assert split_in(flatten({"http": http}), "pay") == "pay_1 8766, pay_2 1234"


def test_after_a_rollback_there_is_nothing_of_the_canary() -> None:
    text = json.dumps(document(Route.split("pay", "1", generation=4), EVERYWHERE)["http"])
    assert "pay_2" not in text
    assert "Canary" not in text


def _mirrored(*, writes: bool, audience: Audience | None = None) -> dict[str, Any]:
    mirror = Mirror(version="3", share=7, writes=writes)
    route = Route.split("pay", "1", "2", 5, audience=audience, mirror=mirror)
    found: dict[str, Any] = document(route, EVERYWHERE)["http"]
    copies = [{"name": "pay_3~apart", "percent": 7}]
    assert found["services"]["pay"]["mirroring"] == {"service": "pay.split", "mirrors": copies}
    if audience is not None:
        others = {"service": "pay_1~apart", "mirrors": copies}
        assert found["services"]["pay.others"]["mirroring"] == others
    return found


def _ways(http: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The routers in the order in which they are asked, each with its service."""
    routers = http["routers"]
    first = sorted(
        routers, key=lambda one: -routers[one].get("priority", len(routers[one]["rule"]))
    )
    return [(name, routers[name]["service"]) for name in first]


ASKING = [("pay.always", "pay_2~apart"), ("pay.never", "pay_1~apart")]
STAFF = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-beta", value="1"),))


def test_with_a_mirror_of_every_method_all_but_who_asks_is_copied() -> None:
    assert _ways(_mirrored(writes=True)) == [*ASKING, ("pay", "pay")]
    found = _ways(_mirrored(writes=True, audience=STAFF))
    assert found == [*ASKING, ("pay.audience", "pay"), ("pay", "pay.others")]


def test_with_any_other_mirror_nothing_that_changes_something_is_copied() -> None:
    http = _mirrored(writes=False)
    assert _ways(http) == [*ASKING, ("pay.reads", "pay"), ("pay", "pay.split")]
    reads = "(Method(`GET`) || Method(`HEAD`) || Method(`OPTIONS`))"
    assert http["routers"]["pay.reads"]["rule"].endswith(f" && {reads}")
    http = _mirrored(writes=False, audience=STAFF)
    assert _ways(http) == [
        *ASKING,
        ("pay.audience.reads", "pay"),
        ("pay.audience", "pay.split"),
        ("pay.reads", "pay.others"),
        ("pay", "pay_1~apart"),
    ]
    assert "X-Beta" in http["routers"]["pay.audience.reads"]["rule"].title()


def test_what_a_catalog_says_stands_in_every_router() -> None:
    options = TraefikFileOptions(
        directory="/d",
        api=("http://127.0.0.1:8080",),
        rule="Host(`{service}.example`) && PathPrefix(`/{service}`)",
        entry_points=("websecure",),
        middlewares=("auth@docker",),
        tls=True,
    )
    http = document(Route.split("pay", "1", "2", 5), options.entrance)["http"]
    for router in http["routers"].values():
        assert router["rule"].startswith(("Host(`pay.example`)", "(Host(`pay.example`)"))
        assert router["entryPoints"] == ["websecure"]
        assert router["middlewares"] == ["auth@docker"]
        assert router["tls"] == {"options": "default"}


@pytest.mark.parametrize(
    "rule", ["Host(`pay`)", "{service}\n", "é{service}", "", "{service}" * 300]
)
def test_a_rule_that_can_be_none_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError, match="rule"):
        TraefikFileOptions(directory="/d", rule=rule)


@pytest.mark.parametrize("root", ["", "/traefik", "a//b", "a/", "{}"])
def test_a_root_key_that_can_be_none_is_refused(root: str) -> None:
    with pytest.raises(ValidationError, match="root_key"):
        TraefikEtcdOptions(root_key=root)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"api": []}, "api"),
        ({"etcd": ["127.0.0.1:2379"]}, "etcd"),
        ({"etcd": ["http://user:pw@127.0.0.1:2379"]}, "etcd"),
        ({"etcd_user": "aviary"}, "etcd_user and etcd_password"),
        ({"etcd_key_file": "/k.pem"}, "etcd_cert_file"),
        ({"etcd_ca_file": "/nowhere.pem"}, "readable PEM"),
    ],
)
def test_a_connection_that_can_be_none_is_refused(change: dict[str, Any], expected: str) -> None:
    good = {"api": ["http://127.0.0.1:8080"], "etcd": ["http://127.0.0.1:2379"]}
    TraefikEtcdConnection.model_validate(good)
    with pytest.raises(ValidationError, match=expected):
        TraefikEtcdConnection.model_validate({**good, **change})


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"service": "pay", "arms": []}'])
def test_a_damaged_route_says_where_it_is(text: str) -> None:
    with pytest.raises(Retryable, match="middleware pay.route: expected a route"):
        read_mark("pay", text)
    other = json.dumps(Route.split("cart", "1").model_dump(mode="json"))
    with pytest.raises(Retryable, match="holds a route of cart"):
        read_mark("pay", other)


def test_a_route_carries_itself_and_a_digest() -> None:
    mark = f"http/middlewares/{mark_name('pay')}/headers/customRequestHeaders"
    found = entries(Route.split("pay", "1", owner="\U0001f600"))
    assert {f"{mark}/{ROUTE}", f"{mark}/{DIGEST}"} <= found.keys()
    assert found[f"{mark}/{ROUTE}"].isascii()


def test_who_is_healthy_can_be_known_only_of_pools_that_are_checked() -> None:
    pool = Pool(service="pay", version="1", servers=("http://10.0.0.7:80",), health_path="/healthz")
    services = pool.document["http"]["services"]
    assert services["pay_1"]["loadBalancer"]["healthCheck"]["path"] == "/healthz"
    assert "healthCheck" not in services["pay_1~apart"]["loadBalancer"]
    bare = pool.model_copy(update={"health_path": None})
    assert "healthCheck" not in bare.document["http"]["services"]["pay_1"]["loadBalancer"]


def test_what_was_told_is_read_back_and_of_what_was_forgotten_the_newest_is_kept() -> None:
    told = {f"1.{n}": Endpoints(endpoints=(), generation=n) for n in range(150)}
    told["2"] = Endpoints(endpoints=(Endpoint(host="::1", port=80),), generation=1)
    found = pools_document("pay", told, None)
    assert found["http"]["services"]["pay_2"]["loadBalancer"]["servers"] == [
        {"url": "http://[::1]:80"}
    ]
    back = told_in(flatten(found), "pay")
    assert back == {name: one for name, one in told.items() if name == "2" or one.generation >= 50}


def test_what_was_told_and_is_damaged_is_no_reason_to_forget_it() -> None:
    assert told_in({}, "pay") == {}
    with pytest.raises(Retryable, match="middleware pay_~pools: expected pools"):
        read_told("pay", '{"versions": {"1": {"endpoints": [{"host": "a"}]}}}')


@pytest.mark.parametrize("url", ["10.0.0.7:80", "http://u:p@10.0.0.7", "http://a/b", "ftp://a"])
def test_an_instance_that_can_be_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="servers"):
        Pool(service="pay", version="1", servers=(url,))


def test_counts_are_read_whatever_stands_in_the_other_labels() -> None:
    text = (
        "# HELP traefik_service_requests_total How many.\n"
        'traefik_service_requests_total{code="200",method="GET",protocol="http",'
        'service="pay_1.0@file"} 12\n'
        'traefik_service_requests_total{code="500",method="a}b",protocol="http",'
        'service="pay_1.0@file"} 1.5e+06\n'
        'traefik_service_requests_bytes_total{service="pay_1.0@file"} 9\n'
    )
    assert _COUNT.findall(text) == [("pay_1.0@file", "12"), ("pay_1.0@file", "1.5e+06")]


def test_a_file_is_named_after_its_service(tmp_path: Path) -> None:

    assert FileStore(tmp_path).path("pay") == tmp_path / "aviary-pay.yaml"


@pytest.mark.parametrize(("sticky", "stays"), [("none", ()), ("address", ("address",))])
def test_a_catalog_knows_what_its_options_claim(sticky: str, stays: tuple[str, ...]) -> None:
    kinds = CatalogKinds(registry())
    facts = {
        one: kinds.facts(RouterSpec(kind="traefik-file", directory="/d", sticky=one))
        for one in (sticky, "cookie")
    }
    assert facts[sticky].capabilities.sticky == stays
    assert not facts[sticky].capabilities.pinned
    assert facts["cookie"].capabilities.pinned
    notes = [*unseen(JudgeSpec(), facts["cookie"].capabilities, "traefik-file")]
    assert "a weight is a share of new users" in notes[0]
    assert not [*unseen(JudgeSpec(), facts[sticky].capabilities, "traefik-file")]
