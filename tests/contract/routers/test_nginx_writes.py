"""What nginx keeps of a route, whatever goes wrong: reloads, crashes, a full disk, one of two."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import (
    ForeignChange,
    Retryable,
    StaleGeneration,
    StillInUse,
    Terminal,
    UnknownRoute,
)
from adapters.http_access import HttpAccess
from adapters.routers.nginx.router import NginxRouter
from adapters.secrets import Secret
from schemas.deployment import Endpoint, Endpoints
from schemas.route import Route
from tests.contract.routers.live_nginx import LiveNginx
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import NginxSubject
from tests.contract.routers.wire import Caller, Instances, shares


@pytest.fixture
async def service(nginx_subject: NginxSubject) -> str:
    return await on_stable(nginx_subject, OLD, NEW)


@pytest.fixture
def second(
    nginx_packages: Path, tmp_path_factory: pytest.TempPathFactory, instances: Instances
) -> Iterator[LiveNginx]:
    """Another nginx, with a state of its own."""
    live = LiveNginx(nginx_packages, tmp_path_factory.mktemp("second"), instances)
    try:
        live.start()
        yield live
    finally:
        live.stop()


@pytest.fixture
async def both(nginx_subject: NginxSubject, second: LiveNginx) -> AsyncIterator[NginxRouter]:
    """A router of two nginx."""
    router = NginxRouter([nginx_subject.nginx.control, second.control])
    yield router
    await router.aclose()


async def _in_both(router: NginxRouter, live: LiveNginx, service: str) -> None:
    """A service in two nginx, as a deployer puts it up."""
    for version in (OLD, NEW):
        endpoint = Endpoint(host="127.0.0.1", port=live.port_of(version))
        await router.put_endpoints(service, version, [endpoint], 1)
    await router.register(service, OLD)


async def test_a_reload_and_a_crash_forget_nothing(
    nginx_subject: NginxSubject, service: str
) -> None:
    """Lua's init runs at each reload as well: it must not begin anew."""
    route = shifted(nginx_subject, service, 30, 7)
    await nginx_subject.router.apply(route)
    before = await nginx_subject.call(service, USERS)
    for again in (nginx_subject.nginx.reload, nginx_subject.nginx.restart):
        again()
        assert await nginx_subject.router.read(service) == route
        assert await nginx_subject.call(service, USERS) == before
        with pytest.raises(StaleGeneration):
            await nginx_subject.router.apply(shifted(nginx_subject, service, 50, 6))


def _put(subject: NginxSubject, route: Route, **headers: str) -> httpx.Response:
    """What nginx itself says to a route, whoever sends it."""
    document = route.model_dump(mode="json", exclude_none=True)
    return subject.ask("PUT", f"/routes/{route.service}", document, **headers)


async def test_nginx_itself_refuses_a_late_write(nginx_subject: NginxSubject, service: str) -> None:
    """The fence is in Lua: no router of Aviary's is asked, which would have looked before."""
    applied = shifted(nginx_subject, service, 30, 7)
    assert _put(nginx_subject, applied).status_code == 200
    for again in (None, nginx_subject.nginx.reload, nginx_subject.nginx.restart):
        if again is not None:
            again()
        for late in (6, 7):
            answer = _put(nginx_subject, shifted(nginx_subject, service, 50, late))
            assert answer.status_code == 409
            assert answer.text == f"{service}: generation {late} is refused, 7 is applied"
        wrong = {"X-Aviary-Over": "none"}
        newer = _put(nginx_subject, shifted(nginx_subject, service, 50, 8), **wrong)
        assert newer.status_code == 412
        assert await nginx_subject.router.read(service) == applied
        assert _put(nginx_subject, applied).status_code == 200, "the same once more"


async def test_of_many_writers_at_one_moment_nginx_lets_each_generation_in_once(
    nginx_subject: NginxSubject, service: str
) -> None:
    """Two weights of each generation, to both workers of nginx, in an order that nobody knows."""
    routes = [
        shifted(nginx_subject, service, weight, generation)
        for generation in range(1, 13)
        for weight in (10, 20)
    ]
    random.Random(15).shuffle(routes)
    answers = await asyncio.gather(
        *(asyncio.to_thread(_put, nginx_subject, route) for route in routes)
    )
    let_in = [
        route.generation
        for route, answer in zip(routes, answers, strict=True)
        if answer.status_code == 200
    ]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(let_in) == len(set(let_in))
    assert (await nginx_subject.router.read(service)).generation == max(let_in) == 12


async def test_counts_go_on_over_a_reload(nginx_subject: NginxSubject, service: str) -> None:
    await nginx_subject.call(service, USERS[:10])
    nginx_subject.nginx.reload()
    await nginx_subject.call(service, USERS[:10])
    assert await nginx_subject.router.requests(service) == {OLD: 20, NEW: 0}


