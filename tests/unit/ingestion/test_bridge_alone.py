"""The bridge with neither Kafka nor Temporal: it lives, says that it isn't ready, and stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from aviary.bridge import run_bridge
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from schemas.catalog_file import CatalogError
from tests.unit.ingestion.fakes import CATALOG


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG)
    free = FreePorts()
    return Settings(
        catalog=catalog,
        temporal_address=f"127.0.0.1:{free.take()}",
        kafka_bootstrap=f"127.0.0.1:{free.take()}",
        metrics_port=free.take(),
    )


async def test_it_waits_and_says_so_until_it_is_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    bridge = asyncio.create_task(run_bridge(settings, stop))
    transport = httpx.AsyncHTTPTransport(retries=10)
    url = f"http://127.0.0.1:{settings.metrics_port}"
    async with httpx.AsyncClient(transport=transport, base_url=url) as http:
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        metrics = await http.get("/metrics")
    assert ready.status_code == 503
    assert settings.temporal_address in ready.json()["reason"]
    assert "aviary_catalog_valid 1.0" in metrics.text
    stop.set()
    async with asyncio.timeout(10):
        await bridge


async def test_a_bad_catalog_at_start_is_an_error(settings: Settings) -> None:
    settings.catalog.write_text("version: 1\n")
    with pytest.raises(CatalogError):
        await run_bridge(settings, asyncio.Event())


async def test_a_taken_address_is_an_error(settings: Settings) -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", settings.metrics_port)
    async with server:
        with pytest.raises(OSError, match="in use"):
            await run_bridge(settings, asyncio.Event())
