"""HTTPRoutes on a real API server, and the traffic through a real Traefik."""

from __future__ import annotations

import pytest

from adapters.errors import ForeignChange, UnknownRoute, Unsupported
from adapters.routers.gateway_api.form import HTTP_ROUTES
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


async def test_copies_are_refused_since_traefik_would_answer_500(gateway: GatewaySubject) -> None:
    service = await on_stable(gateway, OLD, NEW)
    mirrored = Route.split(service, OLD, generation=1, mirror=Mirror(version=NEW, share=10))
    with pytest.raises(Unsupported, match="can't copy requests"):
        await gateway.router.apply(mirrored)
