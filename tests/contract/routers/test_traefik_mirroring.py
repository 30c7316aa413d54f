"""What a real Traefik copies, and of which methods."""

from __future__ import annotations

import pytest

from schemas.route import Audience, AudienceBy, Match, Mirror, Route
from tests.contract.routers.routes import NEW, OLD, on_stable
from tests.contract.routers.subjects import TraefikSubject
from tests.contract.routers.test_mirroring import copies_of
from tests.contract.routers.wire import Caller

FEW = 30
STAFF = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-group", value="staff"),))


@pytest.fixture(params=["traefik-file", "traefik-etcd"])
def traefik(request: pytest.FixtureRequest) -> TraefikSubject:
    found: TraefikSubject = request.getfixturevalue(f"{request.param}_subject")
    return found


@pytest.mark.parametrize("audience", [None, STAFF])
async def test_what_changes_something_is_not_copied_unless_the_service_can_take_it(
    traefik: TraefikSubject, audience: Audience | None
) -> None:
    service = await on_stable(traefik, OLD, NEW)
    expected = 0
    for generation, writes in ((1, False), (2, True)):
        mirror = Mirror(version=NEW, share=100, writes=writes, unmarked=True)
        await traefik.router.apply(
            Route.split(service, OLD, NEW, generation=generation, mirror=mirror, audience=audience)
        )
        async with Caller(traefik.traefik.port, service) as caller:
            for _ in range(FEW):
                for method in ("POST", "DELETE", "GET"):  # the last is copied last
                    answer = await caller.send(method, content_length="0", x_group="staff")
                    assert (answer.status, answer.version) == (200, OLD)
            assert (await caller.send("POST", content_length="0")).version == OLD
        expected += FEW * (3 if writes else 1) + writes
        assert await copies_of(traefik, service, expected) == expected
