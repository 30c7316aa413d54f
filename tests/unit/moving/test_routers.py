"""Traffic routing blocks: a router where there is a kind and a connection, else a comment."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import yaml
from pydantic import Field

from adapters.connections import Connection
from adapters.kinds import RouterKind
from adapters.routers.memory import MEMORY
from aviary.moving.routers import Chooser
from aviary.moving.rows import Became
from aviary.moving.run import Imported, import_manifests
from aviary.registry import Registry
from schemas.base import Model


class Cluster(Connection):
    """What reaches a cluster."""

    connection_kind: ClassVar[str] = "cluster"


class Options(Model):
    """As the kinds for Istio and the Gateway API have them, and no more than that."""

    namespace: str | None = None
    virtual_services: tuple[str, ...] = Field(default=(), max_length=3)
    http_routes: tuple[str, ...] = ()
    grpc_routes: tuple[str, ...] = ()
    service: str = "{service}"
    subsets: bool = False


def _kind(name: str) -> RouterKind[Options, Cluster]:
    return RouterKind[Options, Cluster](
        name=name,
        text="Of a test.",
        options=Options,
        connection=Cluster,
        needs_connection=True,
        make=lambda *_: pytest.fail("nothing is made"),
        capabilities=MEMORY.capabilities,
    )


KNOWN = Registry((MEMORY, _kind("istio"), _kind("gateway_api")), (), (), (), ())
ONE = {"prod": Cluster()}


def _rollout(routing: str) -> str:
    return f"""
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: checkout, namespace: shop}}
spec:
  strategy:
    canary:
      stableService: checkout-stable
      canaryService: checkout-canary
      trafficRouting: {routing}
      steps: [{{setWeight: 5}}]
"""


def _imported(
    text: str, connections: dict[str, Cluster] | None = None, known: Registry = KNOWN
) -> Imported:
    chooser = Chooser(ONE if connections is None else connections, given=False, known=known)
    return import_manifests({"f.yaml": text}, chooser)


def _router(found: Imported) -> Any:
    return yaml.safe_load(found.catalog)["services"]["checkout"].get("router")


GATEWAY = "{plugins: {argoproj-labs/gatewayAPI: {httpRoute: checkout, namespace: edge}}}"
ISTIO = "{istio: {virtualService: {name: checkout}}}"


def test_istio_is_a_router_of_its_kind() -> None:
    assert _router(_imported(_rollout(ISTIO))) == {
        "kind": "istio",
        "connection": "prod",
        "namespace": "shop",
        "virtual_services": ["checkout"],
        "service": "checkout-stable",
    }


def test_no_router_stands_in_where_each_service_has_its_own() -> None:
    assert "kind: memory" not in _imported(_rollout(ISTIO)).catalog
    assert "kind: memory" in _imported(_rollout("{smi: {}}")).catalog


def test_subsets_are_told() -> None:
    routing = "{istio: {virtualServices: [{name: a}, {name: b}], destinationRule: {name: c}}}"
    router = _router(_imported(_rollout(routing)))
    assert router["virtual_services"] == ["a", "b"]
    assert router["subsets"] is True


def test_the_gateway_api_is_a_router_of_its_kind() -> None:
    assert _router(_imported(_rollout(GATEWAY))) == {
        "kind": "gateway_api",
        "connection": "prod",
        "namespace": "edge",
        "http_routes": ["checkout"],
        "service": "checkout-stable",
    }


def test_several_are_a_list() -> None:
    routing = "{istio: {virtualService: {name: a}}, " + GATEWAY[1:]
    assert [one["kind"] for one in _router(_imported(_rollout(routing)))] == [
        "istio",
        "gateway_api",
    ]


def test_several_of_which_one_has_no_kind_are_none() -> None:
    found = _imported(_rollout("{istio: {virtualService: {name: a}}, alb: {ingress: b}}"))
    assert _router(found) is None
    told = [row.text for row in found.report.rows if row.became is Became.NONE]
    assert any("several at once (istio, alb)" in text for text in told)


@pytest.mark.parametrize(
    ("connections", "known", "why"),
    [
        (None, Registry((MEMORY,), (), (), (), ()), "router kind istio is not installed here"),
        ({}, KNOWN, "AVIARY_CONNECTIONS_FILE has no connection of kind cluster"),
        (
            {"a": Cluster(), "b": Cluster()},
            KNOWN,
            "AVIARY_CONNECTIONS_FILE has more than one connection of kind cluster",
        ),
    ],
)
def test_what_can_not_be_used_is_a_comment(
    connections: dict[str, Cluster] | None, known: Registry, why: str
) -> None:
    found = _imported(_rollout(ISTIO), connections, known)
    assert _router(found) is None
    assert f"# TODO: {why}" in found.catalog
    assert "#   kind: istio" in found.catalog


def test_options_that_the_kind_does_not_take_are_a_comment() -> None:
    names = ", ".join(f"{{name: v{at}}}" for at in range(5))
    found = _imported(_rollout(f"{{istio: {{virtualServices: [{names}]}}}}"))
    assert _router(found) is None
    assert "router kind istio: virtual_services" in found.catalog


@pytest.mark.parametrize(
    "routing",
    [
        "{nginx: {stableIngress: a}}",
        "{alb: {ingress: a, servicePort: 80}}",
        "{smi: {}}",
        "{appMesh: {virtualService: {name: a}}}",
        "{traefik: {weightedTraefikServiceName: a}}",
        "{ambassador: {mappings: [a]}}",
        "{apisix: {route: {name: a}}}",
        "{plugins: {someone/else: {a: b}}}",
        "{newer: {a: b}}",
    ],
)
def test_others_have_no_counterpart_and_the_row_says_what_to_do(routing: str) -> None:
    found = _imported(_rollout(routing))
    assert _router(found) is None
    told = [row for row in found.report.rows if "trafficRouting" in row.place.path]
    assert [row.became for row in told] == [Became.NONE]
    assert "router" in told[0].text
    assert not found.report.counts[Became.UNKNOWN]


@pytest.mark.parametrize(
    ("provider", "kind", "option"),
    [("istio", "istio", "virtual_services"), ("gatewayapi:v1", "gateway_api", "http_routes")],
)
def test_flagger_names_its_route_as_the_service(provider: str, kind: str, option: str) -> None:
    found = _imported(f"""
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{name: checkout, namespace: shop}}
spec:
  provider: {provider}
  targetRef: {{kind: Deployment, name: checkout}}
  service: {{name: checkout-web, port: 80}}
  skipAnalysis: true
""")
    assert _router(found) == {
        "kind": kind,
        "connection": "prod",
        "namespace": "shop",
        option: ["checkout-web"],
        "service": "checkout-web",
    }
