"""What istiod makes of a VirtualService for its proxies, held against the VirtualService."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adapters.errors import Retryable
from adapters.routers.istio.istiod import IstiodPlane, splits_served, splits_wanted
from schemas.route import Route

FOUND: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "checkout"},
    "spec": {
        "http": [
            {"redirect": {"uri": "/x"}},
            {
                "match": [{}, {}],
                "route": [{"destination": {"host": "checkout-1-4-2"}, "weight": 100}],
            },
            {
                "route": [
                    {"destination": {"host": "checkout-1-4-1"}, "weight": 95},
                    {"destination": {"host": "checkout-1-4-2"}, "weight": 5},
                    {"destination": {"host": "checkout-1-4-0"}, "weight": 0},
                ],
            },
        ]
    },
}
ROUTE = Route.split("checkout", "1.4.1", "1.4.2", 5)


def _route(action: dict[str, Any], name: str = "checkout") -> dict[str, Any]:
    config = f"/apis/networking.istio.io/v1/namespaces/shop/virtual-service/{name}"
    return {"route": action, "metadata": {"filterMetadata": {"istio": {"config": config}}}}


def _cluster(version: str) -> str:
    return f"outbound|80||checkout-{version}.shop.svc.cluster.local"


def dump(canary: int = 5, name: str = "checkout") -> dict[str, Any]:
    weighted = [
        {"name": _cluster("1-4-1"), "weight": 100 - canary},
        {"name": _cluster("1-4-2"), "weight": canary},
    ]
    routes = [
        {"redirect": {}},
        _route({"cluster": _cluster("1-4-2")}, name),
        _route({"cluster": _cluster("1-4-2")}, name),
        _route({"weightedClusters": {"clusters": weighted}}, name),
    ]
    config = {"routeConfig": {"virtualHosts": [{"routes": routes}]}}
    kind = "type.googleapis.com/envoy.admin.v3.RoutesConfigDump"
    return {"configs": [{"@type": kind, "dynamicRouteConfigs": [config]}]}


def plane(proxies: Any, *dumps: Any) -> IstiodPlane:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/debug/syncz":
            return httpx.Response(200, json=proxies)
        found = dumps[int(request.url.params["proxyID"])]
        return httpx.Response(404) if found is None else httpx.Response(200, json=found)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return IstiodPlane("http://istiod:15014", client)


def proxy(number: int, sent: str = "a", acked: str = "a") -> dict[str, str]:
    return {"proxy": str(number), "route_sent": sent, "route_acked": acked}


def test_what_it_makes_is_what_the_object_says() -> None:
    assert splits_served(dump(), FOUND) == splits_wanted(FOUND)
    assert splits_served(dump(canary=6), FOUND) != splits_wanted(FOUND)
    assert not splits_served(dump(name="checkout-api"), FOUND)


async def test_every_proxy_that_has_it_must_have_it_and_have_taken_it() -> None:
    two = [proxy(0), proxy(1)]
    assert await plane(two, dump(), dump()).lag(ROUTE, [FOUND]) == ""
    assert await plane(two, dump(), dump(name="cart")).lag(ROUTE, [FOUND]) == ""
    assert await plane(two, dump(), None).lag(ROUTE, [FOUND]) == "", "it has left"
    assert "proxy 1 has another route" in await plane(two, dump(), dump(50)).lag(ROUTE, [FOUND])
    late = [proxy(0, "b", "a")]
    assert "has not taken its routes" in await plane(late, dump()).lag(ROUTE, [FOUND])


async def test_what_nobody_has_is_not_confirmed() -> None:
    assert "no proxy has routes of checkout" in await plane([]).lag(ROUTE, [FOUND])
    assert "no proxy has" in await plane([proxy(0)], dump(name="cart")).lag(ROUTE, [FOUND])


@pytest.mark.parametrize("odd", [{"configs": [5]}, {"configs": [{"@type": "RoutesConfigDump"}, 1]}])
async def test_routes_of_another_form_are_asked_for_again(odd: Any) -> None:
    with pytest.raises(Retryable, match="proxy 0: routes of another form"):
        await plane([proxy(0)], odd).lag(ROUTE, [FOUND])


@pytest.mark.parametrize("said", [{}, "x", 5])
async def test_an_answer_that_is_none_is_asked_for_again(said: Any) -> None:
    with pytest.raises(Retryable, match="expected a list of proxies"):
        await plane(said).lag(ROUTE, [FOUND])