async def test_workers_that_die_in_mid_write_leave_the_old_route_or_the_new(
    nginx_subject: NginxSubject, service: str
) -> None:
    nginx, router = nginx_subject.nginx, nginx_subject.router
    last = 0
    for round_ in range(12):

        async def climb(begin: int) -> None:
            for generation in range(begin, begin + 50):
                await router.apply(shifted(nginx_subject, service, generation % 100, generation))

        task = asyncio.create_task(climb(100 * round_ + 1))
        await asyncio.sleep(0.005 * (round_ + 1))  # another moment of a write each time
        for worker in nginx.workers():
            os.kill(worker, signal.SIGKILL)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        nginx.wait_for(lambda: _served(nginx_subject, service) is not None)
        served = _served(nginx_subject, service)
        assert served is not None
        assert served["route"] == served["stored"], "what is served is what comes after a restart"
        assert served["route"]["generation"] >= last
        last = served["route"]["generation"]
    await router.apply(rolled_back(service, 10_000))
    assert shares(await nginx_subject.call(service, USERS)) == {OLD: 1.0}


def _served(subject: NginxSubject, service: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = subject.ask("GET", f"/routes/{service}").json()
    except httpx.HTTPError:
        return None
    return found


async def test_what_a_crash_left_half_written_is_no_route(
    nginx_subject: NginxSubject, service: str
) -> None:
    half = nginx_subject.nginx.state / ".routes.jsonl.new"
    half.write_text('{"service":"' + service)
    nginx_subject.nginx.restart()
    assert await nginx_subject.router.read(service) == Route.split(service, OLD)
    await nginx_subject.router.apply(shifted(nginx_subject, service, 10, 1))
    assert not half.exists()


@pytest.fixture
def small(nginx_packages: Path, tmp_path: Path, instances: Instances) -> Iterator[LiveNginx]:
    """One whose state is on a small file system of its own."""
    live = LiveNginx(nginx_packages, tmp_path, instances)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(live.state)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system: {mounted.stderr}")
    try:
        yield live
    finally:
        live.stop()
        subprocess.run(["umount", str(live.state)], check=True)


async def test_a_full_disk_changes_nothing_and_passes(small: LiveNginx) -> None:
    live = small
    router = NginxRouter([live.control])
    filler = live.state / "filler"
    try:
        live.start()
        subject = NginxSubject(live, router)
        name = await on_stable(subject, OLD, NEW)
        applied = shifted(subject, name, 10, 1)
        await router.apply(applied)
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(b"x" * 1024)
                except OSError:
                    break
        with pytest.raises(Retryable, match="No space left on device"):
            await router.apply(shifted(subject, name, 50, 2))
        assert await router.read(name) == applied
        assert [path.name for path in live.state.glob(".*")] == []
        filler.unlink()
        await router.apply(rolled_back(name, 3))
        live.restart()
        assert await router.read(name) == rolled_back(name, 3)
    finally:
        await router.aclose()


async def test_a_file_that_somebody_changed_is_seen_before_it_is_read(
    nginx_subject: NginxSubject, service: str
) -> None:
    route = shifted(nginx_subject, service, 10, 1)
    await nginx_subject.router.apply(route)
    path = nginx_subject.nginx.state / "routes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines if one["service"] != service))

    assert "in its file no route" in await nginx_subject.router.changed(route)
    with pytest.raises(ForeignChange, match="in its file no route"):
        await nginx_subject.router.apply(shifted(nginx_subject, service, 20, 2), over=route)
    with pytest.raises(StaleGeneration):
        await nginx_subject.router.apply(shifted(nginx_subject, service, 20, 1))
    await nginx_subject.router.apply(rolled_back(service, 2))
    assert await nginx_subject.router.changed(rolled_back(service, 2)) == ""


def test_a_damaged_file_keeps_nginx_from_starting_and_says_why(
    nginx_packages: Path, tmp_path: Path, instances: Instances
) -> None:
    live = LiveNginx(nginx_packages, tmp_path, instances)
    (live.state / "routes.jsonl").write_text('{"service": "a", "arms": []}\n')
    assert "routes.jsonl: line 1: arms: found" in live.refusal()


async def test_a_reload_over_a_damaged_file_changes_nothing(
    nginx_subject: NginxSubject, service: str
) -> None:
    nginx, path = nginx_subject.nginx, nginx_subject.nginx.state / "routes.jsonl"
    good = path.read_text()
    path.write_text("{")
    try:
        nginx.hang_up()
        nginx.wait_for(lambda: "routes.jsonl: line 1: document: found {" in nginx.log.read_text())
        assert shares(await nginx_subject.call(service, USERS[:20])) == {OLD: 1.0}
    finally:
        path.write_text(good)
    await nginx_subject.router.apply(shifted(nginx_subject, service, 100, 1))
    assert shares(await nginx_subject.call(service, USERS[:20])) == {NEW: 1.0}


# --- several ---


async def test_every_nginx_must_confirm(
    nginx_subject: NginxSubject, both: NginxRouter, second: LiveNginx
) -> None:
    service = nginx_subject.put_up()
    await _in_both(both, second, service)
    first = Route.split(service, OLD, NEW, 50, generation=1)
    await both.apply(first)
    for live in (nginx_subject.nginx, second):
        async with Caller(live.port, service) as caller:
            got = shares(await caller.users(USERS))
        assert got[NEW] == pytest.approx(0.5, abs=0.15)

    second.stop()
    with pytest.raises(Retryable, match=second.control):
        await both.apply(Route.split(service, OLD, NEW, 60, generation=2), over=first)
    assert await both.read(service) == first, "a step is not begun where one is away"
    back = rolled_back(service, 3)
    with pytest.raises(Retryable, match=second.control):
        await both.apply(back)
    async with Caller(nginx_subject.nginx.port, service) as caller:
        assert shares(await caller.users(USERS)) == {OLD: 1.0}, "a way back is"

    second.start()
    await both.apply(back)
    async with Caller(second.port, service) as caller:
        assert shares(await caller.users(USERS)) == {OLD: 1.0}
    assert await both.requests(service) == {
        version: sum(counts[version] for counts in await _counts(nginx_subject, second, service))
        for version in (OLD, NEW)
    }


async def _counts(subject: NginxSubject, second: LiveNginx, service: str) -> list[dict[str, int]]:
    router = NginxRouter([second.control])
    found = [dict(await one.requests(service)) for one in (subject.router, router)]
    await router.aclose()
    return found


async def test_of_writers_to_several_one_wins_in_all(
    nginx_subject: NginxSubject, both: NginxRouter, second: LiveNginx
) -> None:
    service = nginx_subject.put_up()
    await _in_both(both, second, service)
    rivals = [shifted(nginx_subject, service, w, 1, f"r-{w}") for w in (10, 20, 30, 40)]
    results = await asyncio.gather(*map(both.apply, rivals), return_exceptions=True)
    won = [result for result in results if not isinstance(result, BaseException)]
    assert len(won) == 1
    assert await both.changed(won[0].route) == ""


async def test_one_that_lost_its_state_is_a_change_that_a_rollback_puts_right(
    nginx_subject: NginxSubject, both: NginxRouter, second: LiveNginx
) -> None:
    service = nginx_subject.put_up()
    await _in_both(both, second, service)
    route = Route.split(service, OLD, NEW, 50, generation=1)
    await both.apply(route)
    second.stop()
    (second.state / "routes.jsonl").unlink()
    second.start()

    assert f"{second.control} serves no route" in await both.changed(route)
    with pytest.raises(ForeignChange, match="serves no route"):
        await both.apply(Route.split(service, OLD, NEW, 60, generation=2), over=route)
    await both.apply(rolled_back(service, 3))
    assert await both.changed(rolled_back(service, 3)) == ""


# --- what may be written ---


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["service", "arms", "version", "weight", "generation", "owner"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=_JSON)
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_what_is_no_route_is_refused_with_a_reason(
    nginx_subject: NginxSubject, body: object
) -> None:
    answer = nginx_subject.ask("PUT", "/routes/hostile", body)
    assert answer.status_code == 422
    assert "expected" in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arms": [{"version": OLD, "weight": 99}]}, "arms: found 99"),
        ({"arms": [{"version": OLD, "weight": 100.001}]}, "arms.1.weight"),
        ({"arms": [{"version": "a b", "weight": 100}]}, "arms.1.version: found a b"),
        ({"arms": [{"version": "9.9.9", "weight": 100}]}, "found 9.9.9"),
        ({"mirror": {"version": NEW, "share": 5}}, "mirror"),
        ({"generation": 1.5}, "generation: found 1.5"),
        ({"generation": 2**60}, "generation"),
        ({"service": "other"}, "service: found other"),
        ({"audience": {"any_of": []}}, "audience.any_of"),
        *(
            ({"audience": {"any_of": [{"by": "network", "name": "", "value": wrong}]}}, "a network")
            for wrong in (
                *("10.0.0.0", "10.0.0/8", "10.0.0.256/8", "10.0.0.0/33", "a/8", "/8", "::1/129"),
                *("1:2/8", ":1:2:3:4:5:6:7:8/8", "1::2::3/8", "1:::2/8", "12345::/8"),
            )
        ),
        ({"audience": {"any_of": [{"by": "moon", "name": "a", "value": "b"}]}}, "by: found moon"),
    ],
)
def test_a_wrong_field_is_named(
    nginx_subject: NginxSubject, change: dict[str, object], field: str
) -> None:
    service = nginx_subject.put_up(OLD)
    route = Route.split(service, OLD, generation=1).model_dump(mode="json", exclude_none=True)
    answer = nginx_subject.ask("PUT", f"/routes/{service}", {**route, **change})
    assert answer.status_code == 422
    assert field in answer.text
    assert nginx_subject.ask("GET", f"/routes/{service}").json()["route"] is None


