"""By what users stay with a version, where the strategy says it: and nothing else decides."""

from __future__ import annotations

import pytest

from adapters.errors import Unsupported
from schemas.route import AudienceBy, Route
from schemas.sticky import Sticky, StickyChoice
from tests.contract.routers.routes import NEW, OLD, USERS, near, on_stable
from tests.contract.routers.subjects import Subject
from tests.contract.routers.wire import shares

CLAIM = "sticky choice"

CHOICES = {
    StickyChoice.HEADER: {"user": {"header": "x-account"}},
    StickyChoice.COOKIE: {"user": {"cookie": "account"}},
    StickyChoice.SESSION: {"session": {"cookie": "shop"}},
    StickyChoice.ADDRESS: "address",
    StickyChoice.NOTHING: "nothing",
}
SAYS = {StickyChoice.HEADER: AudienceBy.HEADER, StickyChoice.COOKIE: AudienceBy.COOKIE}
NAMES = {StickyChoice.HEADER: "x-account", StickyChoice.COOKIE: "account"}


def _half(subject: Subject, service: str, choice: StickyChoice) -> Route:
    sticky = Sticky.model_validate(CHOICES[choice])
    weight = near(subject, 50)
    return Route.split(service, OLD, NEW, weight, generation=1, sticky=sticky)


@pytest.mark.parametrize("choice", list(StickyChoice))
async def test_what_the_strategy_says_decides_and_else_it_is_refused(
    subject: Subject, choice: StickyChoice
) -> None:
    service = await on_stable(subject, OLD, NEW)
    route = _half(subject, service, choice)
    if choice not in subject.routing.capabilities.sticky_choices:
        with pytest.raises(Unsupported, match=f"sticky by {choice}: expected"):
            await subject.routing.router.apply(route)
        return
    assert (await subject.routing.router.apply(route)).route == route
    assert await subject.routing.router.read(service) == route
    if choice in SAYS:
        of_one = []
        for account in USERS[:12]:
            got = await subject.call(service, USERS[:8], {(SAYS[choice], NAMES[choice]): account})
            of_one.append(shares(got))
        assert all(len(one) == 1 for one in of_one), "an account is on both versions"
        assert len({next(iter(one)) for one in of_one}) == 2
    elif choice is StickyChoice.ADDRESS:
        assert len(shares(await subject.call(service, USERS[:30]))) == 1
    else:
        seen = {next(iter(shares(await subject.call(service, ["one"])))) for _ in range(40)}
        assert seen == {OLD, NEW}


async def test_without_it_the_route_is_refused_by_name(stranger: Subject) -> None:
    service = await on_stable(stranger, OLD, NEW)
    before = await stranger.routing.router.read(service)
    with pytest.raises(Unsupported, match=f"{service}: .*sticky by header: expected what the"):
        await stranger.routing.router.apply(_half(stranger, service, StickyChoice.HEADER))
    assert await stranger.routing.router.read(service) == before
