"""Bridge and webhook die between any two of their steps: each input has its effect once.

At each point the same inputs come: a deploy event, one that is too old, one that can't be read, and
an alert by way of the webhook. At some points its notification was cut short, and the webhook asks
a real Alertmanager what else fires. Whoever dies is started again, and what was not acknowledged is
sent again.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.kafka import Outgoing
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from aviary.webhook import run_webhook
from schemas import ids
from tests.chaos.dying import Between
from tests.chaos.rows import Row
from tests.chaos.server import temporal_server
from tests.contract.kafka.alertmanager import managed
from tests.contract.kafka.parts import (
    Broker,
    alerts_signalled,
    count_releases,
    deploy,
    make_settings,
    open_canary,
    payload,
    running,
    until,
)
from tests.durability.parts import records

PART = "ingestion"
ROOT = Path(__file__).parents[2]
WITHIN_S = 300.0
AT_ONCE = 4
LEFT_OUT = "LeftOut"
"""The alert that only Alertmanager knows of, where a notification was cut short."""


async def die_everywhere(folder: Path, points: Sequence[Between] = tuple(Between)) -> list[Row]:
    """Every point, each with a broker and a namespace of its own; a row for each.

    Side by side, since Kafka notices only after a while that a member of the group has died.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    names = {point: f"point-{number}" for number, point in enumerate(points)}
    async with temporal_server(folder, list(names.values())) as address:

        async def one(point: Between) -> Row:
            async with gate:
                return await _die(folder / names[point], point, address, names[point])

        return await asyncio.gather(*(one(point) for point in points))


async def _die(folder: Path, point: Between, address: str, namespace: str) -> Row:
    folder.mkdir(parents=True)
    row = Row(PART, "one of each input", str(point))
    began = time.monotonic()
    broker = Broker(folder)
    try:
        await broker.start()
        client = await Client.connect(
            address, namespace=namespace, data_converter=pydantic_data_converter
        )
        settings = make_settings(folder, broker, address).model_copy(
            update={"temporal_namespace": namespace, "metrics_port": 0}
        )
        async with AsyncExitStack() as stack:
            if point.is_loss:
                manager = await stack.enter_async_context(managed(folder, FreePorts().take(), 0))
                await manager.fire([{"alertname": LEFT_OUT, "service": "checkout"}])
                settings = settings.model_copy(update={"alertmanager_url": manager.url})
            run = _Run(broker, client, settings)
            row.broken = await run.execute(point)
    finally:
        broker.kill()
    row.struck, row.outcome = run.struck, run.outcome
    row.seconds = round(time.monotonic() - began, 1)
    return row


class _Run:
    def __init__(self, broker: Broker, client: Client, settings: Settings) -> None:
        self._broker = broker
        self._client = client
        self._settings = settings
        self._cut_short = False
        self.struck = False
        self.outcome = "none"

    async def execute(self, point: Between) -> list[str]:
        """Let the inputs come, with one death; returns what is wrong afterwards."""
        await open_canary(self._client)
        at_webhook = point.startswith("webhook")
        self._cut_short = point.is_loss
        if at_webhook:
            async with _Victim(point, self._settings) as victim:
                acknowledged = False
                while not victim.over:
                    acknowledged = await self._notify() or acknowledged
                    await asyncio.sleep(0.1)
                self.struck = await victim.ended() and not acknowledged
        async with running(self._settings, run_webhook):
            await until(self._notify, "the alert is acknowledged")
        junk = Outgoing(ids.TOPIC_DEPLOYS, b"{", b"junk")
        old = deploy("old", time="2020-01-01T00:00:00Z")
        await self._broker.write(deploy("shop"), old, junk)
        if not at_webhook:
            async with _Victim(point, self._settings) as victim:
                self.struck = await victim.ended()
        async with running(self._settings):
            await until(self._all_committed, "everything is committed")
        return await self._wrong()

    async def _notify(self) -> bool:
        """As Alertmanager does; whether it was acknowledged."""
        url = f"http://127.0.0.1:{self._settings.webhook_port}"
        token = self._settings.webhook_token
        headers = {"authorization": f"Bearer {token.get_secret_value() if token else ''}"}
        notification = {**payload("checkout", "f1"), "truncatedAlerts": int(self._cut_short)}
        async with httpx.AsyncClient(headers=headers) as http:
            try:
                answer = await http.post(f"{url}/alertmanager", json=notification)
            except httpx.TransportError:
                return False
        return answer.status_code == 200

    async def _all_committed(self) -> bool:
        for topic in (ids.TOPIC_DEPLOYS, ids.TOPIC_ALERTS):
            written = len(await records(self._broker.options, topic))
            if await self._broker.committed(topic) < written:
                return False
        return True

    async def _wrong(self) -> list[str]:
        broken = [] if self.struck else ["nobody died"]
        if (count := await count_releases(self._client)) != 1:
            broken.append(f"{count} releases, not one")
        told = Counter(alert.name for alert in await alerts_signalled(self._client))
        if told != dict.fromkeys(("Errors", LEFT_OUT) if self._cut_short else ("Errors",), 1):
            broken.append(f"the canary was signalled {dict(told)}")
        dead_letters = await records(self._broker.options, ids.TOPIC_DEADLETTERS)
        junk = sum(record.key == b"junk" for record in dead_letters)
        events = await records(self._broker.options, ids.TOPIC_EVENTS)
        stale = [one for one in map(_event, events) if one["subject"] == "old"]
        if not junk:
            broken.append("what can't be read is no dead letter")
        if len({one["id"] for one in stale}) != 1:
            broken.append(f"the stale deploy has {len(stale)} events of several ids, or none")
        alerts = await records(self._broker.options, ids.TOPIC_ALERTS)
        signals = f"{len(told)} signals of {len(alerts)} records"
        self.outcome = f"1 release, {signals}, {junk} dead letters, {len(stale)} events"
        return broken


class _Victim:
    """A process that will kill itself."""

    def __init__(self, point: Between, settings: Settings) -> None:
        told = json.loads(settings.model_dump_json(exclude={"webhook_token", "temporal_api_key"}))
        token = settings.webhook_token
        told["webhook_token"] = token.get_secret_value() if token else None
        self._words = (sys.executable, "-m", "tests.chaos.dying", str(point), json.dumps(told))

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._words, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def over(self) -> bool:
        """Whether it does not run any more."""
        return self._process.returncode is not None

    async def ended(self) -> bool:
        """Whether it died as it was told to."""
        async with asyncio.timeout(WITHIN_S):
            return await self._process.wait() == -9


def _event(record: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(record.value)
    return {"subject": event.get("subject"), "id": event["id"]}