async def test_who_has_no_token_is_not_let_in(
    nginx_packages: Path, tmp_path: Path, instances: Instances
) -> None:
    live = LiveNginx(nginx_packages, tmp_path, instances)
    (tmp_path / "token").write_text("t0p-s3cr3t\n")
    live.setup = f'token_file = "{tmp_path}/token"'
    live.start()
    try:
        (tmp_path / "ours").write_text("t0p-s3cr3t\n")
        let_in = NginxRouter(
            [live.control], access=HttpAccess(token=Secret(file=tmp_path / "ours"))
        )
        with pytest.raises(UnknownRoute):
            await let_in.read("nobody")
        await let_in.aclose()
        shut_out = NginxRouter([live.control])
        with pytest.raises(Retryable, match="401") as caught:
            await shut_out.read("nobody")
        assert "t0p-s3cr3t" not in str(caught.value)
        await shut_out.aclose()
    finally:
        live.stop()


# --- endpoints ---


async def test_endpoints_are_written_by_order(nginx_subject: NginxSubject) -> None:
    service, router = nginx_subject.put_up(OLD), nginx_subject.router
    here = [Endpoint(host="127.0.0.1", port=nginx_subject.nginx.port_of(NEW))]
    await router.put_endpoints(service, NEW, here, 5)
    await router.put_endpoints(service, NEW, here, 5)
    with pytest.raises(StaleGeneration):
        await router.put_endpoints(service, NEW, [Endpoint(host="127.0.0.1", port=1)], 4)
    found = await router.endpoints(service)
    assert found[service][NEW] == Endpoints(endpoints=tuple(here), generation=5)
    assert set(found[service]) == {OLD, NEW}
    assert (await router.endpoints())[service] == found[service]
    with pytest.raises(Terminal, match="expected an IP address and a port"):
        await router.put_endpoints(service, NEW, [Endpoint(host="a.example", port=1)], 6)

    await router.register(service, OLD)
    await router.apply(shifted(nginx_subject, service, 100, 1))
    with pytest.raises(StillInUse, match=NEW):
        await router.drop_endpoints(service, NEW, 7)
    await router.apply(rolled_back(service, 2))
    await router.drop_endpoints(service, NEW, 7)
    await router.drop_endpoints(service, NEW, 7)
    assert not await router.exists(service, NEW)


