"""Writes that go wrong, on a real Traefik with either provider, and what its users see."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from adapters.errors import ForeignChange, Retryable, Terminal, Unsupported
from adapters.routers.traefik.document import EVERYWHERE, Entrance, document
from adapters.routers.traefik.etcd import EtcdStore
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from adapters.secrets import Secret
from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_traefik import LiveEtcd, LiveTraefik, coded
from tests.contract.routers.routes import NEW, OLD, on_stable, rolled_back, shifted
from tests.contract.routers.subjects import TraefikSubject
from tests.contract.routers.wire import BAD, CUT, Caller, Load, shares

ROOT = Path(__file__).parents[3]
PACE = Pace(confirm_within=20.0, answer_within=5.0)
HASTY = Pace(confirm_within=0.5, answer_within=5.0)
BOTH = pytest.mark.parametrize("traefik", ["traefik-file", "traefik-etcd"], indirect=True)
USERS = [str(number) for number in range(40)]


@pytest.fixture
def traefik(request: pytest.FixtureRequest) -> TraefikSubject:
    """A Traefik with one of its providers."""
    found: TraefikSubject = request.getfixturevalue(f"{request.param}_subject")
    return found


@pytest.fixture
async def service(traefik: TraefikSubject) -> str:
    return await on_stable(traefik, OLD, NEW)


@pytest.fixture
def second(traefik: TraefikSubject, tmp_path: Path) -> Iterator[LiveTraefik]:
    """Another Traefik of the same provider."""
    other = traefik.traefik.twin(tmp_path)
    try:
        other.start()
        yield other
    finally:
        other.stop()


def router_for(
    traefik: TraefikSubject,
    client: httpx.AsyncClient,
    *urls: str,
    pace: Pace = PACE,
    entrance: Entrance = EVERYWHERE,
) -> TraefikRouter:
    """Another router over the same store."""
    return TraefikRouter(
        traefik.store,
        urls or (traefik.traefik.api_url,),
        client=client,
        can=traefik.routing.capabilities,
        pace=pace,
        entrance=entrance,
    )


@BOTH
async def test_what_traefik_refuses_is_terminal_and_taken_back(
    traefik: TraefikSubject, service: str, client: httpx.AsyncClient
) -> None:
    await traefik.router.apply(shifted(traefik, service, 100, 1))
    wrong = router_for(traefik, client, entrance=Entrance(middlewares=("nowhere",)))

    with pytest.raises(Terminal, match=f"{service}: .* refuses routers/{service}.* taken back"):
        await wrong.apply(rolled_back(service, 2))

    assert await traefik.router.read(service) == shifted(traefik, service, 100, 1)
    again = await traefik.router.apply(shifted(traefik, service, 100, 1))
    assert again.route == shifted(traefik, service, 100, 1)
    assert shares(await traefik.call(service, USERS)) == {NEW: 1.0}


@BOTH
async def test_a_write_without_traefik_is_not_confirmed_but_kept(
    traefik: TraefikSubject, service: str, client: httpx.AsyncClient
) -> None:
    await traefik.router.apply(shifted(traefik, service, 100, 1))
    traefik.traefik.stop()
    try:
        with pytest.raises(Retryable, match="generation 2 was written but not confirmed"):
            await router_for(traefik, client, pace=HASTY).apply(rolled_back(service, 2))
    finally:
        traefik.traefik.start()

    assert (await traefik.router.apply(rolled_back(service, 2))).route == rolled_back(service, 2)
    assert shares(await traefik.call(service, USERS)) == {OLD: 1.0}


@BOTH
async def test_a_restart_comes_back_with_the_split(traefik: TraefikSubject, service: str) -> None:
    route = shifted(traefik, service, 100, 7, owner="shop-7")
    await traefik.router.apply(route)
    traefik.traefik.restart()
    # Its API says which route it has taken up; until then it knows none and sends nothing astray.
    assert (await traefik.router.apply(route)).route == route
    assert shares(await traefik.call(service, USERS)) == {NEW: 1.0}


@BOTH
async def test_every_traefik_must_confirm(
    traefik: TraefikSubject, second: LiveTraefik, service: str, client: httpx.AsyncClient
) -> None:
    urls = (traefik.traefik.api_url, second.api_url)
    await router_for(traefik, client, *urls).apply(shifted(traefik, service, 50, 1))
    second.stop()
    with pytest.raises(Retryable, match=second.api_url):
        await router_for(traefik, client, *urls, pace=HASTY).apply(rolled_back(service, 2))
    second.start()
    await router_for(traefik, client, *urls).apply(rolled_back(service, 2))


@BOTH
async def test_requests_are_summed_over_all_traefiks(
    traefik: TraefikSubject, second: LiveTraefik, service: str, client: httpx.AsyncClient
) -> None:
    router = router_for(traefik, client, traefik.traefik.api_url, second.api_url)
    await router.apply(shifted(traefik, service, 100, 1))
    for port in (traefik.traefik.port, second.port):
        async with Caller(port, service) as caller:
            await caller.users(USERS)
    assert await router.requests(service) == {OLD: 0, NEW: 2 * len(USERS)}


@BOTH
async def test_a_route_that_lost_its_mark_is_somebody_elses_until_it_is_overruled(
    traefik: TraefikSubject, service: str
) -> None:
    route = shifted(traefik, service, 10, 1)
    await traefik.router.apply(route)
    found = await traefik.store.read(service)
    written = document(route, EVERYWHERE)
    del written["http"]["middlewares"]
    assert await traefik.store.write(service, written, found)

    with pytest.raises(ForeignChange, match="found .*9000.* expected the mark"):
        await traefik.router.read(service)
    with pytest.raises(ForeignChange, match="provider: found"):
        await traefik.router.apply(shifted(traefik, service, 20, 2), over=route)
    with pytest.raises(ForeignChange, match="expected none, or a route of Aviary's"):
        await traefik.router.register(service, OLD)
    await traefik.router.apply(rolled_back(service, 3))
    assert await traefik.router.read(service) == rolled_back(service, 3)


@BOTH
@pytest.mark.parametrize("by", [AudienceBy.HEADER, AudienceBy.COOKIE])
async def test_whatever_stands_in_an_audience_is_only_a_value(
    traefik: TraefikSubject, service: str, by: AudienceBy
) -> None:
    value = '`) || PathPrefix("/") {{ env "HOME" }} ${1} .*\\'
    match = Match(by=by, name="x-be.ta", value=value)
    audience = Audience(any_of=(match,))
    route = Route.split(service, OLD, NEW, 100, generation=1, owner="{{ now }}", audience=audience)
    await traefik.router.apply(route)
    assert await traefik.router.read(service) == route
    asks = {(by, "x-be.ta"): value}
    assert shares(await traefik.call(service, USERS[:5], asks)) == {NEW: 1.0}
    for other in (f"{value}x", value[1:], ""):
        got = await traefik.call(service, USERS[:5], {(by, "x-be.ta"): other})
        assert shares(got) == {OLD: 1.0}, other
    assert shares(await traefik.call(service, USERS[:5], {(by, "x-beta"): value})) == {OLD: 1.0}


@BOTH
async def test_a_share_of_copies_between_two_percents_is_refused(
    traefik: TraefikSubject, service: str
) -> None:
    route = Route.split(
        service,
        OLD,
        generation=1,
        mirror=Mirror(version=NEW, share=2.5, writes=True, unmarked=True),
    )
    with pytest.raises(Unsupported, match="can't copy 2.5 % .* whole number of percent"):
        await traefik.router.apply(route)
    assert await traefik.router.read(service) == Route.split(service, OLD)


@BOTH
async def test_a_pool_that_one_traefik_does_not_know_is_waited_for(
    traefik: TraefikSubject, service: str
) -> None:
    async def nothing_there(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"message": "not found"})

    async with httpx.AsyncClient(
        mounts={"http://ignorant": httpx.MockTransport(nothing_there)}
    ) as client:
        router = router_for(traefik, client, traefik.traefik.api_url, "http://ignorant", pace=HASTY)
        with pytest.raises(Retryable, match="http://ignorant does not know the pool of .*1.4.2"):
            await router.apply(shifted(traefik, service, 5, 1))
    assert await traefik.router.read(service) == Route.split(service, OLD)


@BOTH
async def test_who_answers_badly_is_counted_and_so_is_what_traefik_answers_itself(
    traefik: TraefikSubject, tmp_path: Path
) -> None:
    """The platform's own answers, and whom its metrics blame for them, are as claimed."""
    service = await on_stable(traefik, OLD, BAD, CUT)
    live = traefik.traefik
    for generation, (version, status) in enumerate(((BAD, 500), (CUT, 502)), start=1):
        await traefik.router.apply(Route.split(service, OLD, version, 100, generation=generation))
        async with Caller(live.port, service) as caller:
            answers = {(await caller.get(x_user_id=user)).status for user in USERS[:10]}
        assert answers == {status}
        assert (await traefik.router.requests(service))[version] == 10
    live.put(service, OLD, free_port())
    async with asyncio.timeout(60):
        while True:
            found = await traefik.router.instances(service)
            if found is not None and found[OLD].healthy == 0:
                break
            await asyncio.sleep(0.05)
    await traefik.router.apply(rolled_back(service, 9))
    # A new configuration takes everybody for healthy until the next check.
    statuses: list[int] = []
    async with asyncio.timeout(60), Caller(live.port, service) as caller:
        while not statuses or statuses[-1] == 502:
            statuses.append((await caller.get()).status)
    assert statuses[-1] == 503
    counted = (await traefik.router.requests(service))[OLD]
    assert counted == len(statuses) - 1, "Traefik's own 503 is nobody's"
    async with Caller(live.port, "nobody") as caller:
        assert (await caller.get()).status == 404


