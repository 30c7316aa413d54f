"""A list of routers in a catalog: what is wrong with it is told at its place."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from adapters.kinds import Shared
from aviary.catalogs import read_catalog
from aviary.kinds import registry
from aviary.routers import make_router
from schemas.capabilities import Counting
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError
from schemas.catalog_fit import notes
from schemas.deploy import DeployRequested
from schemas.release import ServicePlan
from schemas.router_spec import RouterSpec
from workflows.planning import plan_release

ENVOY = "{kind: envoy, directory: /srv/envoy, admin: ['http://127.0.0.1:9901']}"
HAPROXY = "{kind: haproxy, directory: /srv/haproxy, sockets: [/run/haproxy.sock]}"


def catalog(tmp_path: Path, router: str, more: str = "") -> Catalog:
    path = tmp_path / "catalog.yaml"
    path.write_text(f"version: 1\nservices:\n  ledger:\n    router: {router}\n{more}")
    return read_catalog(path)


def planned(found: Catalog) -> ServicePlan:
    services = [{"service": "ledger", "version": "2"}]
    deploy = DeployRequested.model_validate({"release": "r", "services": services})
    return plan_release(found, deploy).services["ledger"]


def test_a_list_is_kept_in_its_order_and_judged_by_the_first_with_metrics(tmp_path: Path) -> None:
    found = catalog(tmp_path, f"[{{kind: memory}}, {ENVOY}, {HAPROXY}]")
    plan = planned(found)
    assert plan.router.text == "memory with envoy with haproxy"
    assert [one.kind for one in plan.router.each] == ["memory", "envoy", "haproxy"]
    assert plan.router.options["judged_by"] == 2
    assert plan.judge.pack == "envoy"
    assert plan.capabilities.counts is Counting.NONE
    again = ServicePlan.model_validate_json(plan.model_dump_json())
    assert again.router == plan.router
    assert any("the router memory counts no requests" in note for note in notes(found))


def test_a_mapping_says_whose_metrics_judge(tmp_path: Path) -> None:
    router = f"{{kind: several, judged_by: 2, routers: [{ENVOY}, {HAPROXY}]}}"
    plan = planned(catalog(tmp_path, router))
    assert plan.judge.pack == "haproxy"


@pytest.mark.parametrize(
    ("router", "says"),
    [
        (f"[{ENVOY}, {{kind: haproxi}}]", "router[1].kind: got 'haproxi', expected one of"),
        (f"[{ENVOY}, {{kind: envoy, directory: /x}}]", "router[1].admin: missing, expected"),
        (f"[{ENVOY}]", "router: "),
        (f"[{ENVOY}, {ENVOY}]", "router: "),
        (f"[{ENVOY}, [{HAPROXY}]]", "router[1]: "),
        (f"[{ENVOY}, envoy]", "router[1]: got 'envoy', expected a mapping"),
        (f"[{', '.join([ENVOY, HAPROXY] * 3)}]", "router: "),
        (
            f"{{kind: several, judged_by: 3, routers: [{ENVOY}, {HAPROXY}]}}",
            "router: ",
        ),
        (f"{{kind: several, routers: [{ENVOY}, {HAPROXY}], judge: 1}}", "router.judge: "),
        (
            f"[{ENVOY}, {{kind: several, routers: [{ENVOY}, {HAPROXY}]}}]",
            "router[1].kind: got 'several', expected a router, and no list in a list",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(tmp_path: Path, router: str, says: str) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog(tmp_path, router, "    metrics: []\n")
    (problem,) = [str(one).partition("services.ledger.")[2] for one in caught.value.problems]
    assert problem.startswith(says), problem


async def test_it_is_made_of_its_plan_with_names_that_tell_them_apart() -> None:
    spec = RouterSpec.model_validate(
        [{"kind": "memory", "connection": "eu"}, {"kind": "memory"}, {"kind": "haproxy"}]
    )
    assert spec.several is not None
    assert spec.several.names == ("memory (eu)", "memory (2 of 3)", "haproxy")
    spec = RouterSpec.model_validate(
        [{"kind": "memory"}, {"kind": "traefik-file", "directory": "/x", "api": ["http://a"]}]
    )
    async with httpx.AsyncClient() as client:
        routing = make_router(spec, registry(), {}, Shared(client))
        assert [part.name for part in routing.parts] == ["memory", "traefik-file"]
        assert routing.counts is None
        await routing.router.aclose()
