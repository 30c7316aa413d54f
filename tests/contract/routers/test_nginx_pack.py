"""The pack `nginx` on what nginx really exposes, as a real Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters.packs import BUILT_IN
from adapters.routers.nginx.router import NginxRouter
from aviary.local import debian
from aviary.local.debian import DebianError
from schemas.judging import render
from schemas.route import Route
from tests.contract.routers.live import free_port
from tests.contract.routers.live_nginx import LiveNginx
from tests.contract.routers.routes import OLD
from tests.contract.routers.subjects import NginxSubject
from tests.contract.routers.wire import BAD, Caller, Instances

PACK = BUILT_IN.load("nginx")
SENT = 40
_WITHIN_S = 30.0


class Prometheus:
    """A real one that scrapes one address."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def value(self, query: str) -> dict[str, float]:
        """The sum of a query, and of each `le`."""
        answer = self._client.get("/api/v1/query", params={"query": query}).json()
        found: dict[str, float] = {}
        for one in answer["data"]["result"]:
            bound = one["metric"].get("le", "")
            found[bound] = found.get(bound, 0) + float(one["value"][1])
        return found

    def labels(self, query: str, name: str) -> set[str]:
        """The values of a label in what a query finds."""
        answer = self._client.get("/api/v1/query", params={"query": query}).json()
        return {one["metric"][name] for one in answer["data"]["result"]}

    def until(self, query: str, least: float) -> None:
        """Ask until a query's sum is so much."""
        deadline = time.monotonic() + _WITHIN_S
        while True:
            try:
                if sum(self.value(query).values()) >= least:
                    return
            except httpx.HTTPError:
                pass  # not up yet
            assert time.monotonic() < deadline, query
            time.sleep(0.1)


@pytest.fixture
def live(nginx_packages: Path, tmp_path: Path, instances: Instances) -> Iterator[LiveNginx]:
    """One whose counters are exposed on loopback."""
    found = LiveNginx(nginx_packages, tmp_path / "nginx", instances)
    found.metrics = free_port()
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def prometheus(live: LiveNginx, tmp_path: Path) -> Iterator[Prometheus]:
    try:
        tools = asyncio.run(debian.install(debian.cache_folder()))
    except DebianError as error:
        pytest.skip(str(error))
    job = {"job_name": "nginx", "static_configs": [{"targets": [f"127.0.0.1:{live.metrics}"]}]}
    times = {"scrape_interval": "250ms", "scrape_timeout": "250ms"}
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps({"global": times, "scrape_configs": [job]}))
    port = free_port()
    command = [
        str(tools.prometheus), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    found = Prometheus(port)
    try:
        yield found
    finally:
        found.close()
        process.kill()
        process.wait()


def test_every_query_of_the_pack_counts_what_users_got(
    live: LiveNginx, prometheus: Prometheus
) -> None:
    service = asyncio.run(_sent(live))
    for version, bad in ((OLD, 0), (BAD, SENT)):
        variables = {"service": service, "version": version, "pool": "unused"}

        def value(query: str, part: str, names: dict[str, str] = variables) -> dict[str, float]:
            text = render(PACK.queries[query].parts[part], names)
            prometheus.until(render(PACK.queries["errors"].parts["total"], names), SENT)
            return prometheus.value(text)

        assert value("errors", "bad") == {"": bad}
        assert value("errors", "total") == {"": SENT}
        assert value("client_errors", "bad") == {"": 0}
        assert value("retries", "bad") == {"": 0}
        buckets = value("latency", "buckets")
        assert buckets["+Inf"] == SENT
        ordered = sorted(buckets.items(), key=lambda item: float(item[0]))
        assert [count for _, count in ordered] == sorted(buckets.values()), "cumulative"


async def _sent(live: LiveNginx) -> str:
    """A service whose canary always fails: some requests of the split, one that asks for it."""
    router = NginxRouter([live.control])
    service = NginxSubject(live, router).put_up(OLD, BAD)
    await router.register(service, OLD)
    for generation, weight in enumerate((0, 100), start=1):
        await router.apply(Route.split(service, OLD, BAD, weight, generation=generation))
        async with Caller(live.port, service) as caller:
            for number in range(SENT):
                await caller.get(x_user_id=f"user-{number}")
            await caller.get(x_canary="never")
    await router.aclose()
    return service


def test_the_versions_that_served_can_be_found(live: LiveNginx, prometheus: Prometheus) -> None:
    service = asyncio.run(_sent(live))
    assert PACK.versions is not None
    query = render(PACK.versions.query, {"service": service, "version": "", "pool": ""})
    prometheus.until(query, 2 * SENT)
    found = prometheus.labels(query, PACK.versions.label)
    assert found == {OLD, BAD}
    assert all(re.fullmatch(PACK.versions.pattern, one) for one in found)
