"""VirtualServices on a real API server, and the traffic through a real istiod and Envoy."""

from __future__ import annotations

import copy

import pytest

from adapters.errors import ForeignChange
from adapters.routers.istio.form import VIRTUAL_SERVICES
from adapters.routers.memory.router import Asks
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, rolled_back, shifted
from tests.contract.routers.test_mirroring import copies_of
from tests.contract.routers.wire import Load, shares
from tests.kubernetes.routers.istio import IstioSubject

SHIFTS = 10


async def test_after_apply_the_traffic_is_as_the_route_says(istio: IstioSubject) -> None:
    service = await on_stable(istio, OLD, NEW)
    await istio.router.apply(shifted(istio, service, 100, 1))
    assert shares(await istio.call(service, USERS[:100])) == {NEW: 1.0}
    await istio.router.apply(shifted(istio, service, 30, 2))
    got = shares(await istio.call(service, USERS))
    assert got[NEW] == pytest.approx(0.3, abs=0.15)
    await istio.router.apply(rolled_back(service, 3))
    assert shares(await istio.call(service, USERS[:100])) == {OLD: 1.0}


async def test_who_asks_for_a_version_and_whom_it_is_for(
    istio: IstioSubject, by: AudienceBy
) -> None:
    service = await on_stable(istio, OLD, NEW)
    match = Match(by=by, name="x-beta", value="yes please")
    audience = Audience(any_of=(match,))
    route = Route.split(service, OLD, NEW, 100, generation=1, audience=audience)
    await istio.router.apply(route)
    force = {AudienceBy.HEADER: "x-canary", AudienceBy.COOKIE: "canary"}[by]
    asked: tuple[tuple[Asks, str], ...] = (
        ({}, OLD),
        ({(by, "x-beta"): "yes please"}, NEW),
        ({(by, "x-beta"): "yes"}, OLD),
        ({(by, force): "always"}, NEW),
    )
    for asks, version in asked:
        assert shares(await istio.call(service, USERS[:10], asks)) == {version: 1.0}, asks


async def test_a_share_of_the_requests_is_copied(istio: IstioSubject) -> None:
    service = await on_stable(istio, OLD, NEW)
    mirror = Mirror(version=NEW, share=50, writes=True, unmarked=True)
    await istio.router.apply(Route.split(service, OLD, generation=1, mirror=mirror))
    assert shares(await istio.call(service, USERS)) == {OLD: 1.0}
    await copies_of(istio, service, len(USERS) // 4)
    assert (await istio.copies(service))[NEW] < len(USERS) * 3 / 4


async def test_a_weight_that_the_definition_let_pass_is_found_and_overruled(
    istio: IstioSubject,
) -> None:
    service = await on_stable(istio, OLD, NEW)
    route = shifted(istio, service, 10, 1)
    await istio.router.apply(route)
    http = copy.deepcopy(istio.team.get(VIRTUAL_SERVICES, service)["spec"]["http"])
    http[-1]["route"][1]["weight"] = -5
    istio.team.patch(VIRTUAL_SERVICES, service, {"spec": {"http": http}})

    with pytest.raises(ForeignChange, match="kubectl-edit changed its route: .* -5") as seen:
        await istio.router.apply(shifted(istio, service, 50, 2), over=route)
    assert seen.value.who == "kubectl-edit"

    await istio.router.apply(rolled_back(service, 3))
    assert shares(await istio.call(service, USERS[:100])) == {OLD: 1.0}


async def test_no_request_fails_while_the_weight_changes(istio: IstioSubject) -> None:
    service = await on_stable(istio, OLD, NEW)
    async with Load(istio.live.port, istio.host_of(service)) as load:
        for generation in range(1, SHIFTS + 1):
            weight = 100 * (generation % 2)
            await istio.router.apply(shifted(istio, service, weight, generation))
            await load.until(40)
    assert load.failed == {}
    assert {version for _, version in load.outcomes} == {OLD, NEW}
