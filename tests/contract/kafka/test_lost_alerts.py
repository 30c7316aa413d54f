"""What a real Alertmanager leaves out, or sends in vain, is on Kafka and told to canaries."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from aviary.bridge import run_bridge
from aviary.local.ports import FreePorts
from aviary.settings import Settings
from aviary.webhook import run_webhook
from schemas import ids
from schemas.loss import is_loss
from schemas.notification import WebhookPayload
from tests.contract.kafka.alertmanager import Manager, managed
from tests.contract.kafka.parts import (
    Broker,
    alerts_signalled,
    make_settings,
    open_canary,
    payload,
    running,
    until,
)


@asynccontextmanager
async def sending(
    folder: Path, settings: Settings, max_alerts: int = 0, max_body: int = 1_000_000
) -> AsyncIterator[Manager]:
    """An Alertmanager, and the webhook that it sends to and that asks it."""
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(
            managed(folder, settings.webhook_port, max_alerts)
        )
        changes: dict[str, object] = {
            "alertmanager_url": manager.url,
            "webhook_max_body": max_body,
        }
        await stack.enter_async_context(running(settings.model_copy(update=changes), run_webhook))
        await until(lambda: is_ready(settings), "the webhook is ready")
        yield manager


async def post_until_taken(settings: Settings, body: bytes) -> httpx.Response:
    """As Alertmanager does: a busy machine may take longer than the webhook has patience."""
    answer = await post(settings, body)
    return answer if answer.status_code != 503 else await post_until_taken(settings, body)


async def is_ready(settings: Settings) -> bool:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{settings.webhook_port}/readyz")
    return answer.status_code == 200


async def post(settings: Settings, body: bytes) -> httpx.Response:
    headers = {"authorization": "Bearer s3cret"}
    url = f"http://127.0.0.1:{settings.webhook_port}/alertmanager"
    async with httpx.AsyncClient(timeout=60) as http:
        return await http.post(url, content=body, headers=headers)


def labels(count: int, **more: str) -> list[dict[str, str]]:
    return [{"alertname": f"A{n}", "service": "checkout", **more} for n in range(count)]


async def _on_kafka(broker: Broker, names: set[str]) -> list[Any]:
    """Alerts on the topic, once all of these names are there."""
    count = len(names)
    while True:
        records = await broker.read(ids.TOPIC_ALERTS, count)
        found = [a for r in records for a in WebhookPayload.parse(r.value).to_alerts()]
        if names <= {alert.name for alert in found}:
            return found
        count = len(records) + 1


@pytest.mark.parametrize(
    ("max_alerts", "max_body", "reason"), [(1, 1_000_000, "truncated"), (0, 3_000, "too_large")]
)
async def test_what_alertmanager_left_out_or_sent_in_vain_is_on_kafka(  # noqa: PLR0917 - its cases
    tmp_path: Path, broker: Broker, settings: Settings, max_alerts: int, max_body: int, reason: str
) -> None:
    async with sending(tmp_path, settings, max_alerts, max_body) as manager:
        await manager.fire([*labels(20), {"alertname": "Other", "service": "kubelet"}])
        wanted = {f"A{n}" for n in range(20)}
        found = await _on_kafka(broker, wanted)
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{settings.webhook_port}/metrics"
            metrics = (await http.get(url)).text
    assert f'aviary_webhook_lost_total{{reason="{reason}"}} 0.0' not in metrics
    assert "aviary_webhook_pauses_total 0.0" in metrics
    assert len({alert.identity for alert in found}) == len({alert.name for alert in found})


async def test_ten_thousand_alerts_are_taken_while_health_answers(
    broker: Broker, settings: Settings
) -> None:
    notification = payload("checkout", *(f"f{n}" for n in range(10_000)))
    for alert in notification["alerts"]:
        alert["annotations"] = {"description": "d" * 500, "summary": "s" * 100}
    body = json.dumps(notification).encode()
    async with running(settings, run_webhook), httpx.AsyncClient() as http:
        await until(lambda: is_ready(settings), "the webhook is ready")
        health = f"http://127.0.0.1:{settings.webhook_port}/healthz"
        sent = asyncio.ensure_future(post_until_taken(settings, body))
        slowest = 0.0
        while not sent.done():
            begun = time.monotonic()
            assert (await http.get(health, timeout=30)).status_code == 200
            slowest = max(slowest, time.monotonic() - begun)
            await asyncio.sleep(0.1)  # health is asked by the second, and not as fast as it answers
        assert (sent.result().status_code, sent.result().json()) == (200, {"alerts": 10_000})
    assert slowest < 10  # it was as long as the whole, and minutes where names compared in pairs
    records = await broker.read(ids.TOPIC_ALERTS, 10_000)
    assert max(len(record.value) for record in records) < 2_000


async def test_a_loss_that_cant_be_asked_about_pauses_every_canary(
    tmp_path: Path, broker: Broker, client: Client
) -> None:
    settings = make_settings(tmp_path, broker, client.service_client.config.target_host)
    nobody = {"alertmanager_url": f"http://127.0.0.1:{FreePorts().take()}"}
    settings = settings.model_copy(update=nobody)
    for service in ("checkout", "ledger"):
        await open_canary(client, service)

    async def listed() -> bool:
        query = f"WorkflowType = '{ids.CANARY_WORKFLOW}' AND ExecutionStatus = 'Running'"
        return (await client.count_workflows(query)).count == 2

    await until(listed, "both canaries are listed")
    async with running(settings, run_webhook), running(settings, run_bridge):
        await until(lambda: is_ready(settings), "the webhook is ready")
        answer = await post(settings, b"nonsense")
        assert (answer.status_code, answer.json()["paused"]) == (400, True)
        for service in ("checkout", "ledger"):

            async def is_told(service: str = service) -> bool:
                return any(alert.lost for alert in await alerts_signalled(client, service))

            await until(is_told, f"{service} is told")
    [record] = await broker.read(ids.TOPIC_ALERTS, 1)
    assert is_loss(record.value)
