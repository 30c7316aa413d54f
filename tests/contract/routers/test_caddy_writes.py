"""What goes wrong on a real Caddy: a crash, a full disk, one of two, others who write as well."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.errors import ForeignChange, Retryable, Terminal
from adapters.packs import BUILT_IN
from adapters.routers.caddy.router import Pace
from adapters.routers.caddy.values import value_of
from schemas.deployment import Endpoint
from schemas.judging import render
from schemas.route import Route
from tests.contract.routers.live_caddy import LiveCaddy
from tests.contract.routers.routes import NEW, OLD, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import CaddySubject
from tests.contract.routers.test_traefik_pack import picked
from tests.contract.routers.wire import BAD, Caller, Load

USERS = [f"user-{number}" for number in range(60)]
PATIENT = Pace(confirm_within=20.0, answer_within=5.0, load_within=20.0, lock_within=5.0)


@pytest.fixture
async def service(caddy_subject: CaddySubject) -> str:
    return await on_stable(caddy_subject, OLD, NEW)


@pytest.fixture
def second(live_caddy: LiveCaddy) -> Iterator[LiveCaddy]:
    """Another Caddy on the same folder and the same port."""
    other = live_caddy.twin()
    try:
        other.start()
        yield other
    finally:
        other.stop()
        other.clean()


async def test_a_killed_caddy_comes_back_with_the_same_users_on_the_canary(
    caddy_subject: CaddySubject, service: str
) -> None:
    route = shifted(caddy_subject, service, 30, 1)
    await caddy_subject.router.apply(route)
    before = await caddy_subject.call(service, USERS)
    await asyncio.to_thread(caddy_subject.caddy.restart)
    assert await caddy_subject.call(service, USERS) == before
    assert await caddy_subject.router.read(service) == route
    assert await caddy_subject.router.changed(route) == ""


async def test_a_user_without_a_name_is_given_one_and_stays(
    caddy_subject: CaddySubject, service: str
) -> None:
    async with Caller(caddy_subject.caddy.port, service) as caller:
        assert "set-cookie" not in (await caller.get()).headers, "without a canary"
        await caddy_subject.router.apply(shifted(caddy_subject, service, 50, 1))
        for _ in range(8):
            first = await caller.get()
            cookie = first.headers["set-cookie"].partition(";")[0]
            again = [await caller.get(cookie=cookie) for _ in range(3)]
            assert {one.version for one in again} == {first.version}
            assert not any("set-cookie" in one.headers for one in again)


async def test_nobody_can_name_the_site_or_the_service_from_outside(
    caddy_subject: CaddySubject, service: str
) -> None:
    await caddy_subject.router.apply(shifted(caddy_subject, service, 0, 1))
    async with Caller(caddy_subject.caddy.port, service) as caller:
        for headers in (
            {"x_aviary_pool": f"{service}_{NEW}"},
            {"x_aviary_service": "../aviary.caddy"},
            {"x_aviary_named": "evil"},
            {"x_canary": '{{ "always" }}'},
        ):
            answer = await caller.get(x_user_id="u", **headers)
            assert (answer.status, answer.version) == (200, OLD), headers
            assert "set-cookie" not in answer.headers
    async with Caller(caddy_subject.caddy.port, f"{service}_{NEW}") as caller:
        assert (await caller.get()).status == 404
    assert (await caddy_subject.router.requests(service))[NEW] == 0


async def test_changes_of_weight_cost_users_nothing(
    caddy_subject: CaddySubject, service: str
) -> None:
    async with Load(caddy_subject.caddy.port, service, callers=2) as load:
        for generation in range(1, 9):
            weight = (5, 50, 100, 0)[generation % 4]
            await caddy_subject.router.apply(shifted(caddy_subject, service, weight, generation))
            await load.until(25)
    assert load.outcomes[200, NEW] > 0
    assert load.failed == {}


async def test_a_write_without_caddy_is_not_confirmed_but_kept(
    caddy_subject: CaddySubject, service: str
) -> None:
    live = caddy_subject.caddy
    hasty = live.router(Pace(confirm_within=0.2, answer_within=0.2))
    await caddy_subject.router.apply(shifted(caddy_subject, service, 100, 1))
    live.stop()
    try:
        with pytest.raises(Retryable, match="generation 2 was written but not confirmed"):
            await hasty.apply(rolled_back(service, 2))
    finally:
        live.start()
        await hasty.aclose()
    assert set((await caddy_subject.call(service, USERS)).values()) == {OLD}


async def test_every_caddy_must_have_the_version_and_confirm(
    caddy_subject: CaddySubject, service: str, second: LiveCaddy
) -> None:
    both = caddy_subject.caddy.router(PATIENT, second)
    await both.apply(shifted(caddy_subject, service, 50, 1))
    for user in USERS:  # the kernel gives each connection to one of the two
        await caddy_subject.call(service, [user])
    assert sum((await both.requests(service)).values()) == len(USERS)
    second.stop()
    hasty = caddy_subject.caddy.router(Pace(confirm_within=0.2, answer_within=1.0), second)
    with pytest.raises(Retryable, match=second.address):
        await hasty.apply(rolled_back(service, 2))
    assert set((await caddy_subject.call(service, USERS)).values()) == {OLD}, "the other has it"
    await both.aclose()
    await hasty.aclose()


async def test_a_line_that_is_no_route_is_somebody_elses_and_a_rollback_overrules_it(
    caddy_subject: CaddySubject, service: str
) -> None:
    applied = shifted(caddy_subject, service, 10, 1)
    await caddy_subject.router.apply(applied)
    path = caddy_subject.caddy.folder.routes.folder / service
    path.write_text(value_of(applied) + " ")
    assert "changed its route" in await caddy_subject.router.changed(applied)
    with pytest.raises(ForeignChange, match="found"):
        await caddy_subject.router.apply(shifted(caddy_subject, service, 50, 2), over=applied)
    await caddy_subject.router.apply(rolled_back(service, 2))
    assert set((await caddy_subject.call(service, USERS)).values()) == {OLD}


async def test_a_configuration_without_the_versions_is_drift(
    caddy_subject: CaddySubject, service: str
) -> None:
    live = caddy_subject.caddy
    route = shifted(caddy_subject, service, 10, 1)
    await caddy_subject.router.apply(route)
    whole = live.folder.path.read_text()
    path = live.caddyfile.with_name("other.caddy")
    path.write_text(whole.replace(f"/services/{service} ", "/services/gone "))
    own = live.caddyfile.read_text()
    live.caddyfile.write_text(own.replace(str(live.folder.path), str(path)))
    try:
        await asyncio.to_thread(live.reload)
        assert f"has no site of {OLD}, {NEW}" in await caddy_subject.router.changed(route)
    finally:
        live.caddyfile.write_text(own)
        await asyncio.to_thread(live.reload)
    assert await caddy_subject.router.changed(route) == ""


async def test_a_full_disk_leaves_the_old_route_whole(
    caddy_subject: CaddySubject, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shifted(caddy_subject, service, 10, 1)
    await caddy_subject.router.apply(before)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Retryable, match="No space left"):
            await caddy_subject.router.apply(shifted(caddy_subject, service, 50, 2))
    assert await caddy_subject.router.read(service) == before
    left = [path.name for path in caddy_subject.caddy.folder.routes.folder.iterdir()]
    assert not [name for name in left if name.endswith(".tmp")]


async def test_what_a_dead_writer_left_behind_is_made_good_by_the_same_order(
    caddy_subject: CaddySubject, service: str
) -> None:
    """It died between the files and the load."""
    endpoints = [Endpoint(host="127.0.0.1", port=port) for port in _ports(caddy_subject)]
    again = caddy_subject.router._endpoints
    from adapters.routers.endpoint_fence import Order  # noqa: PLC0415 - of this test alone

    again.put(Order.of(service, "3.0.0", endpoints, 7))
    assert not await caddy_subject.router.exists(service, "3.0.0")
    await caddy_subject.router.put_endpoints(service, "3.0.0", endpoints, 7)
    assert await caddy_subject.router.exists(service, "3.0.0")


async def test_a_caddyfile_that_caddy_does_not_take_is_an_error_in_its_words(
    caddy_subject: CaddySubject, service: str
) -> None:
    live = caddy_subject.caddy
    own = live.caddyfile.read_text()
    live.caddyfile.write_text(f"{own}\nhttp://x.example {{\n\tno_such_directive\n}}\n")
    endpoints = [Endpoint(host="127.0.0.1", port=port) for port in _ports(caddy_subject)]
    try:
        with pytest.raises(Terminal, match="no_such_directive"):
            await caddy_subject.router.put_endpoints(service, "3.0.0", endpoints, 1)
        assert set((await caddy_subject.call(service, ["a"])).values()) == {OLD}
    finally:
        live.caddyfile.write_text(own)
    await caddy_subject.router.put_endpoints(service, "3.0.0", endpoints, 1)
    assert await caddy_subject.router.exists(service, "3.0.0")


async def test_what_somebody_else_loads_meanwhile_is_not_lost_unseen(
    caddy_subject: CaddySubject, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ETag that was read is no longer that of the configuration."""
    (control,) = caddy_subject.router._loading
    adapted, admin = control._adapted, caddy_subject.caddy.admin
    asked: list[str] = []

    async def slow(caddyfile: str) -> object:
        if not asked:
            async with httpx.AsyncClient() as client:
                url = f"http://localhost:{admin}/config/apps/http/grace_period"
                done = await client.put(url, json="3s")
                assert done.status_code == 200, done.text
        asked.append(caddyfile)
        return await adapted(caddyfile)

    monkeypatch.setattr(control, "_adapted", slow)
    endpoints = [Endpoint(host="127.0.0.1", port=port) for port in _ports(caddy_subject)]
    await caddy_subject.router.put_endpoints(service, "3.0.0", endpoints, 1)
    assert len(asked) == 2


