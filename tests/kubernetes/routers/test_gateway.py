"""HTTPRoutes on a real API server, and the traffic through a real Traefik."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.errors import ForeignChange, Retryable, UnknownRoute, Unsupported
from adapters.routers.gateway_api.form import GRPC_ROUTES, HTTP_ROUTES
from schemas.route import Mirror, Route
from tests.contract.routers.routes import NEW, OLD, on_stable, rolled_back, shifted
from tests.contract.routers.wire import Load
from tests.kubernetes.routers.traefik import GatewaySubject

SHIFTS = 10


async def test_who_changed_a_weight_is_named_as_the_api_server_has_him(
    gateway: GatewaySubject,
) -> None:
    service = await on_stable(gateway, OLD, NEW)
    route = shifted(gateway, service, 10, 1)
    await gateway.router.apply(route)
    await gateway.change_by_hand(service, 75)
    with pytest.raises(ForeignChange, match="kubectl-edit changed its route: .* 25, .* 75") as seen:
        await gateway.router.apply(shifted(gateway, service, 50, 2), over=route)
    assert seen.value.who == "kubectl-edit"


async def test_a_route_that_was_deleted_is_missed_by_name(gateway: GatewaySubject) -> None:
    service = await on_stable(gateway, OLD, NEW)
    gateway.team.delete(HTTP_ROUTES, service)
    with pytest.raises(UnknownRoute, match=f"expected HTTPRoute {service} in namespace shop"):
        await gateway.router.apply(rolled_back(service, 2))


async def test_no_request_fails_while_the_weight_changes(gateway: GatewaySubject) -> None:
    service = await on_stable(gateway, OLD, NEW)
    async with Load(gateway.live.port, service) as load:
        for generation in range(1, SHIFTS + 1):
            weight = 100 * (generation % 2)
            await gateway.router.apply(shifted(gateway, service, weight, generation))
            await load.until(40)
    assert load.failed == {}
    assert {version for _, version in load.outcomes} == {OLD, NEW}


@pytest.mark.long
async def test_100_000_requests_over_50_changes(gateway: GatewaySubject) -> None:
    service = await on_stable(gateway, OLD, NEW)
    async with Load(gateway.live.port, service, 16, between=0) as load:
        for generation in range(1, 51):
            weight = (5, 50, 100, 0)[generation % 4]
            await gateway.router.apply(shifted(gateway, service, weight, generation))
            await load.until(2_000)
    assert load.outcomes.total() >= 100_000
    assert load.failed == {}


async def test_what_is_counted_goes_on_when_a_canary_begins_and_ends(
    gateway: GatewaySubject,
) -> None:
    service = await on_stable(gateway, OLD, NEW)
    users = [f"user-{n}" for n in range(40)]
    await gateway.call(service, users)
    before = await gateway.series(service, OLD)
    for route in (shifted(gateway, service, 50, 1), rolled_back(service, 2)):
        await gateway.router.apply(route)
        await gateway.call(service, users)
        now = await gateway.series(service, OLD)
        assert all(now[name] > was for name, was in before.items())
        before = {name: now[name] for name in before}


async def test_copies_are_refused_since_traefik_would_answer_500(gateway: GatewaySubject) -> None:
    service = await on_stable(gateway, OLD, NEW)
    mirrored = Route.split(
        service, OLD, generation=1, mirror=Mirror(version=NEW, share=10, writes=True, unmarked=True)
    )
    with pytest.raises(Unsupported, match="can't copy requests"):
        await gateway.router.apply(mirrored)


async def test_routes_of_http_and_grpc_are_written_together(gateway: GatewaySubject) -> None:
    """With a Service as their parent, as meshes have them: the API server takes them."""
    service = gateway.put_up(OLD, NEW)
    parent = {"group": "", "kind": "Service", "name": service, "port": 80}
    for resource, name in ((HTTP_ROUTES, f"{service}-mesh"), (GRPC_ROUTES, f"{service}-grpc")):
        rule = {"backendRefs": [{"name": service, "port": 80}]}
        gateway.team.make(resource, name, spec={"parentRefs": [parent], "rules": [rule]})
    form = replace(gateway.form, http_routes=("{service}-mesh",), grpc_routes=("{service}-grpc",))
    router = gateway.another(form)
    await router.register(service, OLD)
    with pytest.raises(Retryable, match=f"Service shop/{service} says nothing"):
        await router.apply(shifted(gateway, service, 12.34, 1))
    assert await router.read(service) == shifted(gateway, service, 12.34, 1)
    for resource, name in ((HTTP_ROUTES, f"{service}-mesh"), (GRPC_ROUTES, f"{service}-grpc")):
        rules = gateway.team.get(resource, name)["spec"]["rules"]
        assert [ref["weight"] for ref in rules[0]["backendRefs"]] == [8766, 1234]
        assert [rule["name"].rpartition(".")[2] for rule in rules[1:]] == ["always", "never"]
    assert await router.changed(shifted(gateway, service, 12.34, 1)) == ""
    await router.aclose()
