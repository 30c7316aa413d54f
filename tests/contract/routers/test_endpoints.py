"""A router is told where the instances of a version are."""

from __future__ import annotations

import pytest

from adapters.errors import StaleGeneration, StillInUse, UnknownRoute
from adapters.ports import EndpointWriter
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, on_route, shifted
from tests.contract.routers.subjects import Subject, WithEndpoints

CLAIM = "endpoints"


@pytest.fixture
def writer(subject: WithEndpoints) -> EndpointWriter:
    assert subject.routing.endpoints is not None
    return subject.routing.endpoints


async def versions(writer: EndpointWriter, service: str) -> dict[str, Endpoints]:
    return dict((await writer.endpoints(service)).get(service, {}))


async def test_a_version_that_was_put_takes_requests(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.put_up(OLD)
    endpoints = subject.instances_of(NEW, 2)
    await writer.put_endpoints(service, NEW, endpoints, 1)
    assert (await versions(writer, service))[NEW] == Endpoints(endpoints=endpoints, generation=1)
    assert await subject.routing.locator.exists(service, NEW)

    await on_route(subject, service, OLD)
    await subject.routing.router.apply(shifted(subject, service, 100, 1))
    answers = await subject.call(service, ["a", "b", "c"])
    assert set(answers.values()) == {NEW}


async def test_a_service_that_nobody_knew_gets_its_first_version(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.name()
    await writer.put_endpoints(service, OLD, subject.instances_of(OLD, 1), 1)
    await on_route(subject, service, OLD)
    assert set((await subject.call(service, ["a", "b"])).values()) == {OLD}


async def test_other_endpoints_take_the_place_of_the_first(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    """Those that went get nothing any more: they answer with another version."""
    service = subject.name()
    await writer.put_endpoints(service, OLD, subject.instances_of(NEW, 1), 1)
    await on_route(subject, service, OLD)
    endpoints = subject.instances_of(OLD, 1)
    await writer.put_endpoints(service, OLD, endpoints, 2)
    assert (await versions(writer, service))[OLD] == Endpoints(endpoints=endpoints, generation=2)
    answers = await subject.call(service, [f"u{n}" for n in range(20)])
    assert set(answers.values()) == {OLD}


async def test_the_same_again_changes_nothing_and_less_is_refused(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.name()
    endpoints = subject.instances_of(OLD, 2)
    await writer.put_endpoints(service, OLD, endpoints, 5)
    await writer.put_endpoints(service, OLD, endpoints, 5)
    for late in (4, 5):
        with pytest.raises(StaleGeneration, match=f"{service} {OLD}"):
            await writer.put_endpoints(service, OLD, endpoints[:1], late)
    with pytest.raises(StaleGeneration):
        await writer.drop_endpoints(service, OLD, 4)
    assert await versions(writer, service) == {OLD: Endpoints(endpoints=endpoints, generation=5)}


async def test_a_person_is_always_obeyed_and_lowers_no_fence(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.name()
    first, second = subject.instances_of(OLD, 1), subject.instances_of(OLD, 2)
    await writer.put_endpoints(service, OLD, first, 5)
    await writer.put_endpoints(service, OLD, second, 0)
    assert await versions(writer, service) == {OLD: Endpoints(endpoints=second, generation=5)}
    with pytest.raises(StaleGeneration):
        await writer.put_endpoints(service, OLD, first, 4)


async def test_a_version_that_the_route_names_stays(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.put_up(OLD, NEW)
    await on_route(subject, service, OLD)
    for generation, route in enumerate((None, 25.0), 1):
        if route is not None:
            await subject.routing.router.apply(shifted(subject, service, route, generation))
        gone = OLD if route is None else NEW
        with pytest.raises(StillInUse, match=f"{service} {gone}"):
            await writer.drop_endpoints(service, gone, 9)
        with pytest.raises(StillInUse):
            await writer.drop_endpoints(service, gone, 0)
        assert await subject.routing.locator.exists(service, gone)


async def test_a_version_that_was_dropped_is_not_brought_back_by_a_late_attempt(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    service = subject.put_up(OLD)
    endpoints = subject.instances_of(NEW, 1)
    await writer.put_endpoints(service, NEW, endpoints, 3)
    await writer.drop_endpoints(service, NEW, 4)
    await writer.drop_endpoints(service, NEW, 4)
    for late in (3, 4):
        with pytest.raises(StaleGeneration):
            await writer.put_endpoints(service, NEW, endpoints, late)
    assert NEW not in await versions(writer, service)
    assert not await subject.routing.locator.exists(service, NEW)

    await on_route(subject, service, OLD)
    with pytest.raises(UnknownRoute):
        await subject.routing.router.apply(shifted(subject, service, 25, 1))
    await writer.put_endpoints(service, NEW, endpoints, 5)
    await subject.routing.router.apply(shifted(subject, service, 25, 1))


async def test_dropping_what_is_not_there_is_a_success(
    subject: WithEndpoints, writer: EndpointWriter
) -> None:
    await writer.drop_endpoints(subject.name(), OLD, 1)


async def test_no_route_changes(subject: WithEndpoints, writer: EndpointWriter) -> None:
    service = subject.put_up(OLD, NEW)
    await on_route(subject, service, OLD)
    await subject.routing.router.apply(shifted(subject, service, 25, 1))
    before = await subject.routing.router.read(service)
    await writer.put_endpoints(service, "9.9.9", subject.instances_of(NEW, 1), 7)
    await writer.put_endpoints(service, NEW, subject.instances_of(NEW, 2), 8)
    await writer.drop_endpoints(service, "9.9.9", 9)
    assert await subject.routing.router.read(service) == before
    assert isinstance(before, Route)


async def test_all_services_are_listed(subject: WithEndpoints, writer: EndpointWriter) -> None:
    first, second = subject.name(), subject.name()
    for service in (first, second):
        await writer.put_endpoints(service, OLD, subject.instances_of(OLD, 1), 1)
    found = await writer.endpoints()
    assert {first, second} <= found.keys()
    assert (await writer.endpoints(first)).keys() == {first}
    assert not await writer.endpoints(subject.name())


async def test_a_router_that_does_not_claim_it_has_no_writer(stranger: Subject) -> None:
    assert stranger.routing.endpoints is None


def test_an_endpoint_is_written_as_people_do() -> None:
    assert str(Endpoint(host="::1", port=80)) == "[::1]:80"
    assert str(Endpoint(host="web", port=80)) == "web:80"
