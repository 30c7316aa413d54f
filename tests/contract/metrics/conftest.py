"""A real Prometheus with a past that the tests know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from adapters.ports import MetricsSource
from aviary.local import debian, probes
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor

AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
SERVICES = 60
EVERY = 15


def past() -> str:
    """Counters of many services: 10 requests an interval each, and one more for its number."""
    lines = ["# TYPE requests counter"]
    for number in range(SERVICES):
        for sample in range(-20, 1):
            at = AT.timestamp() + sample * EVERY
            value = (sample + 20) * (10 + number)
            lines.append(f'requests_total{{service="s{number}",pod="a"}} {value} {at:.0f}')
    return "\n".join((*lines, "# EOF", ""))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    tools = await debian.install(debian.cache_folder())
    (folder / "past.txt").write_text(past())
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    blocks = ("tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", folder / "data")
    await debian.run(tuple(map(str, (tools.promtool, *blocks))), folder)
    port = FreePorts().take()
    async with Supervisor(folder) as children:
        await children.start(_prometheus(tools.prometheus, folder, port))
        yield f"http://{LOOPBACK}:{port}"


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
    """Every member of the port."""
    prometheus = PrometheusMetrics(address)
    batched = BatchedMetrics(prometheus)
    yield prometheus if request.param == "prometheus" else batched
    await batched.close()
    prometheus.close()
