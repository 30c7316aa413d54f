"""Routes in objects of Kubernetes: read, compared, written and confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.errors import ForeignChange, Retryable, StaleGeneration, Terminal, UnknownRoute
from adapters.kubernetes.resources import Json
from adapters.ports import Routing
from adapters.routers.gateway_api.capabilities import CAPABILITIES
from adapters.routers.gateway_api.form import GRPC_ROUTES, HTTP_ROUTES, GatewayForm
from adapters.routers.kubernetes.backends import ServiceVersions
from adapters.routers.kubernetes.marks import key, other_manager
from adapters.routers.kubernetes.router import ObjectRouter, Pace
from schemas.route import Health, Route
from tests.contract.routers.fake_cluster import FakeCluster

OLD, NEW = "1.4.1", "1.4.2"
PARENTS = [{"name": "edge"}]
RULES = [
    {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [
            {"group": "", "kind": "Service", "name": "checkout", "port": 80, "weight": 1}
        ],
    }
]


class Plane:
    """A data plane that says what it is told to."""

    def __init__(self) -> None:
        self.says: list[str] = []

    async def lag(self, route: Route, objects: Sequence[Json]) -> str:
        return self.says.pop(0) if self.says else ""

    async def aclose(self) -> None:
        pass


class Stage:
    """A cluster with one HTTPRoute, whose controller obeys at once unless it is told not to."""

    def __init__(self, *, grpc: bool = False) -> None:
        self.cluster = FakeCluster()
        self.plane = Plane()
        self.now = 0.0
        self.verdict: dict[str, str] = {"Accepted": "True", "ResolvedRefs": "True"}
        self.obeys = True
        form = GatewayForm(
            ("{service}",),
            ("{service}",) if grpc else (),
            "{service}",
            "{service}-{version}",
            apart=False,
            is_forced=True,
        )
        self.resources = [HTTP_ROUTES, GRPC_ROUTES] if grpc else [HTTP_ROUTES]
        for resource in self.resources:
            spec = {"parentRefs": PARENTS, "rules": RULES}
            self.cluster.put(resource, "checkout", spec=spec)
        for version in (OLD, NEW):
            self.cluster.put_service(f"checkout-{version.replace('.', '-')}")
        self.router = ObjectRouter(
            self.cluster,
            form,
            versions=ServiceVersions(self.cluster, form.backends),
            can=CAPABILITIES,
            planes=[self.plane],
            pace=Pace(confirm_within=1.0, poll_every=0.5),
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if not self.obeys:
            return
        for resource in self.resources:
            found = self.cluster.objects[resource.plural, "checkout"]
            conditions = [
                {
                    "type": kind,
                    "status": status,
                    "observedGeneration": found["metadata"]["generation"],
                    "reason": "BackendNotFound",
                    "message": "no such thing",
                }
                for kind, status in self.verdict.items()
            ]
            parent = {"parentRef": {"name": "edge"}, "controllerName": "x"} | {
                "conditions": conditions
            }
            self.cluster.put(resource, "checkout", "controller", status={"parents": [parent]})

    def rules(self) -> list[Json]:
        rules: list[Json] = self.cluster.objects["httproutes", "checkout"]["spec"]["rules"]
        return rules

    def write(self, rules: list[Json], manager: str = "kubectl-edit", **metadata: Any) -> None:
        spec = {"parentRefs": PARENTS, "rules": rules}
        self.cluster.put(HTTP_ROUTES, "checkout", manager, spec=spec, metadata=metadata)

    async def started(self) -> Route:
        """A canary that has a tenth."""
        await self.router.register("checkout", OLD)
        route = canary(10, 1)
        await self.router.apply(route)
        return route


def canary(weight: float, generation: int, owner: str = "shop-1") -> Route:
    return Route.split("checkout", OLD, NEW, weight, generation=generation, owner=owner)


def test_it_is_what_it_claims_to_be() -> None:
    routing = Routing.of(Stage().router, CAPABILITIES)
    assert routing.instances is not None
    assert routing.registrar is not None
    assert routing.changes is not None


async def test_a_route_is_confirmed_once_the_parents_and_the_data_plane_say_so() -> None:
    stage = Stage()
    await stage.router.register("checkout", OLD)
    stage.plane.says = ["not yet"]
    await stage.router.apply(canary(10, 1))
    assert stage.now == 1.0, "once for the parents, once more for the data plane"

    stage.obeys = False
    with pytest.raises(Retryable, match="has not said Accepted of generation"):
        await stage.router.apply(canary(20, 2))
    assert await stage.router.read("checkout") == canary(20, 2), "written all the same"


async def test_the_same_route_again_writes_nothing() -> None:
    stage = Stage()
    route = await stage.started()
    before = len(stage.cluster.patches)
    await stage.router.apply(route)
    assert len(stage.cluster.patches) == before


async def test_a_writer_that_was_overtaken_reads_again_and_finds_the_newer_route() -> None:
    stage = Stage()
    await stage.started()
    newer = canary(0, 5, "other")

    def overtake() -> None:
        stage.cluster.before_patch = lambda: None
        found = stage.cluster.objects["httproutes", "checkout"]
        notes = {key("checkout"): newer.model_dump_json(exclude_none=True)}
        stage.cluster.put(HTTP_ROUTES, "checkout", "aviary", metadata={"annotations": notes})
        assert found is not None

    stage.cluster.before_patch = overtake
    with pytest.raises(StaleGeneration, match="5 is applied"):
        await stage.router.apply(canary(50, 2))
    assert await stage.router.read("checkout") == newer


async def test_a_status_that_was_written_meanwhile_is_no_hindrance() -> None:
    stage = Stage()
    await stage.started()

    def touch() -> None:
        stage.cluster.before_patch = lambda: None
        stage.cluster.put(HTTP_ROUTES, "checkout", "controller", status={})

    stage.cluster.before_patch = touch
    await stage.router.apply(canary(50, 2))
    assert await stage.router.read("checkout") == canary(50, 2)


async def test_whoever_puts_weights_back_is_named_with_the_way_out() -> None:
    stage = Stage()
    route = await stage.started()
    stage.write(RULES, "argocd-controller")

    with pytest.raises(ForeignChange, match="argocd-controller changed .*found checkout 1") as seen:
        await stage.router.apply(canary(50, 2), over=route)
    assert seen.value.who == "argocd-controller"
    assert "managedFieldsManagers: [aviary]" in str(seen.value)
    assert "argocd-controller" in await stage.router.changed(route)

    await stage.router.apply(canary(0, 3))  # a rollback overrules
    assert await stage.router.changed(canary(0, 3)) == ""


async def test_a_change_of_what_is_not_aviarys_is_none() -> None:
    stage = Stage()
    route = await stage.started()
    rules = stage.rules()
    cart = {"backendRefs": [{"name": "cart", "port": 80}]}
    stage.write([*rules, cart])
    assert await stage.router.changed(route) == ""
    await stage.router.apply(canary(50, 2), over=route)
    assert stage.rules()[-1] == cart


async def test_a_route_that_lost_its_mark_is_no_service_without_a_route() -> None:
    stage = Stage()
    route = await stage.started()
    stage.write(stage.rules(), annotations={})
    for doing in (stage.router.read("checkout"), stage.router.register("checkout", NEW)):
        with pytest.raises(ForeignChange, match=r"the annotation route\.aviary\.dev/checkout"):
            await doing
    with pytest.raises(ForeignChange):
        await stage.router.apply(canary(50, 2), over=route)


async def test_a_mark_that_is_damaged_is_somebodys_to_repair() -> None:
    stage = Stage()
    await stage.started()
    stage.write(stage.rules(), annotations={key("checkout"): '{"service": "cart"}'})
    with pytest.raises(Retryable, match="expected a route"):
        await stage.router.read("checkout")


async def test_what_a_parent_refuses_is_taken_back() -> None:
    stage = Stage()
    route = await stage.started()
    before = stage.rules()
    stage.verdict["ResolvedRefs"] = "False"
    with pytest.raises(Terminal, match="BackendNotFound: no such thing; it was taken back"):
        await stage.router.apply(canary(50, 2), over=route)
    assert stage.rules() == before
    assert await stage.router.read("checkout") == route


async def test_a_rollback_stays_whatever_a_parent_says() -> None:
    stage = Stage()
    await stage.started()
    stage.verdict["Accepted"] = "False"
    back = Route.split("checkout", OLD, generation=2, owner="shop-1")
    with pytest.raises(Retryable, match="Accepted=False"):
        await stage.router.apply(back)
    assert await stage.router.read("checkout") == back


async def test_several_objects_have_the_route_or_the_attempt_goes_on_where_it_was() -> None:
    stage = Stage(grpc=True)
    await stage.started()
    patched = len(stage.cluster.patches)
    grpc = stage.cluster.objects["grpcroutes", "checkout"]

    def gone() -> None:
        if len(stage.cluster.patches) == patched + 1:
            stage.cluster.objects.pop(("grpcroutes", "checkout"))

    stage.cluster.before_patch = gone
    with pytest.raises(UnknownRoute):
        await stage.router.apply(canary(50, 2))
    stage.cluster.before_patch = lambda: None
    stage.cluster.objects["grpcroutes", "checkout"] = grpc
    assert await stage.router.read("checkout") == canary(50, 2), "the newest"
    await stage.router.apply(canary(50, 2), over=canary(10, 1))
    weights = grpc["spec"]["rules"][0]["backendRefs"][1]["weight"]
    assert weights == 10, "the object of before is another"
    found = stage.cluster.objects["grpcroutes", "checkout"]["spec"]["rules"][0]
    assert found["backendRefs"][1]["weight"] == 50


async def test_an_object_or_rule_that_is_not_there_is_an_error_by_name() -> None:
    stage = Stage()
    with pytest.raises(UnknownRoute, match="expected HTTPRoute cart in namespace shop"):
        await stage.router.read("cart")
    stage.write([{"backendRefs": [{"name": "cart", "port": 80}]}])
    with pytest.raises(UnknownRoute, match="no rule sends to the Service checkout"):
        await stage.router.register("checkout", OLD)


async def test_a_version_has_to_have_a_service_with_instances() -> None:
    stage = Stage()
    await stage.started()
    stage.cluster.put_service("checkout-2-0", known=0)
    for version, why in (("2.0", "has no instances"), ("3.0", "expected a Service checkout-3-0")):
        route = Route.split("checkout", OLD, version, 5, generation=2)
        with pytest.raises(UnknownRoute, match=f"version {version}.*{why}"):
            await stage.router.apply(route)


async def test_instances_are_told_by_route_and_by_labels() -> None:
    stage = Stage()
    labels = {"aviary.dev/service": "checkout"}
    marks = {"aviary.dev/version": "sha256:x"}
    stage.cluster.put_service("odd", known=3, ready=2, labels=labels, annotations=marks)
    assert await stage.router.instances("checkout") == {"sha256:x": Health(known=3, healthy=2)}
    await stage.started()
    found = await stage.router.instances("checkout")
    assert found is not None
    assert found[OLD] == Health(known=1, healthy=1)


async def test_what_a_definition_does_not_know_is_not_lost_in_silence() -> None:
    """A CRD of an older version prunes names of rules: forced requests would never be told."""
    stage = Stage()
    await stage.router.register("checkout", OLD)
    kept = stage.cluster.put

    def pruning(*given: Any, **parts: Any) -> Json:
        for rule in parts.get("spec", {}).get("rules", ()):
            rule.pop("name", None)
        return kept(*given, **parts)

    stage.cluster.put = pruning  # type: ignore[method-assign]
    with pytest.raises(Terminal, match=r"was not kept as it was written.*it was taken back"):
        await stage.router.apply(canary(10, 1), over=Route.split("checkout", OLD))
    assert await stage.router.read("checkout") == Route.split("checkout", OLD)


async def test_what_one_of_several_objects_refuses_is_written_into_none() -> None:
    stage = Stage(grpc=True)
    route = await stage.started()
    before = stage.rules()
    stage.cluster.refused = {"grpcroutes"}
    with pytest.raises(Terminal, match="a webhook does not want it"):
        await stage.router.apply(canary(50, 2), over=route)
    assert stage.rules() == before
    assert await stage.router.read("checkout") == route


def test_aviary_itself_and_controllers_of_the_status_are_nobody_else() -> None:
    rules: Json = {"f:spec": {"f:rules": {}}}
    entries = [
        {"manager": "kubectl-edit", "time": "2026-01-01T00:00:01Z", "fieldsV1": rules},
        {"manager": "aviary", "time": "2026-01-01T00:00:03Z", "fieldsV1": rules},
        {"manager": "labeler", "time": "2026-01-01T00:00:04Z", "fieldsV1": {"f:metadata": {}}},
        {
            "manager": "c",
            "time": "2026-01-01T00:00:05Z",
            "fieldsV1": rules,
            "subresource": "status",
        },
    ]
    found: Json = {"metadata": {"managedFields": entries}}
    assert other_manager(found, ("spec", "rules")) == "kubectl-edit"
    assert other_manager({"metadata": {}}, ("spec", "rules")) == ""
