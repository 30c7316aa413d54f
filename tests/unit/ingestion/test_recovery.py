"""After a loss: what fires is asked for, or what it may concern is paused, before the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from adapters.errors import AdapterError, Retryable, Terminal
from adapters.memory import MemoryAlertSource
from aviary.recovery import Lost, Recovery
from aviary.webhook import WebhookOptions, create_app
from schemas import ids
from schemas.alert import Alert, AlertStatus
from schemas.loss import Loss, LossReason, is_loss
from schemas.notification import WebhookPayload
from tests.unit.ingestion.fakes import FakeWriter, alert_value

FIRING = [
    Alert(
        status=AlertStatus.FIRING,
        fingerprint=f"f{n}",
        labels={"service": service, "severity": "critical"},
        starts_at=datetime(2026, 1, 1, 10, 0, 0, 123_000, tzinfo=UTC),
    )
    for n, service in enumerate(("checkout", "kubelet", "cart"))
]
NOW = 1_800_000_123.0


class Source(MemoryAlertSource):
    """Remembers for whom it was asked."""

    def __init__(self, alerts: Sequence[Alert] = ()) -> None:
        super().__init__(alerts)
        self.asked: list[str | None] = []
        self.hangs = False

    async def firing(
        self, receiver: str | None = None, kept: Container[str] = ()
    ) -> Sequence[Alert]:
        self.asked.append(receiver)
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        return await super().firing(receiver, kept)


def _client(writer: FakeWriter, source: Source | None, ask_s: float = 5.0) -> httpx.AsyncClient:
    known = {"checkout", "cart"}

    def service_of(labels: dict[str, str]) -> str | None:
        return labels.get("service")

    recovery = Recovery(source, service_of, known.__contains__, lambda: NOW, ask_s=ask_s)
    app = create_app(
        WebhookOptions(max_body=10_000),
        writer,
        service_of,
        CollectorRegistry(),
        lambda: NOW,
        recovery=recovery,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


def _truncated(**changes: Any) -> bytes:
    body = json.loads(alert_value({"service": "cart"}, first=9))
    body |= {"truncatedAlerts": 2, "receiver": "aviary", "groupLabels": {"service": "checkout"}}
    return json.dumps(body | changes).encode()


LARGE = b'{"receiver":"a\\"b","status":"firing","alerts":[' + b" " * 20_000
LOST: list[tuple[bytes, int, str, str | None]] = [
    (_truncated(), 200, "truncated", "aviary"),
    (_truncated(truncatedAlerts=-1), 200, "truncated", "aviary"),
    (LARGE, 413, "too_large", 'a"b'),
    (b"{" + LARGE, 413, "too_large", None),
    (b'{"receiver":"aviary","alerts":[', 400, "unparsable", "aviary"),
    (b'{"receiver":"aviary","version":"5","alerts":[]}', 422, "invalid_data", "aviary"),
    (b"[]", 422, "invalid_data", None),
]


@pytest.mark.parametrize(("body", "status", "reason", "receiver"), LOST)
async def test_what_fires_is_asked_for(
    body: bytes, status: int, reason: str, receiver: str | None
) -> None:
    writer, source = FakeWriter(), Source(FIRING)
    async with _client(writer, source) as http:
        answer = await http.post("/alertmanager", content=body)
        metrics = (await http.get("/metrics")).text
    assert (answer.status_code, answer.json()["asked_for"]) == (status, 2)
    assert source.asked == [receiver]
    asked_for = writer.written[-2:]
    assert [record.key for record in asked_for] == [b"checkout", b"cart"]
    found = [WebhookPayload.parse(record.value).to_alerts()[0] for record in asked_for]
    assert [alert.identity for alert in found] == [FIRING[0].identity, FIRING[2].identity]
    assert f'aviary_webhook_lost_total{{reason="{reason}"}} 1.0' in metrics
    assert "aviary_webhook_recovered_alerts_total 2.0" in metrics
    assert "aviary_webhook_pauses_total 0.0" in metrics


@pytest.mark.parametrize(
    "failure", [None, Retryable("connection refused"), Terminal("answered 404"), TimeoutError()]
)
@pytest.mark.parametrize(("body", "status", "reason", "receiver"), LOST)
async def test_what_it_may_concern_is_paused_when_nobody_can_be_asked(
    body: bytes, status: int, reason: str, receiver: str | None, failure: Exception | None
) -> None:
    writer, source = FakeWriter(), None if failure is None else Source()
    if source is not None:
        source.hangs = isinstance(failure, TimeoutError)
        source.failure = failure if isinstance(failure, AdapterError) else None
    async with _client(writer, source, ask_s=0.05) as http:
        answer = await http.post("/alertmanager", content=body)
        metrics = (await http.get("/metrics")).text
    assert (answer.status_code, answer.json()["paused"]) == (status, True)
    loss = Loss.parse(writer.written[-1].value or b"")
    assert loss.reason == reason
    assert "could not be asked" in loss.text
    assert loss.since == datetime.fromtimestamp(1_800_000_000, UTC)
    narrow = "checkout" if reason == "truncated" else None
    assert loss.service == narrow
    assert writer.written[-1].key == (narrow.encode() if narrow else None)
    assert "aviary_webhook_pauses_total 1.0" in metrics


@pytest.mark.parametrize("service", ["kubelet", "", None])
async def test_a_group_of_a_service_that_is_not_ours_pauses_every_canary(
    service: str | None,
) -> None:
    writer = FakeWriter()
    labels = {"service": service} if service is not None else {"alertname": "Errors"}
    async with _client(writer, None) as http:
        await http.post("/alertmanager", content=_truncated(groupLabels=labels))
    assert Loss.parse(writer.written[-1].value or b"").service is None


@pytest.mark.parametrize(("body", "status", "reason", "receiver"), LOST)
async def test_no_loss_is_answered_for_good_before_it_is_made_good(
    body: bytes, status: int, reason: str, receiver: str | None
) -> None:
    """Alertmanager forgets what was answered with 2xx or 4xx."""
    writer = FakeWriter(failure=Retryable("broker gone"))
    async with _client(writer, Source(FIRING)) as http:
        answer = await http.post("/alertmanager", content=body)
        assert (answer.status_code, answer.json()["reason"]) == (503, "kafka_away")
        writer.failure = None
        assert (await http.post("/alertmanager", content=body)).status_code == status


async def test_many_losses_at_once_ask_once_more_and_not_each() -> None:
    writer, source = FakeWriter(), Source(FIRING)
    async with _client(writer, source) as http:
        posts = [http.post("/alertmanager", content=_truncated()) for _ in range(20)]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    assert len(source.asked) <= 2
    found = [record.key for record in writer.written]
    assert found.count(b"checkout") >= 1


async def test_what_was_written_lately_is_not_written_again_by_each_repeat() -> None:
    """Alertmanager repeats a notification that was refused every second or so."""
    now, source = NOW, Source(FIRING)
    recovery = Recovery(source, lambda labels: labels["service"], lambda _: True, lambda: now)
    lost = Lost(LossReason.TOO_LARGE, "too large")
    first = await recovery.after(lost, ())
    assert len((await recovery.after(lost, ())).records) == 3, "it may not be durable yet"
    recovery.written(first)
    assert not (await recovery.after(lost, ())).records
    source.alerts.append(FIRING[0].model_copy(update={"fingerprint": "f9"}))
    assert len((await recovery.after(lost, ())).records) == 1
    now += 31
    assert len((await recovery.after(lost, ())).records) == 4


async def test_strangers_neither_ask_nor_pause() -> None:
    writer, source = FakeWriter(), Source(FIRING)
    options = WebhookOptions(token=SecretStr("s3cret"))
    recovery = Recovery(source, lambda _: None, lambda _: True, lambda: NOW)
    app = create_app(options, writer, lambda _: None, recovery=recovery)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://webhook") as http:
        assert (await http.post("/alertmanager", content=b"nonsense")).status_code == 401
        metrics = (await http.get("/metrics")).text
    assert not source.asked
    assert not writer.written
    assert 'aviary_webhook_lost_total{reason="unauthorized"} 1.0' in metrics


async def test_nobody_outside_can_order_a_pause() -> None:
    order = Loss.at(NOW, LossReason.TRUNCATED, "x", "checkout").wire()
    assert is_loss(order)
    writer = FakeWriter()
    async with _client(writer, Source()) as http:
        answer = await http.post("/alertmanager", content=order)
    assert answer.status_code == 422
    assert not writer.to(ids.TOPIC_ALERTS)
