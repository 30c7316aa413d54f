"""Weights: what a router can't do is refused with the nearest that it can, and never rounded."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from schemas.capabilities import can_do, next_weight
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, near, on_stable
from tests.contract.routers.subjects import Subject

CLAIM = "any weight"


@pytest.mark.parametrize("weight", [0.01, 0.05, 12.34, 99.99])
async def test_any_weight_of_a_catalog_is_applied_as_it_is(subject: Subject, weight: float) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = Route.split(service, OLD, NEW, weight, generation=1)
    await subject.routing.router.apply(route)
    assert await subject.routing.router.read(service) == route


@pytest.mark.parametrize("weight", [0.01, 0.05, 24.99, 99.99])
async def test_a_weight_between_two_is_refused_with_the_nearest(
    stranger: Subject, weight: float
) -> None:
    weights = stranger.routing.capabilities.weights
    assert not can_do(weights, weight)
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)

    with pytest.raises(Unsupported) as caught:
        await stranger.routing.router.apply(Route.split(service, OLD, NEW, weight, generation=1))

    assert f"weight {weight:g} %" in str(caught.value)
    assert f"the nearest is {next_weight(weights, weight):g} %" in str(caught.value)
    assert await stranger.routing.router.read(service) == before


@pytest.mark.parametrize("weight", [0.01, 12.34, 50, 99.99])
async def test_the_nearest_that_it_names_is_applied(stranger: Subject, weight: float) -> None:
    service = await on_stable(stranger, OLD, NEW)
    route = Route.split(service, OLD, NEW, near(stranger, weight), generation=1)
    await stranger.routing.router.apply(route)
    assert await stranger.routing.router.read(service) == route
