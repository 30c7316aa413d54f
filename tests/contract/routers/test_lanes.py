"""The lane of a release: who has it gets the canary, at any weight above 0, and nobody else."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from adapters.routers.memory.router import Asks
from schemas.lane import LaneSpec
from schemas.route import Audience, AudienceBy, Match, Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, rolled_back
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "lanes"

SPECS = (LaneSpec(), LaneSpec(header="X-Lane"))
RUN = "0198c0de-0000-7000-8123-456789abcdef"
SOME = USERS[:60]
STAFF = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-group", value="staff"),))


def _lane(spec: LaneSpec, value: str) -> Asks:
    return {(AudienceBy.HEADER, "baggage" if spec.header is None else "x-lane"): value}


def _at(subject: Subject, service: str, weight: float, spec: LaneSpec) -> Route:
    weight = near(subject, weight)
    return Route.split(
        service, OLD, NEW, weight, generation=int(weight) + 1, lane=spec.of("shop-1", RUN)
    )


@pytest.mark.parametrize("spec", SPECS)
async def test_who_has_the_lane_gets_the_canary_at_any_weight_above_0(
    subject: Subject, spec: LaneSpec
) -> None:
    service = await on_stable(subject, OLD, NEW)
    router, member = subject.routing.router, spec.of("shop-1", RUN).member
    for weight, mine in ((0, OLD), (1, NEW), (50, NEW), (100, NEW)):
        route = _at(subject, service, weight, spec)
        assert (await router.apply(route)).route == route
        assert await router.read(service) == route
        for value in (member, f"a=b, {member}", f"{member},a=b;c", f"a=b,{member}, d=e"):
            assert shares(await subject.call(service, SOME, _lane(spec, value))) == {mine: 1.0}
    await router.apply(rolled_back(service, 200))
    assert shares(await subject.call(service, SOME, _lane(spec, member))) == {OLD: 1.0}


@pytest.mark.parametrize("spec", SPECS)
async def test_who_has_another_lane_or_none_is_split_as_ever(
    subject: Subject, spec: LaneSpec
) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_at(subject, service, 50, spec))
    lane = spec.of("shop-1", RUN)
    plain = await subject.call(service, SOME)
    assert set(plain.values()) == {OLD, NEW}
    other = spec.of("shop-1", RUN.replace("f", "0")).member
    for value in (
        other,
        f"{lane.member}0",
        f"x{lane.member}",
        f"a=b;{lane.member}",
        lane.name.replace(".", "x"),
        lane.member.upper(),
    ):
        assert await subject.call(service, SOME, _lane(spec, value)) == plain, value


async def test_the_lane_reaches_those_outside_of_the_audience_who_are_counted_apart(
    subject: Subject,
) -> None:
    service = await on_stable(subject, OLD, NEW)
    lane = LaneSpec().of("shop-1", RUN)
    route = Route.split(
        service, OLD, NEW, near(subject, 50), generation=1, audience=STAFF, lane=lane
    )
    await subject.routing.router.apply(route)
    asks = _lane(LaneSpec(), lane.member)
    assert shares(await subject.call(service, SOME)) == {OLD: 1.0}
    assert shares(await subject.call(service, SOME, asks)) == {NEW: 1.0}
    assert subject.routing.counts is not None
    assert sum((await subject.routing.counts.requests(service)).values()) == 0
    staff = {**asks, (AudienceBy.HEADER, "x-group"): "staff"}
    assert shares(await subject.call(service, SOME, staff)) == {NEW: 1.0}
    assert (await subject.routing.counts.requests(service))[NEW] == len(SOME)


async def test_what_comes_with_the_lane_is_counted_and_nothing_else(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    router, counted = subject.routing.router, subject.routing.lanes
    assert counted is not None
    await router.apply(_at(subject, service, 50, LaneSpec()))
    member = LaneSpec().of("shop-1", RUN).member
    before = await counted.requests_in_lane(service)
    await subject.call(service, SOME)
    await subject.call(service, SOME, _lane(LaneSpec(), f"x{member}"))
    assert await counted.requests_in_lane(service) == before
    await subject.call(service, SOME, _lane(LaneSpec(), member))
    assert await counted.requests_in_lane(service) == before + len(SOME)
    assert await counted.requests_in_lane("nobody") == 0
    # They are users' requests, too: of each version, all are counted.
    assert subject.routing.counts is not None
    assert sum((await subject.routing.counts.requests(service)).values()) == 3 * len(SOME)


async def test_who_asks_for_stable_gets_it_in_the_lane_too(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_at(subject, service, 50, LaneSpec()))
    asks = _lane(LaneSpec(), LaneSpec().of("shop-1", RUN).member)
    never = {**asks, (AudienceBy.HEADER, "x-canary"): "never"}
    assert shares(await subject.call(service, SOME, never)) == {OLD: 1.0}


async def test_without_it_the_route_is_refused_by_name(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=rf"{service}: .*lane shop-1\.8123456789abcdef: expected"):
        await stranger.routing.router.apply(_at(stranger, service, 100, LaneSpec()))
    assert await stranger.routing.router.read(service) == before
