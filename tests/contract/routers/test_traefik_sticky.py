"""What keeps a user on a version, on a real Traefik: nothing, an address, or a cookie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import httpx
import pytest

from activities.observe import SampleRatioCheck
from adapters.ports import Routing
from adapters.routers.traefik import TRAEFIK_FILE, TraefikFileOptions
from adapters.routers.traefik.capabilities import FILE, Sticky, kept
from adapters.routers.traefik.document import Entrance
from adapters.routers.traefik.file import FileStore
from adapters.routers.traefik.pace import Pace
from adapters.routers.traefik.router import TraefikRouter
from analysis.sample_ratio import ONE_BY_ONE, PINNED
from schemas.route import Route
from schemas.verdict import SampleRatio
from tests.contract.routers.live_traefik import LiveTraefik
from tests.contract.routers.routes import NEW, OLD, on_stable, shifted
from tests.contract.routers.subjects import TraefikSubject
from tests.contract.routers.wire import Caller

ADDRESSES = [f"127.0.{net}.{host}" for net in (3, 77) for host in range(1, 201)]
PACE = Pace(confirm_within=20.0, answer_within=5.0)


def routing(
    live: LiveTraefik, store: FileStore, client: httpx.AsyncClient, sticky: Sticky
) -> TraefikSubject:
    router = TraefikRouter(
        store,
        [live.api_url],
        client=client,
        can=kept(FILE, sticky),
        pace=PACE,
        entrance=Entrance(sticky=sticky),
    )
    subject = TraefikSubject(live, store, router)
    subject.routing = Routing.of(router, kept(FILE, sticky))
    return subject


@pytest.fixture
def by_address(
    traefik_on_files: LiveTraefik, file_store: FileStore, client: httpx.AsyncClient
) -> TraefikSubject:
    return routing(traefik_on_files, file_store, client, Sticky.ADDRESS)


@pytest.fixture
def by_cookie(
    traefik_on_files: LiveTraefik, file_store: FileStore, client: httpx.AsyncClient
) -> TraefikSubject:
    return routing(traefik_on_files, file_store, client, Sticky.COOKIE)


async def from_addresses(subject: TraefikSubject, service: str) -> set[str]:
    """The addresses that get the canary."""
    found = set()
    for address in ADDRESSES:
        async with Caller(subject.traefik.port, service, address) as caller:
            if (await caller.get()).version == NEW:
                found.add(address)
    return found


async def test_addresses_stay_on_a_growing_canary_and_come_back_as_they_came(
    by_address: TraefikSubject,
) -> None:
    service = await on_stable(by_address, OLD, NEW)
    seen: dict[float, set[str]] = {}
    for generation, weight in enumerate((0, 5, 20, 50, 100), start=1):
        await by_address.router.apply(shifted(by_address, service, weight, generation))
        seen[weight] = await from_addresses(by_address, service)
        assert seen[weight] >= max(seen.values(), key=len)
        assert len(seen[weight]) / len(ADDRESSES) == pytest.approx(weight / 100, abs=0.1)
    assert seen[0] == set()
    assert seen[5] != set(), "names that differ in one character are hashed apart"
    await by_address.router.apply(shifted(by_address, service, 20, 9))
    assert await from_addresses(by_address, service) == seen[20]


class Browsers:
    """Users who keep the cookies that they are given."""

    def __init__(self, users: Iterable[str]) -> None:
        self._cookies = dict.fromkeys(users, "")

    async def call(self, subject: TraefikSubject, service: str) -> Mapping[str, str]:
        """The version of each."""
        got = {}
        async with Caller(subject.traefik.port, service) as caller:
            for user, cookie in self._cookies.items():
                answer = await caller.get(cookie=cookie or "none=1")
                assert answer.status == 200
                given = answer.headers.get("set-cookie", "").partition(";")[0]
                self._cookies[user] = given or cookie
                got[user] = answer.version
        return got


def on_canary(got: Mapping[str, str]) -> set[str]:
    return {user for user, version in got.items() if version == NEW}


async def test_a_cookie_keeps_users_until_their_version_has_nothing(
    by_cookie: TraefikSubject,
) -> None:
    service = await on_stable(by_cookie, OLD, NEW)
    browsers = Browsers(str(number) for number in range(60))
    assert on_canary(await browsers.call(by_cookie, service)) == set()

    await by_cookie.router.apply(shifted(by_cookie, service, 50, 1))
    first = on_canary(await browsers.call(by_cookie, service))
    assert 25 <= len(first) <= 35, "who came before the canary was given no cookie"

    await by_cookie.router.apply(shifted(by_cookie, service, 5, 2))
    assert on_canary(await browsers.call(by_cookie, service)) == first, "a smaller weight: all stay"
    await by_cookie.router.apply(shifted(by_cookie, service, 95, 3))
    assert on_canary(await browsers.call(by_cookie, service)) == first, "a larger one: nobody comes"

    await by_cookie.router.apply(shifted(by_cookie, service, 0, 4))
    assert on_canary(await browsers.call(by_cookie, service)) == set(), "nobody at nothing"
    await by_cookie.router.apply(shifted(by_cookie, service, 100, 5))
    assert len(on_canary(await browsers.call(by_cookie, service))) == 60

    # The cookie is this canary's: the next one draws everybody anew.
    await by_cookie.router.apply(Route.split(service, NEW, OLD, 50, generation=6))
    assert 25 <= len(on_canary(await browsers.call(by_cookie, service))) <= 35


@pytest.mark.parametrize(
    ("crowd", "found"),
    [(PINNED, SampleRatio.EXPLAINED), (ONE_BY_ONE, SampleRatio.MISMATCH)],
    ids=["as claimed", "as if drawn anew"],
)
async def test_the_share_check_knows_who_stays(
    by_cookie: TraefikSubject, crowd: object, found: SampleRatio
) -> None:
    service = await on_stable(by_cookie, OLD, NEW)
    browsers = Browsers(str(number) for number in range(400))
    await by_cookie.router.apply(shifted(by_cookie, service, 50, 1))
    await browsers.call(by_cookie, service)
    await by_cookie.router.apply(shifted(by_cookie, service, 5, 2))
    chosen = PINNED if crowd == PINNED else ONE_BY_ONE
    check = SampleRatioCheck(by_cookie.routing, service, NEW, 5, chosen)
    await check.look()
    for _ in range(3):
        await browsers.call(by_cookie, service)

    assert await check.look() is found
    if found is SampleRatio.EXPLAINED:
        assert "users stay with what they were given at another weight" in check.remark()


def test_what_is_claimed_is_what_was_chosen() -> None:
    said = {
        sticky: TRAEFIK_FILE.can(TraefikFileOptions(directory="/d", sticky=sticky))
        for sticky in Sticky
    }
    assert [can.sticky for can in said.values()] == [(), ("address",), ()]
    assert [can.pinned for can in said.values()] == [False, False, True]
