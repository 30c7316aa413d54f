"""A canary for some requests only; all others are stable's, not counted."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from adapters.routers.memory.router import Asks
from schemas.audience import NAMED
from schemas.capabilities import untellable
from schemas.route import Audience, AudienceBy, Condition, How, Match, Route
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable, rolled_back, stable_of
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "audience"

NAME = "x-beta"
FEW = USERS[:5]


def _values(by: AudienceBy, service: str) -> tuple[str, str]:
    """Two values that a request may have."""
    values = {
        AudienceBy.PATH: ("/beta", "/staff/1"),
        AudienceBy.HOST: (f"{service}.local", f"{service}.other"),
        AudienceBy.METHOD: ("PUT", "DELETE"),
        AudienceBy.NETWORK: ("127.0.0.2/32", "127.0.0.3/32"),
        AudienceBy.QUERY: ("yes", "staff"),
    }
    return values.get(by, ("yes please", "staff"))


def _key(by: AudienceBy) -> tuple[AudienceBy, str]:
    named = by in {*NAMED, AudienceBy.CONTEXT}
    return by, NAME if named else ""


def _asks(by: AudienceBy, value: str) -> Asks:
    return {_key(by): value.partition("/32")[0]}


def _match(by: AudienceBy, value: str, how: How = How.EQUAL, *, negated: bool = False) -> Match:
    return Match(by=by, name=_key(by)[1], value=value, how=how, negated=negated)


def _for_beta(subject: Subject, by: AudienceBy, service: str, weight: float) -> Route:
    audience = Audience(any_of=tuple(_match(by, value) for value in _values(by, service)))
    old, weight = stable_of(subject), near(subject, weight)
    return Route.split(service, old, NEW, weight, generation=1, audience=audience)


async def _for(subject: Subject, service: str, *matches: Match) -> str:
    """Give all of an audience the canary, as far as the router can tell it; else why it can't."""
    audience = Audience(any_of=matches)
    old = stable_of(subject)
    route = Route.split(service, old, NEW, 100, generation=1, audience=audience)
    lacks = untellable(audience, subject.routing.capabilities)
    if lacks:
        with pytest.raises(Unsupported, match=f"{service}: .*expected"):
            await subject.routing.router.apply(route)
        return "; ".join(lacks)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route
    return ""


async def _version(subject: Subject, service: str, by: AudienceBy, value: str) -> str:
    asks = _asks(by, value) if value else {}
    (version,) = shares(await subject.call(service, FEW, asks))
    return version


async def test_the_weight_splits_the_audience_and_nobody_else(
    subject: Subject, by: AudienceBy
) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    route = _for_beta(subject, by, service, 100)
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route

    first, second = _values(by, service)
    asked = [first] if by is AudienceBy.HOST else [first, second]
    for value in asked:
        got = await subject.call(service, USERS[:20], _asks(by, value))
        assert shares(got) == {NEW: 1.0}, value
    if by in {*NAMED, AudienceBy.PATH, AudienceBy.CONTEXT}:
        beginning = await subject.call(service, USERS[:20], _asks(by, first[:-1]))
        assert shares(beginning) == {stable_of(subject): 1.0}
    assert shares(await subject.call(service, USERS)) == {stable_of(subject): 1.0}

    if subject.routing.counts is not None:  # only what the split sent there
        counted = {stable_of(subject): 0, NEW: 20 * len(asked)}
        assert await subject.routing.counts.requests(service) == counted


async def test_a_share_of_the_audience(subject: Subject, by: AudienceBy) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    await subject.routing.router.apply(_for_beta(subject, by, service, 50))
    got = shares(await subject.call(service, USERS, _asks(by, _values(by, service)[0])))
    assert got[NEW] == pytest.approx(0.5, abs=0.15)
    assert shares(await subject.call(service, USERS)) == {stable_of(subject): 1.0}


async def test_after_a_rollback_the_audience_is_like_everybody(
    subject: Subject, by: AudienceBy
) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    await subject.routing.router.apply(_for_beta(subject, by, service, 100))
    await subject.routing.router.apply(rolled_back(service, 2, stable_of(subject)))
    got = await subject.call(service, USERS[:20], _asks(by, _values(by, service)[0]))
    assert shares(got) == {stable_of(subject): 1.0}


async def test_a_network_is_compared_by_its_first_bits(subject: Subject, by: AudienceBy) -> None:
    if by is not AudienceBy.NETWORK:
        return
    service = await on_stable(subject, OLD, NEW)
    six = _match(by, "2001:db8::/32")
    assert not await _for(subject, service, six, _match(by, "127.0.0.8/29"))
    got = {last: await _version(subject, service, by, f"127.0.0.{last}") for last in (7, 8, 15, 16)}
    assert got == {7: OLD, 8: NEW, 15: NEW, 16: OLD}


