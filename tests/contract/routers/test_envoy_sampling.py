"""A real Envoy counts a sample of its users, which tells a wrong split from a heavy user."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pytest

from activities.observe import SampleRatioCheck
from adapters.ports import Routing
from adapters.routers.envoy.capabilities import CAPABILITIES
from adapters.routers.envoy.sampling import BUCKETS
from adapters.routers.files import write_whole
from analysis.sample_ratio import UNKNOWN
from schemas.route import Route
from schemas.verdict import SampleRatio
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller

USERS = [f"user-{number}" for number in range(1000)]


@pytest.fixture
async def service(envoy_subject: EnvoySubject) -> str:
    service = envoy_subject.put_up("1", "2")
    await envoy_subject.router.apply(await envoy_subject.router.register(service, "1"))
    return service


async def split(subject: EnvoySubject, service: str, weight: float) -> SampleRatioCheck:
    """Give the canary a weight, and begin to look."""
    route = Route.split(service, "1", "2", weight=weight, generation=1)
    await subject.router.apply(route)
    routing = Routing.of(subject.router, CAPABILITIES)
    check = SampleRatioCheck(routing, service, "2", weight, UNKNOWN)
    await check.look()
    return check


def disobey(subject: EnvoySubject, service: str) -> None:
    """Have Envoy split in halves, whatever the route says that it confirms."""
    path = subject.envoy.fleet.routes_path
    document = json.loads(path.read_text())
    for host in document["resources"][0]["virtual_hosts"]:
        for entry in host["routes"] if host["name"] == service else ():
            for cluster in entry["route"].get("weighted_clusters", {}).get("clusters", ()):
                cluster["weight"] = 4999 if "/" in cluster["name"] else 5001
    write_whole(path, document | {"version_info": "disobedient"})
    subject.envoy.wait_for("/config_dump?resource=dynamic_route_configs", '"weight": 4999')


async def call(subject: EnvoySubject, service: str, users: Iterable[str]) -> list[str]:
    async with Caller(subject.envoy.port, service) as caller:
        return [(await caller.get(x_user_id=user)).version for user in users]


async def counted(subject: EnvoySubject, service: str) -> Mapping[str, Mapping[str, int]]:
    return await subject.router.requests_by_user(service)


@pytest.mark.parametrize("weight", [5.0, 97.0])
async def test_a_split_that_half_obeys_is_found(
    envoy_subject: EnvoySubject, service: str, weight: float
) -> None:
    check = await split(envoy_subject, service, weight)
    disobey(envoy_subject, service)
    await call(envoy_subject, service, USERS * 5)
    assert await check.look() is SampleRatio.MISMATCH
    assert "the router confirmed" in check.sentence()


async def test_a_heavy_user_is_not_taken_for_it(envoy_subject: EnvoySubject, service: str) -> None:
    check = await split(envoy_subject, service, 5)
    versions = await call(envoy_subject, service, USERS)
    heavy = USERS[versions.index("2")]
    await call(envoy_subject, service, [*USERS * 2, *[heavy] * 2000])
    assert await check.look() is SampleRatio.EXPLAINED
    assert await check.look() is SampleRatio.EXPLAINED


async def test_all_requests_of_a_user_are_in_one_bucket(
    envoy_subject: EnvoySubject, service: str
) -> None:
    await split(envoy_subject, service, 50)
    async with Caller(envoy_subject.envoy.port, service) as caller:
        cookie = 'theme=dark; aviary-user="0123456789abcdef"; lang=de'
        by_cookie = {(await caller.get(cookie=cookie)).version for _ in range(200)}
    by_header = set(await call(envoy_subject, service, ["user-7"] * 200))
    assert len(by_cookie) == len(by_header) == 1
    assert 1 <= len(await counted(envoy_subject, service)) <= 2


async def test_requests_of_nobody_are_drawn_each_for_itself(
    envoy_subject: EnvoySubject, service: str
) -> None:
    """Also on one connection; were they not, they would have to be in one bucket."""
    check = await split(envoy_subject, service, 50)
    async with Caller(envoy_subject.envoy.port, service) as caller:
        got = [(await caller.get()).version for _ in range(3000)]
    assert 1200 < got.count("2") < 1800
    buckets = await counted(envoy_subject, service)
    assert len(buckets) > BUCKETS / 2
    assert 90 < sum(sum(versions.values()) for versions in buckets.values()) < 300
    assert await check.look() is SampleRatio.MATCH


async def test_who_asks_for_a_version_or_for_a_counter_is_not_counted(
    envoy_subject: EnvoySubject, service: str
) -> None:
    await split(envoy_subject, service, 50)
    async with Caller(envoy_subject.envoy.port, service) as caller:
        for _ in range(200):
            await caller.get(x_canary="always")
        assert await counted(envoy_subject, service) == {}
        for _ in range(20):
            await caller.get(x_envoy_upstream_alt_stat_name="mine", x_user_id="a")
    assert "mine" not in envoy_subject.envoy.ask("/stats?filter=mine")


async def test_of_what_is_counted_twice_only_the_requests_are_kept(
    envoy_subject: EnvoySubject, service: str
) -> None:
    await split(envoy_subject, service, 50)
    await call(envoy_subject, service, USERS[:300])
    text = envoy_subject.envoy.ask(f"/stats?filter={service}@[^.]*%5C.users-")
    kinds = {line.split(": ")[0].rsplit(".", 1)[1] for line in text.splitlines()}
    assert kinds == {"upstream_rq_completed"}
