"""What a real Envoy copies: how much, of which methods, with which mark, and what users notice."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest

from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.contract.routers.routes import NEW, OLD, on_route
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.test_mirroring import copies_of
from tests.contract.routers.wire import BAD, CUT, Caller, Load, Recorder

FEW = 40


def mirrored(
    service: str,
    share: float = 100,
    generation: int = 1,
    *,
    to: str = NEW,
    writes: bool = False,
    audience: Audience | None = None,
) -> Route:
    """As a canary has it: no weight, and copies."""
    mirror = Mirror(version=to, share=share, writes=writes)
    return Route.split(service, OLD, to, generation=generation, mirror=mirror, audience=audience)


async def put_up(subject: EnvoySubject, **instances: int) -> str:
    """A service with a port for each version, all on the old one."""
    service = subject.envoy.add_service()
    for version, port in instances.items():
        subject.envoy.add_version(service, version, port)
    await on_route(subject, service, OLD)
    return service


async def send(port: int, service: str, count: int, method: str = "GET", **headers: str) -> None:
    """Send requests of as many users, each of which must be answered."""
    async with Caller(port, service) as caller:
        for number in range(count):
            answer = await caller.send(
                method, x_user_id=f"user-{number}", content_length="0", **headers
            )
            assert answer.status == 200, answer


async def test_a_copy_is_marked_and_asks_for_no_canary_downstream(
    envoy_subject: EnvoySubject,
) -> None:
    async with Recorder(OLD) as old, Recorder(NEW) as new:
        service = await put_up(envoy_subject, **{OLD: old.port, NEW: new.port})
        await envoy_subject.router.apply(mirrored(service))
        await send(envoy_subject.envoy.port, service, FEW, x_trace="7")
        await new.until(FEW)
    marks = {(one.headers.get("x-aviary-mirror"), one.headers["x-canary"]) for one in new.got}
    assert marks == {("true", "never")}
    assert {one.headers["host"] for one in new.got} == {service}, "the copy is like the request"
    assert {one.headers["x-trace"] for one in new.got} == {"7"}
    users = [one for one in old.got if "x-user-id" in one.headers]
    assert len(users) == FEW
    assert not any({"x-aviary-mirror", "x-canary"} & one.headers.keys() for one in users)


@pytest.mark.parametrize(
    ("method", "writes"),
    [("POST", False), ("PUT", False), ("PATCH", False), ("DELETE", False), ("POST", True)],
)
async def test_what_changes_something_is_copied_only_where_the_service_can_take_it(
    envoy_subject: EnvoySubject, method: str, writes: bool
) -> None:
    async with Recorder(OLD) as old, Recorder(NEW) as new:
        service = await put_up(envoy_subject, **{OLD: old.port, NEW: new.port})
        await envoy_subject.router.apply(mirrored(service, writes=writes))
        port = envoy_subject.envoy.port
        await send(port, service, FEW, method)
        await send(port, service, FEW)
        await new.until(FEW * (1 + writes))
        await asyncio.sleep(0)
    expected = {"GET": FEW, method: FEW} if writes else {"GET": FEW}
    assert Counter(one.method for one in new.got if "x-user-id" in one.headers) == expected
    assert Counter(one.method for one in old.got if "x-user-id" in one.headers)[method] == FEW


async def test_what_a_copy_causes_goes_to_stable_is_not_counted_and_not_copied(
    envoy_subject: EnvoySubject,
) -> None:
    async with Recorder(OLD) as old, Recorder(NEW) as new:
        service = await put_up(envoy_subject, **{OLD: old.port, NEW: new.port})
        half = Route.split(
            service, OLD, NEW, 50, generation=1, mirror=Mirror(version=NEW, share=100)
        )
        await envoy_subject.router.apply(half)
        await send(envoy_subject.envoy.port, service, FEW, x_aviary_mirror="true")
        counts = await envoy_subject.router.requests(service)
        copies = await envoy_subject.copies(service)
    assert counts == {OLD: 0, NEW: 0}
    assert copies.get(NEW, 0) == 0
    assert sum("x-user-id" in one.headers for one in old.got) == FEW


@pytest.mark.parametrize("version", [BAD, CUT])
async def test_users_notice_nothing_of_a_version_that_fails_every_copy(
    envoy_subject: EnvoySubject, version: str
) -> None:
    service = envoy_subject.put_up(OLD, version)
    await on_route(envoy_subject, service, OLD)
    async with Load(envoy_subject.envoy.port, service, between=0) as load:
        await envoy_subject.router.apply(mirrored(service, to=version))
        await load.until(400)
    assert not load.failed
    assert set(load.outcomes) == {(200, OLD)}


async def test_a_mirror_of_an_audience_copies_others_too(envoy_subject: EnvoySubject) -> None:
    """No user gets the version, whoever it will be for: the copies are of all requests."""
    staff = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-group", value="staff"),))
    service = envoy_subject.put_up(OLD, NEW)
    await on_route(envoy_subject, service, OLD)
    await envoy_subject.router.apply(mirrored(service, audience=staff))
    port = envoy_subject.envoy.port
    await send(port, service, FEW)
    await send(port, service, FEW, x_group="staff")
    assert (await envoy_subject.copies(service))[OLD] == FEW, "those outside are counted apart"
    found = await copies_of(envoy_subject, service, 2 * FEW)
    assert found == 2 * FEW


async def test_of_ten_thousand_requests_a_quarter_is_copied_and_a_switch_fails_none(
    envoy_subject: EnvoySubject,
) -> None:
    """A mirror, one switch of all users, and back, under load: what each costs them is nothing."""
    service = envoy_subject.put_up(OLD, NEW)
    await on_route(envoy_subject, service, OLD)
    apply = envoy_subject.router.apply
    async with Load(envoy_subject.envoy.port, service, callers=8, between=0) as load:
        await apply(mirrored(service, 25))
        before = (await envoy_subject.router.requests(service))[OLD]
        copied = (await envoy_subject.copies(service)).get(NEW, 0)
        await load.until(5000)
        seen = (await envoy_subject.router.requests(service))[OLD] - before
        copied = (await envoy_subject.copies(service))[NEW] - copied
        assert (await envoy_subject.router.requests(service))[NEW] == 0, "no user saw it"
        await apply(Route.split(service, OLD, NEW, 100, generation=2))
        await load.until(2500)
        await apply(Route.split(service, OLD, generation=3))
        await load.until(2500)
    expected = seen / 4
    assert abs(copied - expected) < 5 * math.sqrt(expected * 3 / 4) + 16  # what was under way
    assert not load.failed
    assert load.outcomes.total() >= 10_000
    assert load.outcomes[200, NEW] > 1000
