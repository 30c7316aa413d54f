"""The pack `traefik`, held against what a real Traefik exposes."""

from __future__ import annotations

import re

import pytest

from adapters.packs import BUILT_IN
from schemas.judging import render
from schemas.route import Route
from tests.contract.routers.routes import OLD, on_stable
from tests.contract.routers.subjects import TraefikSubject
from tests.contract.routers.wire import BAD, Caller

_SERIES = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)(=~|=)"([^"]*)"')


def picked(query: str, exposition: str) -> list[tuple[dict[str, str], float]]:
    """The series that a selector picks, as Prometheus would."""
    name, _, matchers = query.partition("{")
    found = []
    for metric, text, value in _SERIES.findall(exposition):
        labels = {label: given for label, _, given in _LABEL.findall(text)}
        if metric == name and all(
            labels.get(label) == wanted
            if how == "="
            else re.fullmatch(wanted, labels.get(label, ""))
            for label, how, wanted in _LABEL.findall(matchers)
        ):
            found.append((labels, float(value)))
    return found


@pytest.fixture(params=["traefik-file", "traefik-etcd"])
def traefik(request: pytest.FixtureRequest) -> TraefikSubject:
    """A Traefik with one of its providers."""
    found: TraefikSubject = request.getfixturevalue(f"{request.param}_subject")
    return found


async def test_the_pack_picks_what_one_version_did(traefik: TraefikSubject) -> None:
    service = await on_stable(traefik, OLD, BAD)
    await traefik.router.apply(Route.split(service, OLD, BAD, 50, generation=1))
    async with Caller(traefik.traefik.port, service) as caller:
        for _ in range(40):
            await caller.get()
        for _ in range(5):
            await caller.get(x_canary="always")
    exposition = traefik.traefik.ask("/metrics")
    pool = await traefik.router.locate(service, BAD)
    pack = BUILT_IN.load("traefik")

    def seen(query: str, part: str) -> list[tuple[dict[str, str], float]]:
        template = pack.queries[query].parts[part]
        return picked(
            render(template, {"service": service, "version": BAD, "pool": pool}), exposition
        )

    on_canary = (await traefik.router.requests(service))[BAD]
    assert sum(value for _, value in seen("errors", "bad")) == on_canary == 20
    assert sum(value for _, value in seen("errors", "total")) == on_canary, "and none apart"
    buckets = seen("latency", "buckets")
    assert [value for labels, value in buckets if labels["le"] == "+Inf"] == [on_canary]
    assert len(buckets) > 1
    if traefik.store.provider == "file":
        assert pack.pool.of(service, BAD) == pool, "without the router"
    else:
        assert pack.pool.of(service, BAD).replace("@file", "@etcd") == pool
