"""Aviary's processes as they are run, with exporters told by the environment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from aviary.local.ports import FreePorts
from tests.contract.kafka.parts import GROUP, Broker

START_S = 240.0
"""A process that shares two cores with a whole test run takes its time to begin."""
ROOT = Path(__file__).parents[2]
CATALOG = """\
version: 1
defaults: {router: {kind: memory}, metrics: [], strategy: quick}
strategies:
  quick: {steps: [50], bake: {min: 100ms, max: 200ms}, soak: 0s}
  long: {steps: [50], bake: {min: 10m, max: 20m}}
services:
  ledger: {}
  checkout: {depends_on: [ledger]}
"""


@dataclass
class Running:
    """A process, and where it listens."""

    url: str
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> int:
        """End it in good order; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def aviary(
    folder: Path, broker: Broker, temporal: str, more: Mapping[str, str], *roles: str
) -> AsyncIterator[dict[str, Running]]:
    """Processes of these roles, ready; each is stopped at the end."""
    (folder / "catalog.yaml").write_text(CATALOG)
    there: dict[str, Running] = {}
    try:
        for role in roles:
            there[role] = await _start(folder, broker, temporal, more, role)
        for role, one in there.items():
            await _ready(role, one)
        yield there
    finally:
        for one in there.values():
            if one.process.returncode is None:
                one.process.terminate()
        for one in there.values():
            async with asyncio.timeout(60):
                await one.process.wait()


async def _start(
    folder: Path, broker: Broker, temporal: str, more: Mapping[str, str], role: str
) -> Running:
    port, other = FreePorts().take(), FreePorts().take()
    ports = {"AVIARY_METRICS_PORT": str(port), "AVIARY_WEBHOOK_PORT": str(other)}
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
        "AVIARY_CATALOG": str(folder / "catalog.yaml"),
        "AVIARY_TEMPORAL_ADDRESS": temporal,
        "AVIARY_KAFKA_BOOTSTRAP": broker.options.bootstrap,
        "AVIARY_KAFKA_GROUP": GROUP,
        "AVIARY_KAFKA_IDEMPOTENT": "false",
        "AVIARY_TOPIC_PARTITIONS": str(broker.options.partitions),
        "AVIARY_LOG_FORMAT": "json",
        **ports,
        **more,
    }
    log = folder / f"{role}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aviary", role), cwd=ROOT, env=environment, stderr=file
        )
    shown = other if role == "webhook" else port
    return Running(f"http://127.0.0.1:{shown}", process, log)


async def _ready(role: str, one: Running) -> None:
    async def answers() -> bool:
        assert one.process.returncode is None, f"{role} ended: {one.log.read_text()}"
        try:
            return (await http.get(f"{one.url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async with httpx.AsyncClient() as http, asyncio.timeout(START_S):
        while not await answers():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.05)
