"""Versions that are subsets of one host, with the router that writes VirtualServices."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.errors import ForeignChange, UnknownRoute
from adapters.kubernetes.resources import PODS, SERVICES
from adapters.routers.istio.capabilities import CAPABILITIES
from adapters.routers.istio.form import VIRTUAL_SERVICES, IstioForm
from adapters.routers.istio.subsets import DESTINATION_RULES, SubsetVersions
from adapters.routers.kubernetes.router import ObjectRouter
from schemas.route import Health, Route
from tests.contract.routers.fake_cluster import FakeCluster

OLD, NEW = "1.4.1", "1.4.2"


def pod(cluster: FakeCluster, name: str, version: str, *, ready: bool = True) -> None:
    labels = {"app": "checkout", "version": version}
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    cluster.put(PODS, name, metadata={"labels": labels}, status=status)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.put(SERVICES, "checkout", spec={"selector": {"app": "checkout"}})
    subsets = [
        {"name": f"v{version.replace('.', '-')}", "labels": {"version": version}}
        for version in (OLD, NEW, "1.4.3")
    ]
    made.put(DESTINATION_RULES, "checkout", spec={"host": "checkout", "subsets": subsets})
    http: list[Any] = [{"route": [{"destination": {"host": "checkout", "subset": "v1-4-1"}}]}]
    made.put(VIRTUAL_SERVICES, "checkout", spec={"hosts": ["checkout"], "http": http})
    for number, version in enumerate((OLD, OLD, NEW)):
        pod(made, f"pod-{number}", version, ready=number != 1)
    return made


@pytest.fixture
def router(cluster: FakeCluster) -> ObjectRouter:
    form = IstioForm(
        ("{service}",), "{service}", "v{version}", apart=False, subsets=True, is_forced=True
    )
    versions = SubsetVersions(cluster, form.backends)
    return ObjectRouter(cluster, form, versions=versions, can=CAPABILITIES)


async def test_a_release_is_written_by_subset(cluster: FakeCluster, router: ObjectRouter) -> None:
    await router.register("checkout", OLD)
    route = Route.split("checkout", OLD, NEW, 5, generation=1)
    await router.apply(route)
    sent = cluster.objects["virtualservices", "checkout"]["spec"]["http"][-1]["route"]
    assert [(one["destination"], one["weight"]) for one in sent] == [
        ({"host": "checkout", "subset": "v1-4-1"}, 95),
        ({"host": "checkout", "subset": "v1-4-2"}, 5),
    ]
    assert await router.changed(route) == ""
    assert await router.locate("checkout", NEW) == "v1-4-2"
    assert await router.instances("checkout") == {
        OLD: Health(known=2, healthy=1),
        NEW: Health(known=1, healthy=1),
    }


async def test_a_subset_that_is_missing_or_has_no_pods_is_an_error_by_name(
    router: ObjectRouter,
) -> None:
    await router.register("checkout", OLD)
    for version, why in (
        ("9.9.9", "expected a subset v9-9-9 in DestinationRule checkout"),
        ("1.4.3", "the subset v1-4-3 has no instances"),
    ):
        with pytest.raises(UnknownRoute, match=f"version {version}: {why}"):
            await router.apply(Route.split("checkout", OLD, version, 5, generation=1))
    assert await router.exists("checkout", "1.4.3")
    assert not await router.exists("checkout", "9.9.9")


async def test_another_weight_of_a_subset_is_somebodys_change(
    cluster: FakeCluster, router: ObjectRouter
) -> None:
    await router.register("checkout", OLD)
    route = Route.split("checkout", OLD, NEW, 5, generation=1)
    await router.apply(route)
    spec = cluster.objects["virtualservices", "checkout"]["spec"]
    for one, weight in zip(spec["http"][-1]["route"], (50, 50), strict=True):
        one["weight"] = weight
    cluster.put(VIRTUAL_SERVICES, "checkout", "kiali", spec=spec)
    with pytest.raises(ForeignChange, match="kiali changed .*checkout v1-4-2 50"):
        await router.apply(Route.split("checkout", OLD, NEW, 10, generation=2), over=route)
