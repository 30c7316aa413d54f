"""What a router shows of its own counters is what its metrics pack finds at the metrics source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import httpx

from adapters.exposition import read_exposition
from adapters.packs import BUILT_IN
from analysis.selectors import selector_of
from schemas.judging import TEMPLATE_VARIABLES as VARIABLES
from schemas.judging import render
from schemas.reading import Series
from schemas.route import Route
from tests.contract.routers.routes import OLD, USERS, near, on_stable
from tests.contract.routers.subjects import EnvoySubject, HaproxySubject, Subject
from tests.contract.routers.wire import BAD, Caller

CLAIM = "counters"


Found = Mapping[str, float]
"""Parts of the errors of one version."""


def queries_of(subject: Subject) -> Mapping[str, str]:
    """What the pack that asks for such counters asks for errors."""
    known = set(subject.routing.capabilities.counters)
    for name in BUILT_IN.names:
        parts = BUILT_IN.load(name).queries["errors"].parts
        texts = (render(text, dict.fromkeys(VARIABLES, "")) for text in parts.values())
        selectors = [selector_of(text) for text in texts]
        if all(one is not None and one.name in known for one in selectors):
            return parts
    raise AssertionError(f"no pack asks for {sorted(known)}")


async def send(subject: Subject, service: str) -> int:
    """A request of each user, who need not be served; how many the canary got."""
    assert isinstance(subject, EnvoySubject | HaproxySubject)
    port = subject.envoy.port if isinstance(subject, EnvoySubject) else subject.haproxy.port
    async with Caller(port, service) as caller:
        got = [(await caller.get(x_user_id=user)).version for user in USERS]
    return got.count(BAD)


async def seen(subject: Subject, service: str, version: str) -> Found:
    """The errors of one version, by the router's own counters."""
    assert subject.routing.counters is not None
    series = await subject.routing.counters.counters(service)
    return await picked(subject, series, service, version)


async def picked(subject: Subject, series: Sequence[Series], service: str, version: str) -> Found:
    pool = await subject.routing.locator.locate(service, version)
    names = {"service": service, "version": version, "pool": pool}
    found = {}
    for part, template in queries_of(subject).items():
        selector = selector_of(render(template, names))
        assert selector is not None
        found[part] = sum(one.value for one in selector.pick(series))
    return found


async def test_errors_are_shown_at_once_by_version(subject: Subject) -> None:
    service = await on_stable(subject, OLD, BAD)
    route = Route.split(service, OLD, BAD, near(subject, 30), generation=1, owner="shop-1")
    await subject.routing.router.apply(route)
    before = await seen(subject, service, BAD)
    assert before["bad"] == before["total"] == 0

    on_canary = await send(subject, service)

    assert on_canary > 0
    stable, canary = await seen(subject, service, OLD), await seen(subject, service, BAD)
    assert (stable["bad"], stable["total"]) == (0, len(USERS) - on_canary)
    assert (canary["bad"], canary["total"]) == (on_canary, on_canary)


async def test_an_unknown_service_has_none(subject: Subject) -> None:
    assert subject.routing.counters is not None
    assert list(await subject.routing.counters.counters("nobody")) == []


async def test_envoy_shows_what_prometheus_gathers_from_it(envoy_subject: EnvoySubject) -> None:
    """Both see the same numbers: of each query of the pack, each series and its value."""
    subject = envoy_subject
    service = await on_stable(subject, OLD, BAD)
    await subject.router.apply(Route.split(service, OLD, BAD, 50, generation=1))
    await send(subject, service)
    subject.envoy.ask("/stats/prometheus")  # its histograms are as of the question before
    gathered = read_exposition(subject.envoy.ask("/stats/prometheus").encode(), {})
    shown = await subject.router.counters(service)
    assert {one.labels["instance"] for one in shown} == {f"127.0.0.1:{subject.envoy.admin_port}"}
    for version, query in product((OLD, BAD), BUILT_IN.load("envoy").queries.values()):
        pool = await subject.router.locate(service, version)
        for template in query.parts.values():
            selector = selector_of(render(template, dict.fromkeys(VARIABLES, pool)))
            assert selector is not None
            scraped, asked = _plain(selector.pick(gathered)), _plain(selector.pick(shown))
            assert scraped == asked
            assert scraped or "5" in template or "4" in template


async def test_haproxy_shows_what_prometheus_gathers_from_it(
    haproxy_subject: HaproxySubject,
) -> None:
    """Both see the same numbers, of each class of responses."""
    subject = haproxy_subject
    service = await on_stable(subject, OLD, BAD)
    await subject.router.apply(Route.split(service, OLD, BAD, 50, generation=1))
    await send(subject, service)
    page = f"http://127.0.0.1:{subject.haproxy.metrics}/metrics"
    async with httpx.AsyncClient() as client:
        gathered = read_exposition((await client.get(page)).content, {})
    shown = await subject.router.counters(service)
    for version in (OLD, BAD):
        pool = await subject.router.locate(service, version)
        for template in BUILT_IN.load("haproxy").queries["errors"].parts.values():
            selector = selector_of(render(template, dict.fromkeys(VARIABLES, pool)))
            assert selector is not None
            scraped, asked = _plain(selector.pick(gathered)), _plain(selector.pick(shown))
            assert scraped == asked
            assert scraped


def _plain(series: Sequence[Series]) -> list[tuple[dict[str, str], float]]:
    found = [({**one.labels, "instance": ""}, one.value) for one in series]
    return sorted(found, key=str)
