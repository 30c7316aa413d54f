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
from aviary.api.problems import PROBLEM
from aviary.webhook import WebhookOptions, create_app
from schemas import ids
from schemas.loss import is_loss
from schemas.notification import WebhookPayload
from tests.unit.ingestion.fakes import FakeWriter, alert_value

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
    assert [is_loss(record.value) for record in writer.written] == [True]


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
    assert [is_loss(record.value) for record in writer.written] == (
        [False] * 3 if status == 200 else [True]
    )


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


async def test_a_kafka_that_is_slow_and_goes_on_is_given_all_of_it() -> None:
    """All comes again after a 503, from its beginning: the end of it must have its time too."""

    class Slow(FakeWriter):
        async def send(self, records: Sequence[Outgoing]) -> None:
            await asyncio.sleep(0.008 * len(records))
            await super().send(records)

    slow = Slow()
    body = alert_value(*({"service": f"s{n}"} for n in range(500)))
    async with _client(slow, max_body=1_000_000, patience_s=2) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()) == (200, {"alerts": 500})
    assert len(slow.written) == 500


class Small(FakeWriter):
    """Kafka with a limit of its own."""

    most = 400

    async def send(self, records: Sequence[Outgoing]) -> None:
        if any(len(record.value or b"") > self.most for record in records):
            raise Terminal("MessageSizeTooLargeError")
        await super().send(records)


async def test_what_kafka_will_never_take_is_not_asked_for_again() -> None:
    writer = Small()
    body = alert_value({"service": "cart"}, {"service": "checkout", "x": "y" * 150}, {"a": "b"})
    writer.most = 200
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
    assert answer.status_code == 503  # not even the order to pause could be written
    assert [record.key for record in writer.written] == [b"cart", None]
    writer.most = 600
    body = alert_value(
        {"service": "cart"}, {"service": "checkout", **{str(n): "y" * 150 for n in range(5)}}
    )
    async with _client(writer) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["reason"]) == (413, "kafka_refused")
    assert [is_loss(record.value) for record in writer.written[2:]] == [False, True]


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
    assert 'aviary_webhook_lost_total{reason="truncated"} 1.0' in metrics
    assert 'aviary_webhook_lost_total{reason="invalid_data"} 1.0' in metrics
    assert 'aviary_webhook_lost_total{reason="too_large"} 0.0' in metrics
    assert "aviary_webhook_pauses_total 2.0" in metrics


async def test_only_known_methods_and_paths(writer: FakeWriter) -> None:
    async with _client(writer) as http:
        wrong = await http.get("/alertmanager")
        assert (wrong.status_code, wrong.json()["reason"]) == (405, "wrong_method")
        assert wrong.headers["allow"] == "POST, PUT"
        for method in ("GET", "HEAD", "DELETE", "PATCH", "OPTIONS"):
            nowhere = await http.request(method, "/other")
            assert (nowhere.status_code, nowhere.headers["content-type"]) == (404, PROBLEM)
        assert (await http.post("/other", content=BODY)).status_code == 401
        answer = await http.post("/other", content=BODY, headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["reason"]) == (404, "wrong_path")
        assert "expected /alertmanager" in answer.json()["detail"]
        put = await http.put("/alertmanager/", content=BODY, headers=AUTHORIZED)
        assert (put.status_code, put.json()["reason"]) == (404, "wrong_path")
        metrics = (await http.get("/metrics")).text
    assert 'aviary_webhook_lost_total{reason="wrong_path"} 2.0' in metrics
    assert not writer.written


