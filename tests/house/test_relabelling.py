"""The shipped Prometheus configuration turns a pool's name into service and version.

A real Prometheus, on the shipped configuration but for addresses, scrapes a stand-in for Envoy.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from aviary.local import debian
from aviary.local.ports import LOOPBACK, FreePorts

ROOT = Path(__file__).parents[2]
METRICS = """\
# TYPE envoy_cluster_upstream_rq_completed counter
envoy_cluster_upstream_rq_completed{envoy_cluster_name="payments@2~0~1-rc~1"} 7
envoy_cluster_upstream_rq_completed{envoy_cluster_name="cart@12"} 5
envoy_cluster_upstream_rq_completed{envoy_cluster_name="payments@2~0~1/apart"} 3
# TYPE envoy_cluster_users_7_upstream_rq_completed counter
envoy_cluster_users_7_upstream_rq_completed{envoy_cluster_name="cart@12"} 1
"""


class Envoy:
    """Answers scrapes, and knows when a second one shows that the first was taken in."""

    def __init__(self) -> None:
        self.scraped_again = asyncio.Event()
        self._scrapes = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request on one connection."""
        await reader.readuntil(b"\r\n\r\n")
        body = METRICS.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        self._scrapes += 1
        if self._scrapes > 1:
            self.scraped_again.set()


@asynccontextmanager
async def prometheus(folder: Path, envoy: str) -> AsyncIterator[str]:
    """Run Prometheus on the shipped configuration, with this Envoy only; its address."""
    document: dict[str, Any] = yaml.safe_load(
        (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    )
    job = next(job for job in document["scrape_configs"] if job["job_name"] == "envoy")
    job["static_configs"] = [{"targets": [envoy]}]
    document |= {"scrape_configs": [job], "rule_files": [], "alerting": {}}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    address = f"{LOOPBACK}:{FreePorts().take()}"
    process = await asyncio.create_subprocess_exec(
        str((await debian.install(debian.cache_folder())).prometheus),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


async def test_pools_get_the_labels_that_alerts_need(tmp_path: Path) -> None:
    envoy = Envoy()
    server = await asyncio.start_server(envoy.answer, LOOPBACK, 0)
    host, port = server.sockets[0].getsockname()
    async with server, prometheus(tmp_path, f"{host}:{port}") as address:
        async with asyncio.timeout(30):
            await envoy.scraped_again.wait()
        async with httpx.AsyncClient(base_url=address) as client:
            answer = await client.get(
                "/api/v1/query", params={"query": '{__name__=~"envoy_cluster_.*"}'}
            )
    series = [one["metric"] for one in answer.json()["data"]["result"]]
    found = {one["envoy_cluster_name"]: (one.get("service"), one.get("version")) for one in series}
    assert {one["__name__"] for one in series} == {"envoy_cluster_upstream_rq_completed"}
    assert found == {
        "payments@2~0~1-rc~1": ("payments", "2.0.1-rc.1"),
        "cart@12": ("cart", "12"),
        "payments@2~0~1/apart": (None, None),
    }
