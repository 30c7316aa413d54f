"""What every router that is told endpoints checks before it takes them: who has ordered before.

A table of what was told outlives the versions in it: where one was forgotten, the generation stays,
so that a late attempt does not bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from adapters.errors import StaleGeneration, StillInUse
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Route

BY_HAND: Final = 0
"""The generation of a person, who is always obeyed."""

EndpointsByVersion = Mapping[str, Endpoints]
"""By version; without endpoints, the version was forgotten."""


class Order(NamedTuple):
    """What shall be the instances of a version; none: it shall be forgotten."""

    service: str
    version: str
    endpoints: tuple[Endpoint, ...]
    generation: int

    @classmethod
    def of(
        cls, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> Order:
        """The order of `put_endpoints`: each endpoint once, in the order that was given."""
        return cls(service, version, tuple(dict.fromkeys(endpoints)), generation)


def check_order(order: Order, told: EndpointsByVersion) -> Endpoints | None:
    """Let a newer order pass, and the obeyed one again.

    Returns what is to be written; None where nothing is, since it is so already.

    Raises:
        StaleGeneration: another order was obeyed, and is as new or newer.
    """
    known = told.get(order.version)
    generation = order.generation
    if known is None:
        # Forgotten or not, a late order must not come after this.
        return Endpoints(endpoints=order.endpoints, generation=generation)
    if order.endpoints == known.endpoints and generation in {BY_HAND, known.generation}:
        return None
    if generation != BY_HAND and generation <= known.generation:
        raise StaleGeneration(
            f"{order.service} {order.version}: endpoints of generation {generation} are refused; "
            f"generation {known.generation} was obeyed, expected a larger one"
        )
    return Endpoints(endpoints=order.endpoints, generation=max(generation, known.generation))


def check_unused(order: Order, route: Route | None) -> None:
    """Check that no route names a version that shall be forgotten.

    Raises:
        StillInUse: one does.
    """
    if not order.endpoints and route is not None and order.version in route.versions:
        raise StillInUse(
            f"{order.service} {order.version}: its endpoints stay, the route names it: {route.text}"
        )


def in_use(told: EndpointsByVersion) -> dict[str, Endpoints]:
    """What a router was told, without the versions that were forgotten."""
    return {version: one for version, one in told.items() if one.endpoints}
