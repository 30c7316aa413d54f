"""Envoy's file of routes after somebody else was at it: GitOps, an editor, another controller."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import ForeignChange, UnknownRoute
from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.names import resource_file
from adapters.routers.envoy.routes import local_domains, split_in
from adapters.routers.files import read_document, write_whole
from schemas.route import Route

APPLIED = Route.split("cart", "1", "2", 10, generation=3, owner="shop-1")
NEXT = Route.split("cart", "1", "2", 50, generation=4, owner="shop-1")
BACK = Route.split("cart", "1", generation=4, owner="shop-1")


@pytest.fixture
def file(tmp_path: Path) -> RouteFile:
    fleet = EnvoyFleet(tmp_path)
    fleet.bootstrap(9901, 10000)
    endpoints = (("127.0.0.1", 1),)
    fleet.set_pools([Pool(service="cart", version=one, endpoints=endpoints) for one in "12"])
    found = RouteFile(tmp_path, local_domains, lock_within=1)
    found.register(Route.split("cart", "1"))
    found.write(APPLIED)
    return found


def edit(file: RouteFile, **fields: Any) -> None:
    """Set fields of the one virtual host; None takes one away."""
    (config,) = read_document(file._path)["resources"]
    (host,) = config["virtual_hosts"]
    kept = {name: value for name, value in {**host, **fields}.items() if value is not None}
    write_whole(file._path, resource_file([{**config, "virtual_hosts": [kept]}]))


def test_a_host_that_was_added_is_a_change_whatever_the_weights(file: RouteFile) -> None:
    edit(file, domains=["cart", "cart.example.com"])
    with pytest.raises(
        ForeignChange,
        match=r"cart: somebody else changed its route: rds.yaml: found cart@1 9000, cart@2 1000, "
        r"expected 1 90 %, 2 10 % \(generation 3 of shop-1\)",
    ):
        file.write(NEXT, APPLIED)
    assert file.read("cart") == APPLIED


def test_a_route_without_its_mark_is_no_service_without_a_route(file: RouteFile) -> None:
    edit(file, metadata=None)
    for call in (
        lambda: file.read("cart"),
        lambda: file.register(Route.split("cart", "2")),
        lambda: file.write(NEXT, APPLIED),
    ):
        with pytest.raises(ForeignChange, match="cart: somebody else"):
            call()
    file.write(BACK)
    assert file.read("cart") == BACK, "a rollback overrules it"


def test_what_overrules_a_lost_mark_still_needs_its_instances(file: RouteFile) -> None:
    edit(file, metadata=None)
    with pytest.raises(UnknownRoute, match="9"):
        file.write(Route.split("cart", "9", generation=4))


@pytest.mark.parametrize("routes", ["none", [], [1], [{"route": {"weighted_clusters": 3}}], [{}]])
def test_any_nonsense_is_a_change_and_no_crash(file: RouteFile, routes: object) -> None:
    edit(file, routes=routes)
    with pytest.raises(ForeignChange, match="found another form, expected"):
        file.write(NEXT, APPLIED)


def test_who_wrote_the_file_is_named(file: RouteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(file, domains=["cart", "cart.example.com"])
    writer = f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ForeignChange, match=f"cart: {writer} changed") as caught:
        file.write(NEXT, APPLIED)
    assert caught.value.who == writer


def test_what_was_found_is_cut() -> None:
    clusters = [{"name": "x" * 1000, "weight": 1}] * 1000
    assert (
        len(split_in({"routes": [{"route": {"weighted_clusters": {"clusters": clusters}}}]})) < 201
    )
