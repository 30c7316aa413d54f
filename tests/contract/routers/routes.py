"""Routes of the services under test, with weights that their router can do."""

from __future__ import annotations

from typing import Final

from schemas.capabilities import next_weight
from schemas.route import Route
from tests.contract.routers.subjects import Subject

USERS: Final = [f"user-{number}" for number in range(400)]
OLD: Final = "1.4.1"
NEW: Final = "1.4.2"


def near(subject: Subject, weight: float) -> float:
    """The nearest weight that the router can do."""
    return next_weight(subject.routing.capabilities.weights, weight)


def shifted(
    subject: Subject, service: str, weight: float, generation: int, owner: str = "shop-1"
) -> Route:
    """About so much on the canary."""
    return Route.split(service, OLD, NEW, near(subject, weight), generation=generation, owner=owner)


def rolled_back(service: str, generation: int, stable: str = OLD) -> Route:
    """All on stable."""
    return Route.split(service, stable, generation=generation, owner="shop-1")


def stable_of(subject: Subject) -> str:
    """A version that may be beside a canary that is for an audience."""
    return subject.routing.capabilities.audience_terms.beside or OLD


async def on_route(subject: Subject, service: str, stable: str) -> None:
    """Give a service whose router can be given one its first route, and wait until it serves it."""
    registrar = subject.routing.registrar
    if registrar is not None:
        # Registering waits for no proxy; the same route applied again does.
        await subject.routing.router.apply(await registrar.register(service, stable))


async def on_stable(subject: Subject, *versions: str, length: int = 0) -> str:
    """A new service in some versions, all on the first."""
    service = subject.put_up(*versions, length=length)
    await on_route(subject, service, versions[0])
    return service
