"""Aviary's processes, a caller like Alertmanager, and what is on a topic in the end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adapters.kafka import KafkaOptions, Sender, make_consumer
from aviary.local.ports import FreePorts
from schemas.notification import WebhookPayload
from tests.contract.kafka.parts import CATALOG, payload, succeeds, until

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
GIVE_UP_S = 60.0


class Process:
    """`python -m aviary …`, with a log of its own."""

    def __init__(self, folder: Path, role: str, bootstrap: str, **settings: str) -> None:
        self.port = FreePorts().take()
        self._log = folder / f"{role}.log"
        catalog = folder / "catalog.yaml"
        catalog.write_text(CATALOG)
        own = {name: value for name, value in os.environ.items() if not name.startswith("AVIARY_")}
        told = {
            "catalog": str(catalog),
            "kafka_bootstrap": bootstrap,
            "topic_partitions": str(PARTITIONS),
            ("webhook_port" if role == "webhook" else "metrics_port"): str(self.port),
        }
        own |= {f"AVIARY_{name.upper()}": value for name, value in (told | settings).items()}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aviary", role],
                cwd=ROOT,
                env=own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        async with httpx.AsyncClient() as http:

            async def says_so() -> bool:
                assert self._process.poll() is None, self._log.read_text()[-2000:]
                try:
                    return (await http.get(f"{self.url}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(says_so, f"ready: {self._log}")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


@dataclass
class Alertmanager:
    """Sends notifications as Alertmanager does: again after 5xx or silence, never after 2xx."""

    url: str
    statuses: dict[str, list[int]] = field(default_factory=dict)

    async def notify(self, fingerprint: str, service: str) -> None:
        """Send until it is acknowledged."""
        answers = self.statuses.setdefault(fingerprint, [])
        async with asyncio.timeout(GIVE_UP_S), httpx.AsyncClient(timeout=10) as http:
            while not answers or answers[-1] != 200:
                try:
                    body = payload(service, fingerprint)
                    answer = await http.post(f"{self.url}/alertmanager", json=body)
                    answers.append(answer.status_code)
                except httpx.TransportError:
                    answers.append(0)
                assert answers[-1] in {0, 200, 503}, answers
                if answers[-1] != 200:
                    await asyncio.sleep(0.2)

    async def notify_all(self, fingerprints: Iterable[str]) -> None:
        """Send many, four at a time, about services on all partitions."""
        slots = asyncio.Semaphore(4)

        async def one(number: int, fingerprint: str) -> None:
            async with slots:
                await self.notify(fingerprint, f"service-{number % 12}")

        await asyncio.gather(*(one(n, each) for n, each in enumerate(fingerprints)))

    @property
    def acknowledged(self) -> set[str]:
        return {name for name, answers in self.statuses.items() if 200 in answers}

    @property
    def sent_once(self) -> set[str]:
        """Those that needed no second try: any repetition of theirs is the producer's fault."""
        return {name for name, answers in self.statuses.items() if answers == [200]}


@asynccontextmanager
async def sending(options: KafkaOptions, *topics: str) -> AsyncIterator[Sender]:
    sender = Sender(options, topics)
    sender.start()
    try:
        await until(lambda: succeeds(sender.check), "the sender is connected")
        yield sender
    finally:
        await sender.close()


async def records(options: KafkaOptions, topic: str) -> list[Any]:
    """Everything on a topic, from its first record to what is its last now."""
    consumer = make_consumer(options, None)
    consumer.subscribe([topic])
    found: list[Any] = []
    async with asyncio.timeout(GIVE_UP_S):
        await consumer.start()
        try:
            while not (partitions := consumer.assignment()):
                await consumer.getmany(timeout_ms=100)
            ends = await consumer.end_offsets(list(partitions))
            await consumer.seek_to_beginning(*partitions)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
        finally:
            await consumer.stop()
    return found


def fingerprints(found: Iterable[Any]) -> Counter[str]:
    """How often each alert is there."""
    return Counter(
        alert.fingerprint
        for record in found
        for alert in WebhookPayload.parse(record.value).to_alerts()
    )


def release_of(record: Any) -> str:
    return str(json.loads(record.value)["data"]["release"])
