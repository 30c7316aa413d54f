"""A canary for some requests only, by header or cookie; all others are stable's, not counted."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from schemas.route import Audience, AudienceBy, Match, Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, rolled_back
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "audience"


def _for_beta(subject: Subject, by: AudienceBy, service: str, weight: float) -> Route:
    match = Match(by=by, name="x-beta", value="yes please")
    other = match.model_copy(update={"value": "staff"})
    audience = Audience(any_of=(match, other))
    return Route.split(service, OLD, NEW, near(subject, weight), generation=1, audience=audience)


async def test_the_weight_splits_the_audience_and_nobody_else(
    subject: Subject, by: AudienceBy
) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = _for_beta(subject, by, service, 100)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route

    for value, version in (("yes please", NEW), ("staff", NEW), ("yes", OLD)):
        got = await subject.call(service, USERS[:20], {(by, "x-beta"): value})
        assert shares(got) == {version: 1.0}, value
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}

    if subject.routing.counts is not None:  # only what the split sent there
        assert await subject.routing.counts.requests(service) == {OLD: 0, NEW: 40}


async def test_a_share_of_the_audience(subject: Subject, by: AudienceBy) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_for_beta(subject, by, service, 50))
    got = shares(await subject.call(service, USERS, {(by, "x-beta"): "staff"}))
    assert got[NEW] == pytest.approx(0.5, abs=0.15)
    assert shares(await subject.call(service, USERS)) == {OLD: 1.0}


async def test_after_a_rollback_the_audience_is_like_everybody(
    subject: Subject, by: AudienceBy
) -> None:
    service = await on_stable(subject, OLD, NEW)
    await subject.routing.router.apply(_for_beta(subject, by, service, 100))
    await subject.routing.router.apply(rolled_back(service, 2))
    got = await subject.call(service, USERS[:20], {(by, "x-beta"): "staff"})
    assert shares(got) == {OLD: 1.0}


async def test_without_it_the_route_is_refused_by_name(stranger: Subject, by: AudienceBy) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=f"{service}: .*audience by {by} x-beta: expected"):
        await stranger.routing.router.apply(_for_beta(stranger, by, service, 100))
    assert await stranger.routing.router.read(service) == before