@pytest.mark.parametrize("version", [BAD, f"{BAD}:A-1"])
async def test_the_pack_picks_what_one_version_did(
    caddy_subject: CaddySubject, version: str
) -> None:
    version = version.replace(":", "")
    service = await on_stable(caddy_subject, OLD, version)
    await caddy_subject.router.apply(Route.split(service, OLD, version, 50, generation=1))
    async with Caller(caddy_subject.caddy.port, service) as caller:
        answers = [await caller.get(x_user_id=user) for user in USERS]
        for _ in range(5):
            await caller.get(x_canary="always")
    failed = sum(one.status == 500 for one in answers)
    assert 0 < failed < len(USERS)
    exposition = await asyncio.to_thread(caddy_subject.caddy.ask, "/metrics")
    pack, pool = BUILT_IN.load("caddy"), await caddy_subject.router.locate(service, version)
    assert pack.pool.of(service, version) == pool, "without the router"
    assert pack.pool.version(pool.partition("_")[2]) == version

    def seen(query: str, part: str) -> list[tuple[dict[str, str], float]]:
        template = pack.queries[query].parts[part]
        names = {"service": service, "version": version, "pool": pool}
        return picked(render(template, names), exposition)

    assert sum(value for _, value in seen("errors", "bad")) == failed
    assert sum(value for _, value in seen("errors", "total")) == failed, "and none apart"
    buckets = seen("latency", "buckets")
    assert sum(value for labels, value in buckets if labels["le"] == "+Inf") == failed


def _ports(subject: CaddySubject) -> list[int]:
    return [*subject.caddy.instance_ports("3.0.0", 1)]


async def test_a_folder_that_is_not_there_is_said(live_caddy: LiveCaddy, tmp_path: Path) -> None:
    from adapters.routers.caddy.router import CaddyRouter  # noqa: PLC0415 - of this test alone

    router = CaddyRouter(tmp_path / "nowhere", [live_caddy.address])
    with pytest.raises(Retryable, match="nowhere"):
        await router.read("payments")
    await router.aclose()