async def test_by_how_a_value_begins(subject: Subject, by: AudienceBy) -> None:
    if by in {AudienceBy.METHOD, AudienceBy.NETWORK}:
        return  # they are compared whole
    service = await on_stable(subject, stable_of(subject), NEW)
    value = _values(by, service)[0]
    begins = value[: -2 if by is AudienceBy.HOST else -1]
    if refused := await _for(subject, service, _match(by, begins, How.PREFIX)):
        assert f"audience by a prefix of {by}" in refused
        return
    assert await _version(subject, service, by, value) == NEW
    assert await _version(subject, service, by, "") == stable_of(subject)


async def test_by_a_regular_expression_of_the_whole_value(subject: Subject, by: AudienceBy) -> None:
    if by in {AudienceBy.METHOD, AudienceBy.NETWORK}:
        return
    service = await on_stable(subject, stable_of(subject), NEW)
    value = _values(by, service)[0]
    pattern = f"{value[:2]}[a-z. 0-9-]*{value[-1]}"
    if refused := await _for(subject, service, _match(by, pattern, How.REGEX)):
        assert f"audience by a regular expression of {by}" in refused
        return
    assert await _version(subject, service, by, value) == NEW
    assert await _version(subject, service, by, "") == stable_of(subject)
    if by is not AudienceBy.HOST:
        assert await _version(subject, service, by, f"{value}_") == stable_of(subject)


async def test_those_who_do_not_have_it(subject: Subject, by: AudienceBy) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    value = _values(by, service)[0]
    if refused := await _for(subject, service, _match(by, value, negated=True)):
        assert f"audience by not {by}" in refused
        return
    assert await _version(subject, service, by, "") == NEW
    assert await _version(subject, service, by, value) == stable_of(subject)


async def test_all_conditions_have_to_fit(subject: Subject, by: AudienceBy) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    value = _values(by, service)[0]
    beside: AudienceBy = by if by is AudienceBy.CONTEXT else AudienceBy.HEADER
    group = Condition(by=beside, name="x-group", value="staff")
    match = _match(by, value).model_copy(update={"also": (group,)})
    if refused := await _for(subject, service, match):
        assert "expected one condition at a time" in refused
        return
    staff: dict[tuple[AudienceBy, str], str] = {(beside, "x-group"): "staff"}
    assert shares(await subject.call(service, FEW, {**_asks(by, value), **staff})) == {NEW: 1.0}
    assert shares(await subject.call(service, FEW, _asks(by, value))) == {stable_of(subject): 1.0}
    assert shares(await subject.call(service, FEW, staff)) == {stable_of(subject): 1.0}


async def test_alternatives_by_other_fields(subject: Subject, by: AudienceBy) -> None:
    service = await on_stable(subject, stable_of(subject), NEW)
    beside: AudienceBy = by if by is AudienceBy.CONTEXT else AudienceBy.HEADER
    value = _values(by, service)[0]
    staff = Match(by=beside, name="x-group", value="staff")
    if refused := await _for(subject, service, _match(by, value), staff):
        assert "expected values of the same fields" in refused
        return
    asks: dict[tuple[AudienceBy, str], str] = {(beside, "x-group"): "staff"}
    assert shares(await subject.call(service, FEW, asks)) == {NEW: 1.0}
    assert await _version(subject, service, by, value) == NEW
    assert await _version(subject, service, by, "") == stable_of(subject)


async def test_beside_a_version_that_can_not_be_it_is_refused(
    subject: Subject, by: AudienceBy
) -> None:
    only = subject.routing.capabilities.audience_terms.beside
    if not only:
        return
    service = await on_stable(subject, OLD, NEW)
    audience = Audience(any_of=(_match(by, _values(by, service)[0]),))
    route = Route.split(service, OLD, NEW, 100, generation=1, audience=audience)
    with pytest.raises(Unsupported, match=f"audience beside {OLD}: expected {only} for everybody"):
        await subject.routing.router.apply(route)


async def test_without_it_the_route_is_refused_by_name(stranger: Subject, by: AudienceBy) -> None:
    service = await on_stable(stranger, stable_of(stranger), NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=f"{service}: .*audience by {by}[^:]*: expected"):
        await stranger.routing.router.apply(_for_beta(stranger, by, service, 100))
    assert await stranger.routing.router.read(service) == before
