"""The file of what Envoy's pools were told, and what a death between two files leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import Retryable, StaleGeneration
from adapters.routers import told_file as module
from adapters.routers.endpoint_fence import Order
from adapters.routers.envoy.endpoints import EndpointFile
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from schemas.deployment import Endpoint

HERE = Endpoint(host="127.0.0.1", port=80)
THERE = Endpoint(host="127.0.0.1", port=81)


@pytest.fixture
def fleet(tmp_path: Path) -> EnvoyFleet:
    made = EnvoyFleet(tmp_path)
    made.bootstrap(9901, 10000)
    return made


def opened(fleet: EnvoyFleet) -> EndpointFile:
    return EndpointFile(fleet.directory, "/healthz", 1.0)


def order(*endpoints: Endpoint, generation: int = 1, version: str = "1") -> Order:
    return Order("cart", version, endpoints, generation)


def test_the_same_order_makes_good_what_a_death_between_the_files_left(
    fleet: EnvoyFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(EnvoyFleet, "set_locked", die)
        with pytest.raises(KeyboardInterrupt):
            opened(fleet).put(order(HERE))
    assert not fleet.pools()
    opened(fleet).put(order(HERE))
    assert [pool.endpoints for pool in fleet.pools()] == [(("127.0.0.1", 80),)]

    with monkeypatch.context() as patched:
        patched.setattr(EnvoyFleet, "set_locked", die)
        with pytest.raises(KeyboardInterrupt):
            opened(fleet).drop(order(generation=2))
    assert fleet.pools()
    with pytest.raises(StaleGeneration):
        opened(fleet).put(order(HERE))
    opened(fleet).drop(order(generation=2))
    assert not fleet.pools()


def test_a_pool_keeps_its_health_check_and_a_new_one_gets_that_of_the_router(
    fleet: EnvoyFleet,
) -> None:
    mine = Pool(service="cart", version="0", endpoints=(), health_path="/up")
    fleet.put_pool(mine)
    opened(fleet).put(order(HERE, version="0"))
    opened(fleet).put(order(HERE, version="1"))
    assert [pool.health_path for pool in fleet.pools()] == ["/up", "/healthz"]


def test_a_pool_that_somebody_put_there_is_told_of(fleet: EnvoyFleet) -> None:
    fleet.put_pool(Pool(service="cart", version="0", endpoints=(("127.0.0.1", 80),)))
    opened(fleet).put(order(THERE))
    told = opened(fleet).told("cart")["cart"]
    assert {version: one.endpoints for version, one in told.items()} == {
        "0": (HERE,),
        "1": (THERE,),
    }


def test_the_fence_forgets_the_oldest_of_very_many(
    fleet: EnvoyFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FORGOTTEN_MOST", 2)
    for generation in (1, 2, 3):
        opened(fleet).drop(order(generation=generation, version=str(generation)))
    opened(fleet).put(order(HERE, generation=1, version="1"))
    with pytest.raises(StaleGeneration):
        opened(fleet).put(order(HERE, generation=1, version="3"))


def test_a_file_that_is_no_fence_is_told_by_its_path(fleet: EnvoyFleet) -> None:
    (fleet.directory / "endpoints.json").write_text('{"services": {"cart": 1}}')
    with pytest.raises(Retryable, match=r"endpoints\.json"):
        opened(fleet).put(order(HERE))