async def shift(traefik: TraefikSubject, service: str, changes: int, pause: int) -> Load:
    """So many changes under load, and so many requests between them."""
    async with Load(traefik.traefik.port, service) as load:
        for generation in range(1, changes + 1):
            weight = (5, 50, 100, 0)[generation % 4]
            await traefik.router.apply(shifted(traefik, service, weight, generation))
            await load.until(pause)
    return load


@BOTH
async def test_shifts_cost_users_nothing(traefik: TraefikSubject, service: str) -> None:
    load = await shift(traefik, service, changes=12, pause=20)
    assert load.outcomes.total() >= 240
    assert load.failed == {}


@BOTH
@pytest.mark.long
async def test_100_000_requests_over_50_changes(traefik: TraefikSubject, service: str) -> None:
    load = await shift(traefik, service, changes=50, pause=2_000)
    assert load.outcomes.total() >= 100_000
    assert load.failed == {}


# --- files ---


@pytest.fixture
def on_files(request: pytest.FixtureRequest) -> TraefikSubject:
    """Traefik with its file provider."""
    found: TraefikSubject = request.getfixturevalue("traefik-file_subject")
    return found


async def test_a_file_that_somebody_broke_is_overruled(
    on_files: TraefikSubject, file_store: FileStore
) -> None:
    subject, service = on_files, await on_stable(on_files, OLD, NEW)
    route = shifted(subject, service, 10, 1)
    await subject.router.apply(route)
    file_store.path(service).write_text("http: {routers: {}}  # tidied up")
    assert "another form" in await subject.router.changed(route)
    with pytest.raises(ForeignChange, match="found another form"):
        await subject.router.apply(shifted(subject, service, 20, 2), over=route)
    await subject.router.apply(rolled_back(service, 2))
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}


