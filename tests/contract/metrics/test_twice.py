"""One target under two jobs of a real Prometheus: seen, refused, and folded where it is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from adapters.metrics.prometheus.source import PrometheusMetrics
from analysis.counters import ArmCounters
from analysis.duplicates import certain
from analysis.intervals import CounterReader, Timing
from analysis.whole import Limits
from aviary.local import debian, probes
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from schemas.judging import RatioMetric
from schemas.reading import ArmReading, Fault, MetricReading, Series
from tests.contract.metrics import odd

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = b"""# TYPE requests_total counter
requests_total{code="200"} 100
requests_total{code="500"} 5
"""
JOBS = """global: {scrape_interval: 200ms}
scrape_configs:
  - {job_name: pods, static_configs: [{targets: ["TARGET"]}]}
  - {job_name: services, static_configs: [{targets: ["TARGET"]}]}
"""
METRIC = RatioMetric(name="errors", bad='requests_total{code="500"}', total="requests_total")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Series]]:
    """What a Prometheus answers that scrapes one target for two jobs."""
    folder = tmp_path_factory.mktemp("twice")
    tools = await debian.install(debian.cache_folder())
    page = odd.answer(PAGE, "200 OK", "Content-Type: text/plain; version=0.0.4")
    port = FreePorts().take()
    with odd.server(page) as address:
        jobs = JOBS.replace("TARGET", address.removeprefix("http://"))
        (folder / "prometheus.yml").write_text(jobs)
        argv = (
            str(tools.prometheus),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={LOOPBACK}:{port}",
        )
        async with Supervisor(folder) as children:
            ready = probes.http(port, "/-/ready")
            await children.start(ChildSpec("prometheus", argv, probe=ready))
            source = PrometheusMetrics(f"http://{LOOPBACK}:{port}")
            async with asyncio.timeout(60):
                found: list[Series] = []
                while len(found) < 4:
                    found = list(await source.query("requests_total", datetime.now(UTC)))
                    await asyncio.sleep(0.2)
            source.close()
            yield found


def arm(series: list[Series]) -> ArmReading:
    bad = tuple(one for one in series if one.labels["code"] == "500")
    return ArmReading(parts={"total": tuple(series), "bad": bad})


async def test_they_are_refused_and_the_label_is_named(scraped: list[Series]) -> None:
    copies = certain(scraped)
    assert copies is not None
    assert (copies.label, copies.values) == ("job", ("pods", "services"))
    reader = CounterReader(METRIC, Timing(15.0, 0.0, 10))
    reader.take(MetricReading(canary=arm(scraped), stable=arm(scraped)), 0, 0)
    assert reader.fault is Fault.DUPLICATE


async def test_one_counts_where_the_label_is_named(scraped: list[Series]) -> None:
    folded, _ = ArmCounters(replica_labels=("job",)).fold(arm(scraped).parts)
    assert [one.labels["job"] for one in folded["total"]] == ["pods", "pods"]
    reader = CounterReader(METRIC, Timing(15.0, 0.0, 10, Limits(replica_labels=("job",))))
    reader.take(MetricReading(canary=arm(scraped), stable=arm(scraped)), 0, 0)
    assert reader.fault is None
