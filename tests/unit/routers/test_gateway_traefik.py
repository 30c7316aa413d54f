"""What a Traefik says that it serves, held against an HTTPRoute."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.routers.gateway_api.traefik import splits_served, splits_wanted
from aviary.kinds import registry
from aviary.routers import NO_CONNECTIONS, CatalogKinds
from schemas.capabilities import Counting
from schemas.router_spec import RouterSpec

ROUTE: dict[str, Any] = {
    "kind": "HTTPRoute",
    "metadata": {"namespace": "shop", "name": "checkout"},
    "spec": {
        "rules": [
            {"filters": [{"type": "RequestRedirect"}]},
            {
                "matches": [{}, {}],
                "backendRefs": [
                    {"name": "checkout-1-4-1", "weight": 90},
                    {"name": "checkout-1-4-2", "weight": 10},
                ],
            },
        ]
    },
}
_PLACE = "httproute-shop-checkout-gw-shop-edge-ep-web"


def served(*weights: int, place: str = _PLACE) -> dict[str, Any]:
    """As Traefik 3.7 has the second rule, with these weights."""
    found: dict[str, Any] = {"routers": {}, "services": {}}
    for match in range(2):
        name = f"{place}-1-{match:020x}"
        found["routers"][f"{name}@kubernetesgateway"] = {"service": f"{name}-wrr"}
        parts = [
            {"name": f"{name}-svc-shop-checkout-1-4-{n + 1}-{n}", "weight": weight}
            for n, weight in enumerate(weights)
        ]
        found["services"][f"{name}-wrr@kubernetesgateway"] = {"weighted": {"services": parts}}
    return found


def is_served(raw: Any) -> list[bool]:
    wanted = splits_wanted(ROUTE)
    return [one == wanted for one in splits_served(raw, ROUTE).values()]


def test_the_same_shares_are_the_same_route() -> None:
    assert is_served(served(90, 10)) == [True]
    assert is_served(served(9000, 1000)) == [True]
    assert is_served(served(10, 90)) == [False]
    assert is_served(served(100)) == [False]


def test_each_gateway_and_entry_point_has_to_have_it() -> None:
    one = served(90, 10)
    other = served(50, 50, place=_PLACE.replace("edge", "inner"))
    both = {part: {**one[part], **other[part]} for part in one}
    assert sorted(is_served(both)) == [False, True]


def test_what_is_of_another_route_is_left_out() -> None:
    for place in (_PLACE.replace("-checkout-", "-checkout-api-"), _PLACE.replace("shop", "x")):
        assert is_served(served(90, 10, place=place)) == []


def test_a_version_without_weight_is_not_missed() -> None:
    route = copy.deepcopy(ROUTE)
    route["spec"]["rules"][1]["backendRefs"][1]["weight"] = 0
    assert splits_served(served(100), route) == {_PLACE: splits_wanted(route)}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["weighted", "services", "name", "weight"]), inner)
    ),
    max_leaves=8,
)


@given(_JSON)
def test_whatever_it_answers_is_read(value: Any) -> None:
    raw = served(90, 10)
    raw["services"] = dict.fromkeys(raw["services"], value)
    assert True not in is_served(raw)
    assert is_served({"routers": value, "services": value}) == []


@pytest.mark.parametrize("traefik", [(), ("http://10.0.0.1:8080",)])
def test_what_it_can_do_depends_on_what_implements_it(traefik: tuple[str, ...]) -> None:
    spec = RouterSpec(kind="gateway_api", connection="prod", traefik=list(traefik))
    facts = CatalogKinds(registry(), NO_CONNECTIONS).facts(spec)
    can = facts.capabilities
    if traefik:
        assert (facts.pack, len(facts.metrics or ())) == ("traefik-gateway", 2)
        assert (can.counts, can.mirroring) == (Counting.METRICS, False)
    else:
        assert (facts.pack, facts.metrics) == (None, None)
        assert (can.counts, can.mirroring) == (Counting.NONE, True)