async def test_a_writer_that_is_killed_leaves_the_old_file_or_the_new(
    on_files: TraefikSubject, file_store: FileStore
) -> None:
    subject, service = on_files, await on_stable(on_files, OLD, NEW)
    writer = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from adapters.routers.traefik.document import EVERYWHERE, document\n"
        "from adapters.routers.traefik.file import FileStore\n"
        "from schemas.route import Route\n"
        "async def main(folder, service):\n"
        "    store = FileStore(Path(folder))\n"
        "    for generation in range(1, 10**9):\n"
        f"        route = Route.split(service, '{OLD}', '{NEW}', 50, generation=generation)\n"
        "        found = await store.read(service)\n"
        "        await store.write(service, document(route, EVERYWHERE), found)\n"
        "        print(generation, flush=True)\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", writer, str(file_store.directory), service]
    said = await asyncio.to_thread(_killed, command)
    applied = await subject.router.read(service)
    assert said <= applied.generation <= said + 1
    await subject.router.apply(rolled_back(service, applied.generation + 1))
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}


def _killed(command: list[str]) -> int:
    """The last number that a process says before it is killed."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        return max([*said, *(int(line) for line in process.stdout if line.endswith("\n"))])


async def test_a_full_disk_is_named_and_leaves_the_route(
    on_files: TraefikSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, service = on_files, await on_stable(on_files, OLD, NEW)
    await subject.router.apply(shifted(subject, service, 100, 1))

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Retryable, match=rf"aviary-{service}.yaml: No space left on device"):
            await subject.router.apply(rolled_back(service, 2))
    assert await subject.router.read(service) == shifted(subject, service, 100, 1)
    assert shares(await subject.call(service, USERS)) == {NEW: 1.0}
    await subject.router.apply(rolled_back(service, 2))


async def test_a_folder_that_is_not_there_is_no_folder_without_routes(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="gone"):
        await FileStore(tmp_path / "gone").read("pay")


# --- etcd ---


@pytest.fixture
def on_etcd(request: pytest.FixtureRequest) -> TraefikSubject:
    """Traefik with its etcd provider."""
    found: TraefikSubject = request.getfixturevalue("traefik-etcd_subject")
    return found


async def test_a_change_between_reading_and_writing_lets_nothing_be_written(
    on_etcd: TraefikSubject, etcd_store: EtcdStore, etcd: LiveEtcd
) -> None:
    subject, service = on_etcd, await on_stable(on_etcd, OLD, NEW)
    route = shifted(subject, service, 10, 1)
    await subject.router.apply(route)
    found = await etcd_store.read(service)
    etcd.put({f"http/services/{service}/weighted/services/1/weight": "4000"})

    late = document(shifted(subject, service, 20, 2), EVERYWHERE)
    assert not await etcd_store.write(service, late, found)

    entries = (await etcd_store.read(service)).entries
    assert entries[f"http/services/{service}/weighted/services/1/weight"] == "4000"
    assert entries[f"http/services/{service}/weighted/services/0/weight"] == "9000"


async def test_the_first_member_that_answers_is_asked(
    on_etcd: TraefikSubject, etcd: LiveEtcd, client: httpx.AsyncClient
) -> None:
    service = await on_stable(on_etcd, OLD, NEW)
    nobody = f"http://127.0.0.1:{free_port()}"
    store = EtcdStore([nobody, f"{etcd.url}/"], client)
    assert (await store.read(service)).entries
    with pytest.raises(Retryable, match=f"etcd at {nobody}: ConnectError"):
        await EtcdStore([nobody], client).read(service)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[LiveEtcd]:
    """An etcd that wants a user: `aviary` may write below `traefik/`."""
    etcd = LiveEtcd(tmp_path)
    etcd.start()
    try:
        for name in ("root", "aviary"):
            etcd.post("auth/user/add", {"name": name, "password": f"{name}-s3cret"})
            etcd.post("auth/role/add", {"name": name})
            etcd.post("auth/user/grant", {"user": name, "role": name})
        keys = {"key": coded("traefik/"), "range_end": coded("traefik0"), "permType": "READWRITE"}
        etcd.post("auth/role/grant", {"name": "aviary", "perm": keys})
        etcd.post("auth/enable", {})
        yield etcd
    finally:
        etcd.stop()


async def test_etcds_own_users_and_a_token_that_it_has_forgotten(
    guarded: LiveEtcd, client: httpx.AsyncClient
) -> None:
    password = Secret(SecretStr("aviary-s3cret"), is_password=True)
    store = EtcdStore([guarded.url], client, user="aviary", password=password, within=5.0)
    route = Route.split("pay", "1")
    found = await store.read("pay")
    assert await store.write("pay", document(route, EVERYWHERE), found)
    guarded.stop()
    guarded.start()
    assert (await store.read("pay")).entries
    elsewhere = EtcdStore(
        [guarded.url], client, root_key="other", user="aviary", password=password, within=5.0
    )
    with pytest.raises(Retryable, match="kv/txn answered 403: .*permission denied"):
        await elsewhere.read("pay")


@pytest.mark.parametrize("user", ["aviary", "nobody", None])
async def test_who_is_not_let_in_is_told_without_the_password(
    guarded: LiveEtcd, client: httpx.AsyncClient, user: str | None
) -> None:
    password = Secret(SecretStr("wr0ng-s3cret"), is_password=True) if user else None
    store = EtcdStore([guarded.url], client, user=user, password=password, within=5.0)
    with pytest.raises(Retryable, match=f"etcd at {guarded.url}: ") as caught:
        await store.read("pay")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
