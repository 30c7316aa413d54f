"""The webhook before a real broker: 200 means durable, 503 means come again."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from aviary.settings import Settings
from aviary.webhook import run_webhook
from schemas import ids
from schemas.deploy import DEPLOY_TYPE
from schemas.notification import WebhookPayload
from tests.contract.kafka.parts import Broker, make_settings, payload, running, until

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def settings(tmp_path: Path, broker: Broker) -> Settings:
    return make_settings(tmp_path, broker, "127.0.0.1:1")


async def _post(settings: Settings, body: object) -> httpx.Response:
    url = f"http://127.0.0.1:{settings.webhook_port}/alertmanager"
    headers = {"authorization": "Bearer s3cret", "traceparent": PARENT}
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.post(url, json=body, headers=headers)


async def _answers(settings: Settings, status: int) -> None:
    async def so() -> bool:
        return (await _post(settings, payload())).status_code == status

    await until(so, f"the webhook answers {status}")


async def test_each_alert_is_a_record_keyed_by_its_service(
    broker: Broker, settings: Settings
) -> None:
    both = payload("checkout", "f1", "f2")
    async with running(settings, run_webhook):
        await until_ready(settings)
        answer = await _post(settings, both)
    assert (answer.status_code, answer.json()) == (200, {"alerts": 2})
    records = await broker.read(ids.TOPIC_ALERTS, 2)
    assert {record.key for record in records} == {b"checkout"}
    found = [WebhookPayload.parse(record.value).to_alerts() for record in records]
    assert [[alert.fingerprint for alert in alerts] for alerts in found] == [["f1"], ["f2"]]
    assert dict(records[0].headers)["traceparent"].decode()[3:35] == PARENT[3:35]
    assert json.loads(records[0].value)["version"] == "4"


async def test_a_deploy_event_is_a_record_keyed_by_its_release(
    broker: Broker, settings: Settings
) -> None:
    told = settings.model_copy(update={"deploy_token": SecretStr("a-token-of-the-pipeline")})
    body = {
        "specversion": "1.0",
        "type": DEPLOY_TYPE,
        "source": "/ci",
        "id": "1",
        "data": {"release": "r1", "services": [{"service": "checkout", "version": "2"}]},
    }
    headers = {
        "authorization": "Bearer a-token-of-the-pipeline",
        "content-type": "application/cloudevents+json",
    }
    url = f"http://127.0.0.1:{settings.webhook_port}/events"
    async with running(told, run_webhook), httpx.AsyncClient(timeout=30) as http:
        await until_ready(settings)
        answer = await http.post(url, json=body, headers=headers)
        assert (answer.status_code, answer.json()["release"]) == (202, "r1")
        (record,) = await broker.read(ids.TOPIC_DEPLOYS, 1)
        assert (record.key, json.loads(record.value)) == (b"r1", body)
        broker.kill()
        away = await http.post(url, json=body, headers=headers)
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")


async def test_it_says_503_while_the_broker_is_away_and_recovers(
    broker: Broker, settings: Settings
) -> None:
    broker.kill()
    async with running(settings, run_webhook), httpx.AsyncClient() as http:
        health = f"http://127.0.0.1:{settings.webhook_port}"
        assert (await _post(settings, payload())).status_code == 503
        assert (await http.get(f"{health}/healthz")).status_code == 200
        assert (await http.get(f"{health}/readyz")).status_code == 503
        await broker.start()
        await _answers(settings, 200)
        assert (await http.get(f"{health}/readyz")).status_code == 200
        broker.kill()
        assert (await _post(settings, payload())).status_code == 503
        await broker.start()
        await _answers(settings, 200)
    assert len(await broker.read(ids.TOPIC_ALERTS, 1)) >= 1


async def until_ready(settings: Settings) -> None:
    async def ready() -> bool:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{settings.webhook_port}/readyz")
        return answer.status_code == 200

    await until(ready, "the webhook is ready")
