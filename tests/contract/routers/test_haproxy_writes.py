"""Writes that go wrong, on a real HAProxy: unconfirmed, left half done, by several, by others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from adapters.errors import ForeignChange, Retryable
from adapters.routers.files import locked
from adapters.routers.haproxy.map_file import MAP, map_text, parse
from adapters.routers.haproxy.router import HaproxyRouter, Pace
from adapters.routers.haproxy.values import value_of
from schemas.route import Route
from tests.contract.routers.live_haproxy import LiveHaproxy
from tests.contract.routers.routes import on_stable
from tests.contract.routers.subjects import HaproxySubject

USERS = [f"user-{number}" for number in range(50)]


def canary(service: str, weight: float, generation: int = 1) -> Route:
    return Route.split(service, "1", "2", weight, generation=generation, owner="shop-1")


def back(service: str, generation: int = 2) -> Route:
    return Route.split(service, "1", generation=generation, owner="shop-1")


@pytest.fixture
async def service(haproxy_subject: HaproxySubject) -> str:
    return await on_stable(haproxy_subject, "1", "2")


@pytest.fixture
def second(live_haproxy: LiveHaproxy) -> Iterator[LiveHaproxy]:
    """Another HAProxy on the same folder."""
    other = live_haproxy.twin()
    try:
        other.start()
        yield other
    finally:
        other.stop()


async def test_every_kind_of_socket_will_do(haproxy_subject: HaproxySubject, service: str) -> None:
    live = haproxy_subject.haproxy
    sockets = (live.stats, f"127.0.0.1:{live.tcp}", live.master)
    for generation, socket in enumerate(sockets, 1):
        router = HaproxyRouter(live.folder.directory, [socket])
        await router.apply(canary(service, 100, generation))
        assert (await router.requests(service)).keys() == {"1", "2"}
    assert set((await haproxy_subject.call(service, USERS)).values()) == {"2"}


async def test_a_write_without_haproxy_is_not_confirmed_but_kept(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    live = haproxy_subject.haproxy
    await haproxy_subject.router.apply(canary(service, 100))
    live.stop()
    try:
        with pytest.raises(Retryable, match="generation 2 was written but not confirmed"):
            await haproxy_subject.router.apply(back(service))
    finally:
        live.start()
    live.wait_until_up(service, "1")
    assert set((await haproxy_subject.call(service, USERS)).values()) == {"1"}, "from the file"
    assert (await haproxy_subject.router.apply(back(service))).route == back(service)


async def test_what_a_dead_writer_left_behind_is_taken_up_by_haproxy_itself(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    await haproxy_subject.router.apply(canary(service, 100))
    # The writer dies between the file and the socket.
    haproxy_subject.router._file.write(back(service))
    path = haproxy_subject.haproxy.folder.directory / MAP
    wanted = f"{service} {value_of(back(service))}"
    await asyncio.to_thread(haproxy_subject.haproxy.wait_for, f"show map {path}", wanted)
    assert set((await haproxy_subject.call(service, USERS)).values()) == {"1"}


async def test_an_older_file_takes_nothing_back(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    """A folder that was restored from a backup puts no canary back into a running HAProxy."""
    live = haproxy_subject.haproxy
    path = live.folder.directory / MAP
    other = await on_stable(haproxy_subject, "1", "2")
    await haproxy_subject.router.apply(canary(service, 100))
    values = parse(path.read_text())
    await haproxy_subject.router.apply(back(service))
    path.write_text(map_text({**values, other: value_of(canary(other, 5))}))

    wanted = f"{other} {value_of(canary(other, 5))}"
    await asyncio.to_thread(live.wait_for, f"show map {path}", wanted)

    assert f"{service} {value_of(back(service))}" in live.ask(f"show map {path}")


async def test_every_haproxy_must_confirm(
    haproxy_subject: HaproxySubject, service: str, second: LiveHaproxy
) -> None:
    live = haproxy_subject.haproxy
    pace = Pace(confirm_within=1.5, answer_within=0.5)
    router = HaproxyRouter(live.folder.directory, [live.stats, second.stats], pace=pace)
    second.wait_until_up(service, "2")
    await router.apply(canary(service, 50))

    second.stop()
    with pytest.raises(Retryable, match=second.stats):
        await router.apply(back(service))
    second.start()
    await router.apply(back(service))


async def test_requests_are_summed_over_all(
    haproxy_subject: HaproxySubject, service: str, second: LiveHaproxy
) -> None:
    live = haproxy_subject.haproxy
    router = HaproxyRouter(live.folder.directory, [live.stats, second.stats])
    second.wait_until_up(service, "1")
    # The kernel gives each new connection to one of the two, which share the port.
    for user in USERS:
        await haproxy_subject.call(service, [user])
    assert await router.requests(service) == {"1": len(USERS), "2": 0}


async def test_a_change_on_a_socket_alone_is_somebody_elses(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    live, router = haproxy_subject.haproxy, haproxy_subject.router
    await router.apply(canary(service, 10))
    changed = value_of(canary(service, 75))
    live.ask(f"set map {live.folder.directory / MAP} {service} {changed}")

    assert "changed its route" in await router.changed(canary(service, 10))
    with pytest.raises(ForeignChange, match=r"found .*\|7500\|"):
        await router.apply(canary(service, 50, 2), over=canary(service, 10))
    await router.apply(back(service, 2))
    assert set((await haproxy_subject.call(service, USERS)).values()) == {"1"}


async def test_a_stopped_haproxy_delays_no_other_service(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    """Another writer holds on to this service for long."""
    folder = haproxy_subject.haproxy.folder.directory
    other = await on_stable(haproxy_subject, "1", "2")
    held = folder / "writers" / service
    with locked(held, 1):
        pace = Pace(lock_within=0.1, answer_within=0.2)
        router = HaproxyRouter(folder, [haproxy_subject.haproxy.master], pace=pace)
        with pytest.raises(Retryable, match="another writer has held the lock"):
            await router.apply(canary(service, 50))
        await haproxy_subject.router.apply(canary(other, 50))


async def test_a_cancelled_write_lets_go_of_its_service(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    router = haproxy_subject.router
    folder = haproxy_subject.haproxy.folder.directory
    for generation in range(1, 6):
        task = asyncio.create_task(router.apply(canary(service, 50, generation)))
        for _ in range(generation * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    with locked(folder / "writers" / service, 5):
        pass
    await router.apply(back(service, 10))


async def test_what_can_not_be_written_by_the_socket_is_said(
    haproxy_subject: HaproxySubject, service: str
) -> None:
    live = haproxy_subject.haproxy
    router = HaproxyRouter(live.folder.directory / ".." / "elsewhere", [live.stats])
    with pytest.raises(Retryable, match="expected the rules of aviary.cfg"):
        await router._sockets[0].values()
