"""The files of a fleet, without an Envoy."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.errors import Retryable, Terminal
from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.routes import local_domains
from schemas.route import Route


def pool(version: str, *ports: int, service: str = "cart", host: str = "127.0.0.1") -> Pool:
    return Pool(service=service, version=version, endpoints=tuple((host, port) for port in ports))


@pytest.fixture
def fleet(tmp_path: Path) -> EnvoyFleet:
    made = EnvoyFleet(tmp_path / "fleet")
    made.bootstrap(9901, 10000)
    return made


def cluster(fleet: EnvoyFleet, name: str) -> dict[str, object]:
    document = json.loads((fleet.directory / "cds.yaml").read_text())
    found = [one for one in document["resources"] if one["name"] == name]
    assert len(found) == 1
    described: dict[str, object] = found[0]
    return described


POOLS = st.lists(
    st.builds(
        pool,
        st.sampled_from(["1", "1.0", "2.0.1", "2.0.1-rc.1+a_b"]),
        st.integers(1, 65535),
        service=st.sampled_from(["a", "b-c"]),
    ),
    unique_by=lambda one: one.name,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(first=POOLS, then=POOLS)
def test_pools_are_read_back(fleet: EnvoyFleet, first: list[Pool], then: list[Pool]) -> None:
    for pools in (first, then):
        fleet.set_pools(pools)
        assert list(fleet.pools()) == sorted(pools, key=lambda one: (one.service, one.version))


def test_a_pool_can_be_put_changed_and_dropped(fleet: EnvoyFleet) -> None:
    fleet.put_pool(pool("1", 1001))
    fleet.put_pool(pool("2", 1002))
    fleet.put_pool(pool("1", 1003, 1004))
    assert list(fleet.pools()) == [pool("1", 1003, 1004), pool("2", 1002)]
    assert fleet.versions("cart") == {"1", "2"}

    fleet.drop_pool("cart", "1")
    fleet.drop_pool("cart", "1")
    assert fleet.versions("cart") == {"2"}


def test_a_pool_may_be_empty(fleet: EnvoyFleet) -> None:
    fleet.put_pool(pool("1"))
    assert list(fleet.pools()) == [pool("1")]


def test_a_pool_named_twice_is_refused(fleet: EnvoyFleet) -> None:
    with pytest.raises(Terminal, match=r"cart 1\.0 is named twice"):
        fleet.set_pools([pool("1.0", 1), pool("1.0", 2)])


@pytest.mark.parametrize("port", [0, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValidationError, match="endpoints"):
        pool("1", port)


def test_a_pool_that_a_route_names_stays(fleet: EnvoyFleet) -> None:
    fleet.set_pools([pool("1", 1), pool("2", 2)])
    file = RouteFile(fleet.directory, local_domains, lock_within=1)
    file.register(Route.split(service="cart", stable="1"))
    file.write(Route.split(service="cart", stable="1", canary="2", generation=1))

    for gone in ("1", "2"):
        with pytest.raises(Terminal, match=f"route of cart still names version {gone}"):
            fleet.drop_pool("cart", gone)
    with pytest.raises(Terminal, match="still names"):
        fleet.set_pools([])

    file.write(Route.split(service="cart", stable="2", generation=2))
    fleet.drop_pool("cart", "1")
    assert fleet.versions("cart") == {"2"}


def test_the_way_back_does_not_read_the_pools_and_the_way_forward_does(fleet: EnvoyFleet) -> None:
    fleet.set_pools([pool("1", 1), pool("2", 2)])
    file = RouteFile(fleet.directory, local_domains, lock_within=1)
    file.register(Route.split(service="cart", stable="1"))
    file.write(Route.split(service="cart", stable="1", canary="2", weight=50, generation=1))
    (fleet.directory / "cds.yaml").unlink()
    file.write(Route.split(service="cart", stable="1", generation=2))
    with pytest.raises(Retryable, match=r"cds\.yaml"):
        file.write(Route.split(service="cart", stable="1", canary="2", weight=50, generation=3))
    assert file.read("cart").generation == 2


def test_another_envoy_leaves_pools_and_routes_alone(fleet: EnvoyFleet) -> None:
    fleet.put_pool(pool("1", 1))
    file = RouteFile(fleet.directory, local_domains, lock_within=1)
    file.register(Route.split(service="cart", stable="1"))

    second = fleet.bootstrap(9902, 10000)

    assert second.name == "envoy-9902.yaml"
    assert fleet.versions("cart") == {"1"}
    assert file.read("cart") == Route.split(service="cart", stable="1")


def test_names_of_hosts_are_looked_up_and_addresses_are_not(fleet: EnvoyFleet) -> None:
    fleet.put_pool(pool("1", 80, host="cart-1"))
    fleet.put_pool(pool("2", 80))
    assert cluster(fleet, "cart@1")["type"] == "STRICT_DNS"
    assert cluster(fleet, "cart@2")["type"] == "STATIC"


def test_a_health_path_makes_the_check_http(tmp_path: Path) -> None:
    fleet = EnvoyFleet(tmp_path, health_path="/healthz")
    fleet.bootstrap(9901, 10000)
    fleet.put_pool(pool("1", 80))
    # Somebody else with another default leaves it as it is.
    EnvoyFleet(tmp_path).put_pool(pool("2", 80))
    assert [one.health_path for one in fleet.pools()] == ["/healthz", None]
    checks = cluster(fleet, "cart@1")["health_checks"]
    assert isinstance(checks, list)
    assert checks[0]["http_health_check"] == {"path": "/healthz"}


def test_the_same_pools_give_the_same_version(fleet: EnvoyFleet) -> None:
    path = fleet.directory / "cds.yaml"
    fleet.set_pools([pool("1", 1), pool("2", 2)])
    once = path.read_text()
    fleet.set_pools([pool("2", 2), pool("1", 1)])
    assert path.read_text() == once


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    fleet = EnvoyFleet(tmp_path / "nowhere")
    with pytest.raises(Retryable, match=r"nowhere.*No such file or directory"):
        fleet.set_pools([])


@pytest.mark.parametrize("urls", [[], ["ftp://127.0.0.1:1"], ["127.0.0.1:9901"], ["http://"]])
async def test_a_wrong_admin_address_is_refused_at_once(tmp_path: Path, urls: list[str]) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="admin"):
            EnvoyRouter(tmp_path, urls, client=client)
