"""Several audiences, each with a weight of its own: who is in several has the largest."""

from __future__ import annotations

from typing import Final

import pytest

from adapters.errors import Unsupported
from adapters.routers.memory.router import Asks
from schemas.route import Audience, AudienceBy, AudienceShare, Match, Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, rolled_back
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "kept audiences"

STAFF: Final = ("x-group", "staff")
BETA: Final = ("x-beta", "yes")


def _by(subject: Subject) -> AudienceBy:
    """Headers, or what the router has in their place."""
    each = subject.routing.capabilities.audiences
    return AudienceBy.HEADER if AudienceBy.HEADER in each or not each else each[0]


def _asks(subject: Subject, *said: tuple[str, str]) -> Asks:
    return {(_by(subject), name): value for name, value in said}


def _audience(subject: Subject, said: tuple[str, str]) -> Audience:
    name, value = said
    return Audience(any_of=(Match(by=_by(subject), name=name, value=value),))


def _grown(subject: Subject, service: str, generation: int = 1) -> Route:
    """All of the staff, half of the others that want it, one in ten of everybody else."""
    return Route.split(
        service,
        OLD,
        NEW,
        near(subject, 10),
        generation=generation,
        kept=(
            AudienceShare(audience=_audience(subject, BETA), weight=near(subject, 50)),
            AudienceShare(audience=_audience(subject, STAFF), weight=100),
        ),
    )


async def test_each_audience_has_its_own_weight_and_only_the_last_is_counted(
    subject: Subject,
) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = _grown(subject, service)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route

    assert shares(await subject.call(service, USERS[:50], _asks(subject, STAFF))) == {NEW: 1.0}
    assert shares(await subject.call(service, USERS[:50], _asks(subject, STAFF, BETA))) == {
        NEW: 1.0
    }
    some = shares(await subject.call(service, USERS, _asks(subject, BETA)))
    assert some[NEW] == pytest.approx(0.5, abs=0.15)
    few = shares(await subject.call(service, USERS))
    assert few[NEW] == pytest.approx(0.1, abs=0.08)
    if subject.routing.counts is not None:
        counted = {version: round(share * len(USERS)) for version, share in few.items()}
        assert await subject.routing.counts.requests(service) == counted


async def test_who_is_on_the_canary_stays_while_audiences_are_added(subject: Subject) -> None:
    if not subject.routing.capabilities.sticky:
        return
    service = await on_stable(subject, OLD, NEW)
    router = subject.routing.router
    staff, beta = _audience(subject, STAFF), _audience(subject, BETA)
    way = (
        Route.split(service, OLD, NEW, near(subject, 30), generation=1, audience=staff),
        Route.split(
            service,
            OLD,
            NEW,
            near(subject, 50),
            generation=2,
            audience=beta,
            kept=(AudienceShare(audience=staff, weight=near(subject, 30)),),
        ),
        _grown(subject, service, generation=3),
    )
    before: set[tuple[int, str]] = set()
    for route in way:
        await router.apply(route)
        now = {
            (at, user)
            for at, said in enumerate(((), (STAFF,), (BETA,), (STAFF, BETA)))
            for user, version in (
                await subject.call(service, USERS[:60], _asks(subject, *said))
            ).items()
            if version == NEW
        }
        assert before <= now, f"{len(before - now)} went back to stable"
        before = now


async def test_after_a_rollback_nobody_is_kept(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_grown(subject, service))
    await subject.routing.router.apply(rolled_back(service, 2))
    assert shares(await subject.call(service, USERS[:20], _asks(subject, STAFF))) == {OLD: 1.0}


async def test_without_it_the_route_is_refused_by_name(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=f"{service}: .*3 audiences at once: expected one"):
        await stranger.routing.router.apply(_grown(stranger, service))
    assert await stranger.routing.router.read(service) == before
