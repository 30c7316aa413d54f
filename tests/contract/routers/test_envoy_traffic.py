"""What users get from a real Envoy: shares, cookies, forced versions, and no failures."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.errors import Terminal
from adapters.routers.envoy.fleet import Pool
from schemas.route import Route
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import BAD, CUT, Caller, Instances, Load

ROOT = Path(__file__).parents[3]
USERS = [f"user-{number}" for number in range(2000)]


def canary(service: str, weight: float, generation: int = 1, version: str = "2") -> Route:
    return Route.split(
        service=service, stable="1", canary=version, weight=weight, generation=generation
    )


def rolled_back(service: str, generation: int) -> Route:
    return Route.split(service=service, stable="1", generation=generation)


async def on_stable(subject: EnvoySubject, *versions: str) -> str:
    service = subject.put_up("1", *versions)
    registered = await subject.router.register(service, "1")
    # Registering waits for no Envoy; the same route applied again does.
    await subject.router.apply(registered)
    return service


@pytest.fixture
async def service(envoy_subject: EnvoySubject) -> str:
    return await on_stable(envoy_subject, "2")


@pytest.fixture
def mortal() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An instance of version 2 in a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.contract.routers.instance", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("weight", [1.0, 10.0, 50.0, 97.5])
async def test_the_share_of_users_is_the_weight(
    envoy_subject: EnvoySubject, service: str, weight: float
) -> None:
    await envoy_subject.router.apply(canary(service, weight))

    got = await envoy_subject.call(service, USERS)

    expected = len(USERS) * weight / 100
    deviation = math.sqrt(expected * (1 - weight / 100))
    assert abs(list(got.values()).count("2") - expected) < 5 * deviation


async def test_a_user_without_id_is_given_a_cookie_and_stays(
    envoy_subject: EnvoySubject, service: str
) -> None:
    await envoy_subject.router.apply(canary(service, 50))
    async with Caller(envoy_subject.envoy.port, service) as caller:
        for _ in range(20):
            first = await caller.get()
            cookie = re.match(r'(aviary-user="?[0-9a-f]+"?);', first.headers["set-cookie"])
            assert cookie is not None
            # The first request was drawn by chance; from the second on the cookie decides.
            again = [await caller.get(cookie=cookie[1]) for _ in range(5)]
            assert len({answer.version for answer in again}) == 1
            assert not any("set-cookie" in answer.headers for answer in again)


async def test_a_caller_can_ask_for_a_version(envoy_subject: EnvoySubject, service: str) -> None:
    await envoy_subject.router.apply(canary(service, 0))
    async with Caller(envoy_subject.envoy.port, service) as caller:
        assert (await caller.get()).version == "1"
        assert (await caller.get(x_canary="always")).version == "2"
        assert (await caller.get(cookie="a=b; canary=always")).version == "2"

        await envoy_subject.router.apply(canary(service, 100, 2))
        assert (await caller.get()).version == "2"
        assert (await caller.get(x_canary="never")).version == "1"
        assert (await caller.get(cookie="canary=never")).version == "1"
        assert (await caller.get(x_canary="never", cookie="canary=always")).version == "1"
        assert (await caller.get(x_canary="perhaps")).version == "2"


async def test_metrics_stand_under_the_pool_of_each_version(envoy_subject: EnvoySubject) -> None:
    service = await on_stable(envoy_subject, "2.0.1")
    await envoy_subject.router.apply(canary(service, 30, version="2.0.1"))
    got = list((await envoy_subject.call(service, USERS[:300])).values())

    # Histograms are merged by the first question and shown by the next.
    envoy_subject.envoy.wait_for(
        "/stats/prometheus?usedonly", f'rq_time_count{{envoy_cluster_name="{service}@1"}}'
    )
    text = envoy_subject.envoy.ask("/stats/prometheus?usedonly")

    for metric, label in (
        ("completed", ""),
        ("total", ""),
        ("xx", 'envoy_response_code_class="2",'),
        ("time_count", ""),
    ):
        pattern = (
            rf'envoy_cluster_upstream_rq_{metric}\{{{label}envoy_cluster_name="{service}@(.+)"'
        )
        found = re.findall(rf"^{pattern}\}} (\d+)$", text, re.MULTILINE)
        wanted = [("1", str(got.count("1"))), ("2~0~1", str(got.count("2.0.1")))]
        assert sorted(found) == wanted, metric


async def test_a_canary_that_answers_badly_is_not_hidden(envoy_subject: EnvoySubject) -> None:
    service = await on_stable(envoy_subject, BAD)
    await envoy_subject.router.apply(canary(service, 100, version=BAD))
    async with Caller(envoy_subject.envoy.port, service) as caller:
        answers = [await caller.get(x_user_id=user) for user in USERS[:50]]
    assert {(answer.status, answer.version) for answer in answers} == {(500, BAD)}


async def test_a_broken_request_is_repeated_only_if_that_is_safe(
    envoy_subject: EnvoySubject,
) -> None:
    service = await on_stable(envoy_subject, CUT)
    await envoy_subject.router.apply(canary(service, 100, version=CUT))
    async with Caller(envoy_subject.envoy.port, service) as caller:
        assert (await caller.send("POST", x_user_id="a", content_length="0")).status == 503
        assert await caller.users(["a"]) == {"a": "1"}


async def test_the_death_of_the_only_canary_instance_costs_users_nothing(
    envoy_subject: EnvoySubject, mortal: tuple[subprocess.Popen[str], int]
) -> None:
    process, port = mortal
    service = await on_stable(envoy_subject)
    envoy_subject.envoy.add_version(service, "2", port)
    await envoy_subject.router.apply(canary(service, 50))
    async with Load(envoy_subject.envoy.port, service) as load:
        await load.until(300)
        process.kill()
        await load.until(1500)
    assert load.outcomes[200, "2"] > 0
    assert load.failed == {}
    sent = await envoy_subject.router.requests(service)
    assert sent["1"] > sent["2"]


async def test_shifts_cost_users_nothing(envoy_subject: EnvoySubject, service: str) -> None:
    async with Load(envoy_subject.envoy.port, service) as load:
        for generation in range(1, 41):
            weight = (5, 50, 100, 0)[generation % 4]
            await envoy_subject.router.apply(canary(service, weight, generation))
    assert load.outcomes.total() > 40
    assert load.failed == {}


async def test_a_whole_life_of_a_canary_costs_users_nothing(
    envoy_subject: EnvoySubject, instances: Instances
) -> None:
    service = await on_stable(envoy_subject)
    envoy, generation = envoy_subject.envoy, 0
    async with Load(envoy.port, service) as load:
        for _ in range(5):
            envoy.add_version(service, "2", instances.port("2"))
            for weight in (10, 100):
                generation += 1
                await envoy_subject.router.apply(canary(service, weight, generation))
                await load.until(50)
            generation += 1
            await envoy_subject.router.apply(rolled_back(service, generation))
            envoy.fleet.drop_pool(service, "2")
    assert load.outcomes[200, "2"] > 0
    assert load.failed == {}


async def test_other_instances_of_a_version_cost_users_nothing(
    envoy_subject: EnvoySubject, instances: Instances, service: str
) -> None:
    await envoy_subject.router.apply(canary(service, 50))
    async with Load(envoy_subject.envoy.port, service) as load:
        for turn in range(8):
            name = f"2-instance-{turn % 2}"
            envoy_subject.envoy.add_version(service, "2", instances.port(name))
            await load.until(50)
    assert load.outcomes[200, "2-instance-0"] > 0
    assert load.outcomes[200, "2-instance-1"] > 0
    assert load.failed == {}


async def test_a_pool_with_a_route_stays(envoy_subject: EnvoySubject, service: str) -> None:
    await envoy_subject.router.apply(canary(service, 0))
    with pytest.raises(Terminal, match="still names version 2"):
        envoy_subject.envoy.fleet.drop_pool(service, "2")
    async with Caller(envoy_subject.envoy.port, service) as caller:
        assert (await caller.get(x_canary="always")).version == "2"


async def test_a_killed_envoy_comes_back_with_the_same_users_on_the_canary(
    envoy_subject: EnvoySubject, service: str
) -> None:
    await envoy_subject.router.apply(canary(service, 30))
    before = await envoy_subject.call(service, USERS[:300])

    envoy_subject.envoy.restart()
    envoy_subject.envoy.wait_for("/clusters", f"{service}@2::")

    assert await envoy_subject.call(service, USERS[:300]) == before
    assert await envoy_subject.router.read(service) == canary(service, 30)
    await envoy_subject.router.apply(rolled_back(service, 2))


def test_envoy_starts_with_many_pools(binary: Path, tmp_path: Path, instances: Instances) -> None:
    live = LiveEnvoy(binary, tmp_path, instances)
    endpoints = (("127.0.0.1", instances.port("1")),)
    # More than the 128 watches that Linux gives a user by default.
    pools = [
        Pool(service=f"svc-{number}", version=version, endpoints=endpoints)
        for number in range(70)
        for version in ("1", "2")
    ]
    live.fleet.set_pools(pools)
    try:
        live.start()
        for pool in pools:
            live.wait_for("/clusters", f"{pool.name}::127.0.0.1:")
        known = {line.partition("::")[0] for line in live.ask("/clusters").splitlines()}
        assert known >= {pool.name for pool in pools}
    finally:
        live.stop()
