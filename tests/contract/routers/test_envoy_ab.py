"""An A/B test on a real Envoy: equal halves of an audience, what they do, and who gets all."""

from __future__ import annotations

import asyncio
import math
from zlib import crc32

import pytest

from analysis.ab import AbTest
from analysis.evalues import Tally
from schemas.ab import HALF
from schemas.judging import JudgeSpec
from schemas.route import Audience, AudienceBy, Match, Route
from tests.contract.routers.routes import NEW, OLD, on_stable
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller, Load

STAFF = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-group", value="staff"),))
USERS = 4_000
AT_ONCE = 50
"""Users between two looks: what a look learns is bet on from the next on."""
CALLERS = 8


def _orders(user: str, version: str) -> bool:
    """Whether a user orders: 20 % of those on the old version, 40 % of those on the new one."""
    return crc32(user.encode()) % 100 < {OLD: 20, NEW: 40}[version]


async def _visits(port: int, service: str, users: range) -> dict[str, str]:
    """The version that each user gets, who is asked for it twice."""
    got: dict[str, str] = {}
    left = iter(users)

    async def visit() -> None:
        async with Caller(port, service) as caller:
            for number in left:
                first, second = [
                    await caller.get(x_user_id=f"user-{number}", x_group="staff") for _ in range(2)
                ]
                assert first.status == second.status == 200
                assert first.version == second.version
                got[f"user-{number}"] = first.version

    await asyncio.gather(*(visit() for _ in range(CALLERS)))
    return got


async def test_halves_are_equal_stay_and_show_which_version_is_better(
    envoy_subject: EnvoySubject,
) -> None:
    service = await on_stable(envoy_subject, OLD, NEW)
    router, port = envoy_subject.router, envoy_subject.envoy.port
    async with Load(port, service, 1) as load:
        route = Route.split(service, OLD, NEW, HALF, generation=1, audience=STAFF)
        await router.apply(route)
        before = await router.requests(service)
        test, seen = AbTest(JudgeSpec()), Tally(0.0, 0.0, 0.0, 0.0)
        got: dict[str, str] = {}
        for begin in range(0, USERS, AT_ONCE):
            met = await _visits(port, service, range(begin, begin + AT_ONCE))
            got |= met
            of = {one: [user for user, had in met.items() if had == one] for one in (OLD, NEW)}
            orders = {one: sum(_orders(user, one) for user in users) for one, users in of.items()}
            grown = Tally(orders[NEW], len(of[NEW]), orders[OLD], len(of[OLD]))
            seen = Tally(*(a + b for a, b in zip(seen, grown, strict=True)))
            test.take(seen, float(begin))
        counted = await router.requests(service)
        await router.apply(Route.split(service, NEW, generation=2))  # the winner gets all
        after = await _visits(port, service, range(200))
    share = sum(version == NEW for version in got.values())
    assert abs(share - USERS / 2) <= 4 * math.sqrt(USERS) / 2
    assert counted[NEW] - before[NEW] == 2 * share
    assert (test.more, test.odds >= test.threshold) == (True, True)
    assert set(after.values()) == {NEW}
    assert load.failed == {}
    assert seen.bad_c / seen.n_c == pytest.approx(0.4, abs=0.05)
