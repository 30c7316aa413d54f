"""A service gets its first route."""

from __future__ import annotations

import pytest

from adapters.errors import UnknownRoute
from adapters.ports import Registrar
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, shifted
from tests.contract.routers.subjects import Subject

CLAIM = "registers"


@pytest.fixture
def registrar(subject: Subject) -> Registrar:
    assert subject.routing.registrar is not None
    return subject.routing.registrar


async def test_the_first_route_is_wholly_on_the_version(
    subject: Subject, registrar: Registrar
) -> None:
    service = subject.put_up(OLD, NEW)
    with pytest.raises(UnknownRoute, match=service):
        await subject.routing.router.read(service)
    assert await registrar.register(service, OLD) == Route.split(service, OLD)
    assert await subject.routing.router.read(service) == Route.split(service, OLD)


async def test_registering_again_changes_nothing(subject: Subject, registrar: Registrar) -> None:
    service = subject.put_up(OLD, NEW)
    await registrar.register(service, OLD)
    applied = shifted(subject, service, 25, 1)
    await subject.routing.router.apply(applied)

    assert await registrar.register(service, OLD) == applied
    assert await subject.routing.router.read(service) == applied


async def test_registering_a_version_without_instances_is_refused(
    subject: Subject, registrar: Registrar
) -> None:
    name = subject.put_up(OLD)
    with pytest.raises(UnknownRoute, match=r"9\.9\.9"):
        await registrar.register(name, "9.9.9")
