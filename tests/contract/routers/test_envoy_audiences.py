"""Whom a real Envoy gives the canary, in 10,000 requests, and by what they stay."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from pathlib import Path

import httpx
import pytest

from adapters.errors import Unsupported
from adapters.routers.envoy.fleet import COUNTRY_HEADER
from adapters.routers.envoy.router import EnvoyRouter
from schemas.route import Audience, AudienceBy, AudienceShare, Match, Route
from schemas.sticky import Sticky
from tests.contract.routers.conftest import PATIENT_ENVOY
from tests.contract.routers.country_database import database
from tests.contract.routers.live import LiveEnvoy
from tests.contract.routers.routes import NEW, OLD, on_stable
from tests.contract.routers.served import running
from tests.contract.routers.subjects import EnvoySubject
from tests.contract.routers.wire import Caller, Instances, Load

REQUESTS = 10_000
COUNTRIES = {"127.0.0.2/32": "BE", "127.0.0.16/28": "NL", "127.0.0.64/26": "DE"}
CALLERS = 8
STAFF = Audience(any_of=(Match(by=AudienceBy.HEADER, name="x-group", value="staff"),))
BENELUX = Audience(
    any_of=tuple(
        Match(by=AudienceBy.HEADER, name="cf-ipcountry", value=one) for one in ("BE", "NL", "LU")
    )
)


def _route(service: str) -> Route:
    """All of the staff, 20 % of one region, 5 % of everybody."""
    kept = (
        AudienceShare(audience=STAFF, weight=100),
        AudienceShare(audience=BENELUX, weight=20),
    )
    return Route.split(service, "1", "2", 5, generation=3, kept=kept)


async def _measured(port: int, service: str) -> Counter[tuple[str, str]]:
    """The versions that requests of each kind got: a tenth of staff, three of the region."""
    found: Counter[tuple[str, str]] = Counter()
    kinds = (["staff"] + ["benelux"] * 3 + ["others"] * 6) * (REQUESTS // 10 // CALLERS)
    headers = {"staff": {"x_group": "staff"}, "benelux": {"cf_ipcountry": "NL"}, "others": {}}

    async def call(caller_number: int) -> None:
        async with Caller(port, service) as caller:
            for number, kind in enumerate(kinds):
                user = f"{caller_number}-{number}"
                answer = await caller.get(x_user_id=user, **headers[kind])
                assert answer.status == 200
                found[kind, answer.version] += 1

    await asyncio.gather(*(call(number) for number in range(CALLERS)))
    return found


async def test_shares_are_those_of_each_audience_within_binomial_error(
    envoy_subject: EnvoySubject,
) -> None:
    service = envoy_subject.put_up("1", "2")
    router = envoy_subject.router
    await router.apply(await router.register(service, "1"))
    async with Load(envoy_subject.envoy.port, service, 1) as load:
        for route in (
            Route.split(service, "1", "2", 100, generation=1, audience=STAFF),
            Route.split(
                service,
                "1",
                "2",
                20,
                generation=2,
                audience=BENELUX,
                kept=(AudienceShare(audience=STAFF, weight=100),),
            ),
            _route(service),
        ):
            await router.apply(route)
        found = await _measured(envoy_subject.envoy.port, service)
    assert load.failed == {}
    for kind, share in (("staff", 1.0), ("benelux", 0.2), ("others", 0.05)):
        total = found[kind, "1"] + found[kind, "2"]
        error = math.sqrt(total * share * (1 - share))
        assert abs(found[kind, "2"] - total * share) <= 4 * error, (kind, found)
    # Of the split, only those whom the last step is for are counted.
    counts = await router.requests(service)
    assert counts["2"] <= found["others", "2"] + sum(load.outcomes.values())


async def test_the_country_is_of_the_address_and_not_what_a_caller_says(
    binary: Path, tmp_path: Path, instances: Instances, client: httpx.AsyncClient
) -> None:
    file = tmp_path / "countries.mmdb"
    file.write_bytes(database(COUNTRIES))
    of = tuple(
        Match(by=AudienceBy.HEADER, name=COUNTRY_HEADER, value=one) for one in ("BE", "NL", "LU")
    )
    live = LiveEnvoy(binary, tmp_path / "envoy", instances, countries=file)
    with running(live):
        service = live.add_service(OLD, NEW)
        router = EnvoyRouter(
            live.fleet.directory, [live.admin_url], client=client, pace=PATIENT_ENVOY
        )
        await router.register(service, OLD)
        audience = Audience(any_of=of)
        await router.apply(Route.split(service, OLD, NEW, 100, generation=1, audience=audience))
        got = {}
        for last, said in ((2, "DE"), (17, "DE"), (32, "NL"), (65, "NL"), (1, "BE")):
            async with Caller(live.port, service, f"127.0.0.{last}") as caller:
                # None of these is to be believed.
                lies = {"x-forwarded-for": "127.0.0.2", "x-aviary-source": "127.0.0.2"}
                answer = await caller.get(**{COUNTRY_HEADER: said}, **lies)
                got[last] = answer.version
        assert got == {2: NEW, 17: NEW, 32: OLD, 65: OLD, 1: OLD}
        # What follows another request on a connection is no less its own.
        async with Caller(live.port, service, "127.0.0.2") as caller:
            assert [(await caller.get()).version for _ in range(3)] == [NEW] * 3


async def test_a_listener_that_keeps_no_addresses_is_named_before_anything_is_written(
    envoy_subject: EnvoySubject,
) -> None:
    service = await on_stable(envoy_subject, OLD, NEW)
    office = Audience(any_of=(Match(by=AudienceBy.NETWORK, value="127.0.0.0/8"),))
    listeners = envoy_subject.envoy.fleet.listeners_path
    before, there = listeners.read_text(), await envoy_subject.router.read(service)
    listeners.write_text(before.replace("aviary.source", "another"))  # Envoy looks at renames
    try:
        route = Route.split(service, OLD, NEW, 50, generation=1, audience=office)
        with pytest.raises(Unsupported, match=rf"{service}: audience by network: .*lds\.yaml"):
            await envoy_subject.router.apply(route)
        assert await envoy_subject.router.read(service) == there
    finally:
        listeners.write_text(before)


async def test_a_session_gets_a_cookie_as_the_strategy_says_and_stays(
    envoy_subject: EnvoySubject,
) -> None:
    service = envoy_subject.put_up("1", "2")
    router = envoy_subject.router
    await router.apply(await router.register(service, "1"))
    said = {"cookie": "shop", "age": "1h", "secure": True, "same_site": "Strict"}
    sticky = Sticky.model_validate({"session": said})
    await router.apply(Route.split(service, "1", "2", 50, generation=1, sticky=sticky))
    stayed: set[str] = set()
    for _ in range(12):  # Envoy gives one cookie a connection
        async with Caller(envoy_subject.envoy.port, service) as caller:
            given = (await caller.get()).headers["set-cookie"]
            for text in ("shop=", "max-age=3600", "path=/", "samesite=strict", "secure"):
                assert text in given
            later = [await caller.get(cookie=given.partition(";")[0]) for _ in range(5)]
            assert not any("set-cookie" in answer.headers for answer in later)
            (version,) = {answer.version for answer in later}
            stayed.add(version)
    assert stayed == {"1", "2"}
