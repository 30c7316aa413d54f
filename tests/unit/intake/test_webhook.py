from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from adapters.errors import Retryable, Terminal
from adapters.kafka import Outgoing
from aviary.webhook import WebhookOptions, create_app
from schemas import ids
from schemas.alert import WebhookPayload
from tests.unit.intake.fakes import FakeWriter, alert_value

BODY = alert_value({"service": "checkout"}, {"service": "cart"}, {"other": "x"})
AUTHORIZED = {"authorization": "Bearer s3cret"}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _client(
    writer: FakeWriter,
    *,
    token: str | None = "s3cret",
    max_body: int = 10_000,
    patience_s: float = 5.0,
) -> httpx.AsyncClient:
    secret = SecretStr(token) if token is not None else None
    options = WebhookOptions(token=secret, max_body=max_body, patience_s=patience_s)
    app = create_app(
        options, writer, lambda labels: labels.get("service"), CollectorRegistry(), lambda: 1234.5
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


async def test_each_alert_is_a_record(writer: FakeWriter) -> None:
    trace = {"traceparent": TRACEPARENT, "tracestate": "a=b", "baggage": "secret=1"}
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=BODY, headers=AUTHORIZED | trace)
    assert (answer.status_code, answer.json()) == (200, {"alerts": 3})
    assert [record.key for record in writer.written] == [b"checkout", b"cart", None]
    assert {record.topic for record in writer.written} == {ids.TOPIC_ALERTS}
    alerts = [WebhookPayload.parse(record.value).to_alerts() for record in writer.written]
    assert [[alert.fingerprint for alert in each] for each in alerts] == [["f0"], ["f1"], ["f2"]]
    headers = dict(writer.written[0].headers)
    assert headers == {
        "content-type": b"application/json",
        "traceparent": TRACEPARENT.encode(),
        "tracestate": b"a=b",
        "baggage": b"aviary.alert.received=1234.500",
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"hello", 400, "not valid JSON"),
        (b"{}", 422, "version: missing"),
        (b'{"version": "3", "alerts": []}', 422, "got '3'"),
        (b"[]", 422, "expected an Alertmanager payload"),
    ],
)
async def test_what_is_no_payload_is_refused(
    writer: FakeWriter, body: bytes, status: int, words: str
) -> None:
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert answer.json()["reason"] in {"unparsable", "invalid_data"}
    assert not writer.written


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Digest s3cret"},
        {"authorization": "s3cret"},
        {"authorization": "Bearer s3cret2"},
        {"authorization": "Bearer s3cré"},
    ],
)
async def test_without_the_token_nothing_is_taken(
    writer: FakeWriter, headers: dict[str, str]
) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=BODY, headers=encoded)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "s3cret" not in answer.text
    assert not writer.written


async def test_without_a_token_set_none_is_demanded(writer: FakeWriter) -> None:
    async with _client(writer, token=None) as http:
        answer = await http.post("/alertmanager", content=BODY)
    assert answer.status_code == 200


async def _in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("limit", "status"), [(len(BODY), 200), (len(BODY) - 1, 413)])
async def test_the_size_of_a_body_is_bounded(
    writer: FakeWriter, limit: int, status: int, *, chunked: bool
) -> None:
    body = _in_chunks(BODY) if chunked else BODY
    async with _client(writer, max_body=limit) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
    assert answer.status_code == status
    assert bool(writer.written) == (status == 200)


async def test_503_while_kafka_is_away(writer: FakeWriter) -> None:
    writer.failure = Retryable("broker gone")
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=BODY, headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["reason"]) == (503, "kafka_away")
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "broker gone")
        assert (await http.get("/healthz")).status_code == 200
        writer.failure = None
        assert (await http.get("/readyz")).status_code == 200


async def test_503_when_kafka_takes_too_long() -> None:
    class Hanging(FakeWriter):
        async def send(self, records: Sequence[Outgoing]) -> None:
            await asyncio.Event().wait()

    async with _client(Hanging(), patience_s=0.01) as http:
        answer = await http.post("/alertmanager", content=BODY, headers=AUTHORIZED)
    assert answer.status_code == 503


async def test_what_kafka_will_never_take_is_not_asked_for_again(writer: FakeWriter) -> None:
    writer.failure = Terminal("too large")
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=BODY, headers=AUTHORIZED)
    assert answer.status_code == 413


async def test_metrics(writer: FakeWriter) -> None:
    truncated = json.loads(BODY) | {"truncatedAlerts": 4}
    async with _client(writer) as http:
        await http.post("/alertmanager", json=truncated, headers=AUTHORIZED)
        await http.post("/alertmanager", content=b"{}", headers=AUTHORIZED)
        metrics = (await http.get("/metrics")).text
    assert 'aviary_webhook_requests_total{status="200"} 1.0' in metrics
    assert 'aviary_webhook_requests_total{status="422"} 1.0' in metrics
    assert "aviary_webhook_alerts_total 3.0" in metrics
    assert "aviary_webhook_truncated_alerts_total 4.0" in metrics


async def test_only_post_and_only_known_paths(writer: FakeWriter) -> None:
    async with _client(writer) as http:
        assert (await http.get("/alertmanager")).status_code == 405
        assert (await http.post("/other")).status_code == 404
