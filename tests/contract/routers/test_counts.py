"""Requests are counted when they start, and where they went."""

from __future__ import annotations

import pytest

from adapters.errors import UnknownRoute
from schemas.route import Route
from tests.contract.routers.routes import NEW, OLD, USERS, on_stable, shifted
from tests.contract.routers.subjects import Subject

CLAIM = "counts"


async def test_requests_are_counted_where_they_went(subject: Subject) -> None:
    service = await on_stable(subject, OLD, NEW)
    counts = subject.routing.counts
    assert counts is not None
    assert await counts.requests(service) == {OLD: 0, NEW: 0}
    await subject.routing.router.apply(shifted(subject, service, 30, 1))

    got = await subject.call(service, USERS)

    on_canary = sum(version == NEW for version in got.values())
    assert await counts.requests(service) == {OLD: len(USERS) - on_canary, NEW: on_canary}


@pytest.mark.parametrize("version", [f"sha256:{'ab' * 32}", "v1.3.0+build.7"])
async def test_any_version_is_counted_by_its_name(subject: Subject, version: str) -> None:
    service = await on_stable(subject, OLD, version)
    await subject.routing.router.apply(Route.split(service, OLD, version, 100, generation=1))
    await subject.call(service, USERS)
    counts = subject.routing.counts
    assert counts is not None
    assert await counts.requests(service) == {OLD: 0, version: len(USERS)}


async def test_an_unknown_service_is_an_error_by_name(subject: Subject) -> None:
    assert subject.routing.counts is not None
    with pytest.raises(UnknownRoute, match="nobody"):
        await subject.routing.counts.requests("nobody")