def test_an_upstream_of_the_configuration_is_a_version(
    nginx_packages: Path, tmp_path: Path, instances: Instances
) -> None:
    live = LiveNginx(nginx_packages, tmp_path, instances)
    upstreams = tmp_path / "upstreams.conf"
    upstreams.write_text(
        "\n".join(
            f"# aviary: pay {version}\nupstream pay_{number} {{\n"
            f"    server 127.0.0.1:{live.port_of(version)};\n    keepalive 8;\n}}"
            for number, version in enumerate((OLD, NEW))
        )
    )
    live.more = f"include {upstreams};"
    live.setup = f'upstreams = {{"{upstreams}"}}'
    live.start()

    async def use() -> None:
        router = NginxRouter([live.control])
        await router.register("pay", OLD)
        await router.apply(Route.split("pay", OLD, NEW, 50, generation=1))
        async with Caller(live.port, "pay") as caller:
            got = shares(await caller.users(USERS))
        assert got[NEW] == pytest.approx(0.5, abs=0.15)
        assert await router.endpoints("pay") == {}
        await router.aclose()

    try:
        asyncio.run(use())
    finally:
        live.stop()


def test_a_mark_without_an_upstream_is_refused_before_it_is_loaded(
    nginx_packages: Path, tmp_path: Path, instances: Instances
) -> None:
    live = LiveNginx(nginx_packages, tmp_path, instances)
    upstreams = tmp_path / "upstreams.conf"
    upstreams.write_text("# aviary: pay 1\nserver { }\n")
    live.setup = f'upstreams = {{"{upstreams}"}}'
    assert "below the mark of pay 1 expected an upstream" in live.refusal()
