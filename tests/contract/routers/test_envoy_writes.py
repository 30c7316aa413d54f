"""Writes that go wrong, on a real Envoy: rejected, unconfirmed, shared by several Envoys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from adapters.errors import Retryable, Terminal
from adapters.routers.envoy.router import EnvoyRouter, Pace
from adapters.routers.envoy.routes import is_changed
from adapters.routers.files import read_document
from schemas.route import Confirmation, Route
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller

PACE = Pace(confirm_within=1.0)


def canary(service: str, weight: float, generation: int) -> Route:
    return Route.split(
        service=service, stable="1", canary="2", weight=weight, generation=generation
    )


@pytest.fixture
async def services(envoy_subject: EnvoySubject) -> tuple[str, str]:
    """Two services that Envoy serves."""
    names = [envoy_subject.put_up("1", "2") for _ in range(2)]
    for name in names:
        await envoy_subject.router.apply(await envoy_subject.router.register(name, "1"))
    return names[0], names[1]


@pytest.fixture
def clashing(
    envoy_subject: EnvoySubject, client: httpx.AsyncClient, services: tuple[str, str]
) -> EnvoyRouter:
    """A router that gives every service the first one's host, which Envoy rejects."""
    envoy = envoy_subject.envoy
    return EnvoyRouter(
        envoy.fleet.directory,
        [envoy.admin_url],
        client=client,
        domains=lambda _: [services[0]],
    )


@pytest.fixture
def second(envoy: LiveEnvoy) -> Iterator[LiveEnvoy]:
    """Another Envoy on the same directory and port."""
    other = envoy.twin()
    try:
        other.start()
        yield other
    finally:
        other.stop()


async def test_a_rejected_route_is_terminal_and_blocks_nobody(
    envoy_subject: EnvoySubject, clashing: EnvoyRouter, services: tuple[str, str]
) -> None:
    good, other = services
    await envoy_subject.router.apply(canary(good, 30, 1))

    with pytest.raises(Terminal, match=f"{other}: .* rejected"):
        await clashing.apply(canary(other, 50, 1))

    assert await envoy_subject.router.read(other) == Route.split(service=other, stable="1")
    assert await envoy_subject.router.read(good) == canary(good, 30, 1)
    await envoy_subject.router.apply(canary(good, 100, 2))
    await envoy_subject.router.apply(canary(other, 100, 1))
    async with Caller(envoy_subject.envoy.port, good) as caller:
        assert (await caller.get()).version == "2"


async def test_after_a_rejection_the_file_is_what_envoy_serves(
    envoy_subject: EnvoySubject, clashing: EnvoyRouter, services: tuple[str, str]
) -> None:
    fleet = envoy_subject.envoy.fleet
    before = read_document(fleet.routes_path)["resources"][0]["virtual_hosts"]

    with pytest.raises(Terminal):
        await clashing.apply(canary(services[1], 50, 1))

    after = read_document(fleet.routes_path)["resources"][0]["virtual_hosts"]
    assert {h["name"]: h["metadata"] for h in after} == {h["name"]: h["metadata"] for h in before}
    assert [h["name"] for h in after if is_changed(h)] == [], "and nobody else's change"


async def test_a_good_route_in_a_rejected_file_is_not_blamed(
    envoy_subject: EnvoySubject, clashing: EnvoyRouter, services: tuple[str, str]
) -> None:
    good, other = services
    wanted = canary(good, 30, 1)

    bad, fine = await asyncio.gather(
        clashing.apply(canary(other, 50, 1)),
        envoy_subject.router.apply(wanted),
        return_exceptions=True,
    )

    assert isinstance(bad, Terminal | Retryable)  # retryable: the other noticed it first
    assert isinstance(fine, Confirmation | Retryable)
    confirmation = await envoy_subject.router.apply(wanted)
    assert confirmation.route == wanted
    assert await envoy_subject.router.read(other) == Route.split(service=other, stable="1")


async def test_what_a_dead_writer_left_behind_is_taken_back_by_the_next(
    envoy_subject: EnvoySubject, clashing: EnvoyRouter, services: tuple[str, str]
) -> None:
    good, other = services
    # The writer dies between writing and asking.
    clashing._file.write(canary(other, 50, 1))

    await envoy_subject.router.apply(canary(good, 100, 1))

    assert await envoy_subject.router.read(other) == Route.split(service=other, stable="1")
    async with Caller(envoy_subject.envoy.port, good) as caller:
        assert (await caller.get()).version == "2"


async def test_a_write_without_envoy_is_not_confirmed_but_kept(
    envoy_subject: EnvoySubject, services: tuple[str, str]
) -> None:
    service, envoy = services[0], envoy_subject.envoy
    await envoy_subject.router.apply(canary(service, 50, 1))
    back = Route.split(service=service, stable="1", generation=2)
    envoy.stop()
    try:
        with pytest.raises(Retryable, match="generation 2 was written but not confirmed"):
            await envoy_subject.router.apply(back)
    finally:
        envoy.start()

    assert (await envoy_subject.router.apply(back)).route == back
    async with Caller(envoy.port, service) as caller:
        assert set((await caller.users(map(str, range(50)))).values()) == {"1"}


async def test_every_envoy_of_the_fleet_must_confirm(
    envoy_subject: EnvoySubject,
    client: httpx.AsyncClient,
    second: LiveEnvoy,
    services: tuple[str, str],
) -> None:
    service, envoy = services[0], envoy_subject.envoy
    urls = [envoy.admin_url, second.admin_url]
    router = EnvoyRouter(envoy.fleet.directory, urls, client=client, pace=PACE)
    await router.apply(canary(service, 50, 1))

    second.stop()
    with pytest.raises(Retryable, match=second.admin_url):
        await router.apply(Route.split(service=service, stable="1", generation=2))
    second.start()
    await router.apply(Route.split(service=service, stable="1", generation=2))


async def test_requests_are_summed_over_the_fleet(
    envoy_subject: EnvoySubject,
    client: httpx.AsyncClient,
    second: LiveEnvoy,
    services: tuple[str, str],
) -> None:
    service, envoy = services[0], envoy_subject.envoy
    urls = [envoy.admin_url, second.admin_url]
    router = EnvoyRouter(envoy.fleet.directory, urls, client=client)
    await router.apply(await router.read(service))

    # The kernel gives each new connection to one of the two, which share the port.
    for number in range(40):
        async with Caller(envoy.port, service) as caller:
            await caller.users([str(number)])

    assert await router.requests(service) == {"1": 40, "2": 0}


async def test_no_secret_gets_into_an_error(
    envoy_subject: EnvoySubject, services: tuple[str, str]
) -> None:
    secret = "s3cr3t-value"
    headers = {"authorization": f"Bearer {secret}"}
    url = f"http://admin:{secret}@127.0.0.1:{free_port()}/?token={secret}"
    async with httpx.AsyncClient(headers=headers) as client:
        router = EnvoyRouter(envoy_subject.envoy.fleet.directory, [url], client=client, pace=PACE)
        back = Route.split(service=services[0], stable="1", generation=1)
        for call in (
            router.apply(back),
            router.apply(canary(services[0], 5, 2)),
            router.requests(services[0]),
        ):
            with pytest.raises(Retryable, match=r"Envoy at http://127\.0\.0\.1") as caught:
                await call
            error: BaseException | None = caught.value
            while error is not None:
                assert secret not in str(error)
                error = error.__cause__