async def test_every_refusal_is_a_problem(writer: FakeWriter) -> None:
    """RFC 9457: what was done about the alerts stands beside, as members of its own."""
    async with _client(writer) as http:
        for content, headers, status, more in (
            (BODY, {}, 401, {}),
            (b"{", AUTHORIZED, 400, {"paused": True}),
            (b"[]", AUTHORIZED, 422, {"paused": True}),
        ):
            answer = await http.post("/alertmanager", content=content, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
            said = answer.json()
            known = {name: said.pop(name) for name in ("type", "title", "status", "reason")}
            assert known["status"] == status
            assert said.pop("detail")
            assert said == more
            assert ("www-authenticate" in answer.headers) is (status == 401)


async def test_grafana_may_put(writer: FakeWriter) -> None:
    async with _client(writer) as http:
        answer = await http.put("/alertmanager", content=BODY, headers=AUTHORIZED)
    assert answer.status_code == 200
    assert len(writer.written) == 3


async def test_each_alert_of_a_notification_is_taken_by_itself(writer: FakeWriter) -> None:
    notification = json.loads(BODY)
    del notification["alerts"][1]["startsAt"]
    notification["alerts"].append("x" * 1_000_000)
    async with _client(writer, max_body=10_000_000) as http:
        answer = await http.post("/alertmanager", json=notification, headers=AUTHORIZED)
        metrics = (await http.get("/metrics")).text
    assert (answer.status_code, answer.json()) == (200, {"alerts": 2, "dead_letters": 2})
    assert [record.key for record in writer.to(ids.TOPIC_ALERTS)] == [b"checkout", None]
    bad, large = writer.to(ids.TOPIC_DEADLETTERS)
    assert json.loads(bad.value or b"") == {"version": "4", "alerts": [notification["alerts"][1]]}
    headers = dict(bad.headers)
    assert headers["aviary-reason"] == b"invalid_data"
    assert headers["aviary-error"] == b"alerts[1].startsAt: missing, expected a value"
    assert headers["aviary-source-topic"] == ids.TOPIC_ALERTS.encode()
    assert (bad.key or b"").startswith(b"sha256/")
    assert bad.key != large.key
    assert len(large.value or b"") < 300_000
    assert (dict(large.headers)["aviary-cut"] or b"").startswith(b"1000032 bytes, sha256 ")
    assert "aviary_webhook_dead_letters_total 2.0" in metrics


@pytest.mark.parametrize(
    "body",
    [
        b'{"version": "4", "alerts": ' + b"[" * 200_000,
        b'{"version": "4", "alerts": [' + b'{"labels":' * 100_000,
        b'{"version": "4", "alerts": [' + b"[]," * 1_000_001 + b"[]]}",
        b'{"version": "4", "alerts": [' + b"1," * 50_000 + b"1]}",
        b'{"version": "4", "truncatedAlerts": 1e999, "alerts": [1]}',
        b'{"version": "4", "truncatedAlerts": ' + b"9" * 400 + b', "alerts": [{}]}',
        b'{"version": "4", "truncatedAlerts": ' + b"9" * 1_000_000 + b', "alerts": [{}]}',
        b'{"version": "4", "truncatedAlerts": {"a": []}, "alerts": [null]}',
        b'{"version": ' + b"9" * 5000 + b"}",
        b'{"version": "\\ud800", "alerts": []}',
        b'{"version": "4", "version": "4", "alerts": [{}]}',
        b'{"receiver": "\\ud800", "version": "4", "alerts": ["\\udfff"]}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"null",
        b"NaN",
        b'"\\ud800"',
    ],
)
async def test_no_body_is_a_fault(writer: FakeWriter, body: bytes) -> None:
    async with _client(writer, max_body=10_000_000) as http:
        answer = await http.post("/alertmanager", content=body, headers=AUTHORIZED)
        assert answer.status_code in {200, 400, 413, 422}
        assert writer.written
        await http.get("/metrics")


async def test_health_answers_while_a_large_body_is_read(writer: FakeWriter) -> None:
    """10,000 alerts of 2 kB, and names that took 223 s where they were compared in pairs."""
    labels = {f"label_{n}": "x" * 40 for n in range(20)} | {"service": "checkout"}
    body = alert_value(*([labels] * 10_000))
    alone = {f"n{n}": n for n in range(300_000)}
    hostile = json.dumps({"version": "4", "alerts": [alone, alone]}).encode()
    answered = 0
    async with _client(writer, max_body=64_000_000) as http:
        posts = [
            asyncio.ensure_future(http.post("/alertmanager", content=one, headers=AUTHORIZED))
            for one in (body, hostile)
        ]
        while not all(post.done() for post in posts):
            assert (await http.get("/healthz")).status_code == 200
            answered += 1
            await asyncio.sleep(0.01)
    assert [post.result().status_code for post in posts] == [200, 200]
    assert len(writer.to(ids.TOPIC_ALERTS)) == 10_000
    assert answered > 5


async def test_bodies_in_memory_are_bounded() -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b" " * 5000
        waiting.set()
        await go.wait()
        yield BODY

    writer = FakeWriter()
    async with _client(writer, max_body=6000) as http:
        slow = []
        for _ in range(2):
            waiting.clear()
            post = http.post("/alertmanager", content=slowly(), headers=AUTHORIZED)
            slow.append(asyncio.ensure_future(post))
            await waiting.wait()
        third = await http.post("/alertmanager", content=b" " * 5000 + BODY, headers=AUTHORIZED)
        go.set()
        answers = await asyncio.gather(*slow)
        again = await http.post("/alertmanager", content=b" " * 5000 + BODY, headers=AUTHORIZED)
    assert (third.status_code, third.json()["reason"]) == (503, "busy")
    assert [answer.status_code for answer in (*answers, again)] == [200, 200, 200]
