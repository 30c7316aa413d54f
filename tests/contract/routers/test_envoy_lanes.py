"""Lanes through a real chain of services behind a real Envoy: who crosses, and who is counted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from activities.observe import RouterCheck, SampleRatioCheck, SampleRatioChecks
from schemas.lane import Lane, LaneSpec
from schemas.lane_counts import LaneCounts, seen_of
from schemas.route import Route
from tests.contract.routers.chain import Hops, linked
from tests.contract.routers.routes import NEW, OLD, on_route
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller, Recorder

SPECS = (LaneSpec(), LaneSpec(header="x-lane"))
RUN = "0198c0de-0000-7000-8123-456789abcdef"
LONG = 4
"""Services of the chain."""
USER = "x-user-id"
AT = datetime(2026, 1, 1, tzinfo=UTC)
CALLERS = 8


class Chain:
    """Services of which each calls the next through Envoy, and users of the first."""

    def __init__(self, subject: EnvoySubject, services: list[str], lane: Lane) -> None:
        self._subject = subject
        self._lane = lane
        self._generation = 0
        self.services = services

    async def weigh(self, *weights: float) -> None:
        """Give each canary a weight, the last of the chain first; 0 takes it back."""
        self._generation += 1
        both = list(zip(self.services, weights, strict=True))
        for service, weight in reversed(both):
            route = Route.split(service, OLD, generation=self._generation)
            if weight:
                route = Route.split(
                    service, OLD, NEW, weight, generation=self._generation, lane=self._lane
                )
            await self._subject.router.apply(route)

    async def send(self, count: int, first: int = 0) -> Counter[str]:
        """Send requests of as many users; which versions each met, one letter a service."""
        met: Counter[str] = Counter()
        users = iter(range(first, first + count))

        async def call() -> None:
            hops = Hops(self._subject.envoy.port, self.services[0])
            for user in users:
                status, path = await hops.ask([f"{USER}: user-{user}"])
                met[path if status == 200 else str(status)] += 1
            await hops.aclose()

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        return met


@asynccontextmanager
async def chain(subject: EnvoySubject, spec: LaneSpec, *passes_on: str) -> AsyncIterator[Chain]:
    lane = spec.of("shop-1", RUN)
    services = [subject.envoy.add_service() for _ in range(LONG)]
    async with AsyncExitStack() as stack:
        headers = frozenset({USER, *passes_on})
        ports = await linked(stack, subject.envoy.port, services, headers)
        for service, (old, new) in ports.items():
            await asyncio.to_thread(subject.envoy.add_version, service, OLD, old)
            await asyncio.to_thread(subject.envoy.add_version, service, NEW, new)
            await on_route(subject, service, OLD)
        yield Chain(subject, services, lane)


def crossed(met: Counter[str], *without: int) -> int:
    """Requests that were on a canary and then on stable, of a service that has a canary."""
    left = {path: [one for at, one in enumerate(path) if at not in without] for path in met}
    return sum(count for path, count in met.items() if "no" in "".join(left[path]))


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.long)])
async def test_no_request_crosses_while_weights_move_and_one_service_goes_back(
    envoy_subject: EnvoySubject, count: int
) -> None:
    async with chain(envoy_subject, LaneSpec(), "baggage") as services:
        await services.weigh(20, 5, 50, 1)
        met = await services.send(count // 4)
        assert crossed(met) == 0, met
        assert met["nnnn"] == pytest.approx(0.2 * count / 4, abs=0.1 * count / 4)
        assert met["oooo"] > 0

        sending = asyncio.create_task(services.send(count // 2, count))
        for weights in ((30, 10, 60, 5), (5, 50, 20, 60), (60, 1, 1, 30)):
            await services.weigh(*weights)
        await services.weigh(60, 1, 0, 30)
        moved = await sending
        assert crossed(moved, 2) == 0, moved

        after = await services.send(count // 4, 2 * count)
        assert {path[2] for path in after} == {"o"}
        assert crossed(after, 2) == 0, after
        assert after["nnon"] == pytest.approx(0.6 * count / 4, abs=0.1 * count / 4)
        assert not any(path.isdigit() for path in met | moved | after), "none failed"


async def test_without_the_lane_passed_on_each_service_decides_by_its_hash(
    envoy_subject: EnvoySubject,
) -> None:
    async with chain(envoy_subject, LaneSpec()) as services:
        await services.weigh(50, 20, 20, 20)
        met = await services.send(400)
        assert crossed(met) == pytest.approx(0.3 * 400, abs=60)
        # One hash of the user for all of them: with one weight nobody crosses, lane or not.
        await services.weigh(20, 20, 20, 20)
        assert set(await services.send(400, 400)) == {"nnnn", "oooo"}
        assert {await _carried(envoy_subject, one) for one in services.services} == {0}


async def _carried(subject: EnvoySubject, service: str) -> int:
    """Requests that came to a service with the lane, as Envoy counts them."""
    name = f"vhost.{service}.route.lane.upstream_rq_total"
    answer = await asyncio.to_thread(subject.envoy.ask, f"/stats?format=json&filter=^{name}$")
    found = {one["name"]: one["value"] for one in json.loads(answer)["stats"] if "name" in one}
    count: int = found[name]
    assert count == await subject.router.requests_in_lane(service)
    return count


@pytest.mark.parametrize("passes_on", [("baggage",), ()])
async def test_what_is_told_to_have_crossed_is_what_did(
    envoy_subject: EnvoySubject, passes_on: tuple[str, ...]
) -> None:
    weights = (60, 20, 20, 10)
    async with chain(envoy_subject, LaneSpec(), *passes_on) as services:
        await services.weigh(*weights)
        checks = [
            RouterCheck("", SampleRatioCheck(routing, one, NEW, weight, in_lane=True), AT)
            for routing in [envoy_subject.routing]
            for one, weight in zip(services.services, weights, strict=True)
        ]
        counting = [SampleRatioChecks([one]) for one in checks]
        await asyncio.gather(*(one.look(AT) for one in counting))
        met = await services.send(400)
        await asyncio.gather(*(one.look(AT + timedelta(minutes=1)) for one in counting))
        names = services.services
        counts = {
            name: [one.lane(weight)]
            for name, one, weight in zip(names, counting, weights, strict=True)
        }
        in_front = {name: names[:at] for at, name in enumerate(names)}
        told = seen_of(cast("dict[str, list[LaneCounts]]", counts), in_front)
    assert told[names[0]].came == 0
    assert told[names[0]].given == sum(count for path, count in met.items() if path[0] == "n")
    if passes_on:
        assert {one.lost for one in told.values()} == {0}
        assert told[names[3]].came > 0.5 * 400
        return
    assert {one.came for one in told.values()} == {0}
    second = sum(count for path, count in met.items() if path.startswith("no"))
    assert told[names[1]].crossed_least == pytest.approx(second, abs=30)
    assert told[names[1]].crossed_most > second - 30
    assert told[names[1]].of == (names[0],)


async def test_envoy_counts_what_comes_with_the_lane(envoy_subject: EnvoySubject) -> None:
    async with chain(envoy_subject, LaneSpec(), "baggage") as services:
        await services.weigh(50, 1, 1, 1)
        met = await services.send(100)
        # It is given at the first, and comes with each request to the others.
        on_lane = met["nnnn"]
        later = sum(count for path, count in met.items() if path.startswith("on"))
        counts = [await _carried(envoy_subject, one) for one in services.services]
        assert counts[:2] == [0, on_lane]
        assert counts[2] == on_lane + later


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("brought", ["", " ", "a=b;c=d, e=f"])
async def test_the_canary_is_given_the_lane_once_beside_what_there_was(
    envoy_subject: EnvoySubject, spec: LaneSpec, brought: str
) -> None:
    lane = spec.of("shop-1", RUN)
    async with Recorder(OLD) as old, Recorder(NEW) as new:
        service = envoy_subject.envoy.add_service()
        envoy_subject.envoy.add_version(service, OLD, old.port)
        envoy_subject.envoy.add_version(service, NEW, new.port)
        await on_route(envoy_subject, service, OLD)
        route = Route.split(service, OLD, NEW, 50, generation=1, lane=lane)
        await envoy_subject.router.apply(route)
        async with Caller(envoy_subject.envoy.port, service) as caller:
            for number in range(20):
                headers = {lane.header: brought} if brought else {}
                await caller.send("GET", x_user_id=f"user-{number}", **headers)
            await caller.send("GET", x_user_id="u", **{lane.header: f"k=v,{lane.member}"})
        kept = brought.strip()
        wanted = f"{kept},{lane.member}" if kept else lane.member
        ours = [one.headers for one in new.got if USER in one.headers]
        assert [one[lane.header] for one in ours] == [
            *[wanted] * (len(ours) - 1),
            f"k=v,{lane.member}",
        ]
        theirs = [one.headers for one in old.got if USER in one.headers]
        assert {one.get(lane.header, "") for one in theirs} == {kept}
        assert len(ours) > 1
