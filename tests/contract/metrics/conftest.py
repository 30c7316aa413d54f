"""A real Prometheus with a past that the tests know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from adapters.ports import MetricsSource
from aviary.local import debian, probes
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from tests.contract.metrics.subjects import (
    AT,
    EVERY,
    KINDS,
    SAMPLES,
    SERVICES,
    MemorySubject,
    PrometheusSubject,
    Subject,
    counted,
)
from tests.contract.outside import OUTSIDE, with_members


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    with_members(metafunc, KINDS)


@pytest.fixture
def member(request: pytest.FixtureRequest) -> Subject:
    """Every member of the port, or that of a package of its own."""
    kind = "outside" if request.param == OUTSIDE else f"{request.param}_metrics"
    found: Subject = request.getfixturevalue(f"{kind}_subject")
    return found


@pytest.fixture
def memory_metrics_subject() -> MemorySubject:
    return MemorySubject()


@pytest.fixture
async def prometheus_metrics_subject(address: str) -> AsyncIterator[PrometheusSubject]:
    made = PrometheusSubject(address, batched=False)
    yield made
    await made.close()


@pytest.fixture
async def batched_metrics_subject(address: str) -> AsyncIterator[PrometheusSubject]:
    made = PrometheusSubject(address, batched=True)
    yield made
    await made.close()


def past() -> str:
    """Counters of many services: 10 requests an interval each, and one more for its number."""
    lines = ["# TYPE requests counter"]
    for number in range(SERVICES):
        for sample in range(SAMPLES + 1):
            at = (AT - (SAMPLES - sample) * EVERY).timestamp()
            value = counted(number, sample)
            lines.append(f'requests_total{{service="s{number}",pod="a"}} {value} {at:.0f}')
    return "\n".join((*lines, "# EOF", ""))


@asynccontextmanager
async def prometheus_of(folder: Path, samples: str) -> AsyncIterator[str]:
    """The address of one whose past is these samples, as OpenMetrics."""
    tools = await debian.install(debian.cache_folder())
    (folder / "past.txt").write_text(samples)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    blocks = ("tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", folder / "data")
    await debian.run(tuple(map(str, (tools.promtool, *blocks))), folder)
    port = FreePorts().take()
    async with Supervisor(folder) as children:
        await children.start(_prometheus(tools.prometheus, folder, port))
        yield f"http://{LOOPBACK}:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with prometheus_of(tmp_path_factory.mktemp("prometheus"), past()) as found:
        yield found


def _prometheus(binary: Path, folder: Path, port: int) -> ChildSpec:
    argv = (
        str(binary),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={LOOPBACK}:{port}",
    )
    return ChildSpec("prometheus", argv, probe=probes.http(port, "/-/ready"))


@pytest_asyncio.fixture(loop_scope="module", params=["prometheus", "batched"])
async def source(request: pytest.FixtureRequest, address: str) -> AsyncIterator[MetricsSource]:
    """What asks Prometheus, directly and in batches."""
    prometheus = PrometheusMetrics(address)
    batched = BatchedMetrics(prometheus)
    yield prometheus if request.param == "prometheus" else batched
    await batched.close()
    prometheus.close()
