"""Deploy events over HTTP: each becomes the record that it would have been, or is refused whole."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from adapters.errors import AdapterError, Retryable, Terminal
from adapters.links import Links
from aviary.event_receiver import EVENT_MOST, EventOptions, EventReceiver
from aviary.webhook import WebhookOptions, create_app
from schemas import ids
from schemas.deploy import parse_deploy
from tests.catalogs import make
from tests.unit.ingestion.fakes import FakeWriter

TOKEN = "a-token-of-the-pipeline"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
CATALOG = make(
    {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": []},
        "services": {"ledger": {}, "checkout": {"depends_on": ["ledger"]}},
    }
)


def event(release: str = "shop-1", **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "dev.aviary.release.requested.v1",
        "source": "/ci/shop",
        "id": release,
        "data": {"release": release, "services": [{"service": "ledger", "version": "2"}]},
        **more,
    }


def client(
    writer: FakeWriter, token: str | None = TOKEN, patience_s: float = 5.0
) -> httpx.AsyncClient:
    links = Links("https://temporal.example")
    options = EventOptions(SecretStr(token) if token else None, links, patience_s)
    app = create_app(
        WebhookOptions(),
        writer,
        lambda _: None,
        CollectorRegistry(),
        events=EventReceiver(options, writer, lambda: CATALOG),
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://webhook")


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


async def _post(
    writer: FakeWriter, content: bytes, headers: dict[str, str], **options: Any
) -> httpx.Response:
    async with client(writer, **options) as http:
        return await http.post("/events", content=content, headers=headers)


async def test_a_structured_event_is_the_record_that_it_would_have_been(writer: FakeWriter) -> None:
    body = json.dumps(event()).encode()
    answer = await _post(writer, body, AUTHORIZED | STRUCTURED)
    assert answer.status_code == 202
    assert answer.json() == {
        "release": "shop-1",
        "services": {"ledger": "2"},
        "event": parse_deploy(body, dict(STRUCTURED_HEADERS)).origin,
        "links": {
            "release": "https://temporal.example/namespaces/default/workflows/release%2Fshop-1"
        },
    }
    (record,) = writer.written
    assert (record.topic, record.key, record.value) == (ids.TOPIC_DEPLOYS, b"shop-1", body)
    assert dict(record.headers)["content-type"] == b"application/cloudevents+json"


STRUCTURED_HEADERS = {"content-type": b"application/cloudevents+json"}


async def test_a_binary_event_is_one_in_kafka_too(writer: FakeWriter) -> None:
    whole = event(source="/ci/größe")
    body = json.dumps(whole["data"]).encode()
    attributes = {
        "ce-specversion": "1.0",
        "ce-type": whole["type"],
        "ce-source": "/ci/gr%C3%B6%C3%9Fe",
        "ce-id": "shop-1",
        "content-type": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    answer = await _post(writer, body, AUTHORIZED | attributes)
    assert answer.status_code == 202
    (record,) = writer.written
    headers = {name: value or b"" for name, value in record.headers}
    assert "authorization" not in headers
    assert headers["traceparent"].startswith(b"00-0af7651916cd43dd8448eb211c80319c-")
    assert parse_deploy(record.value, headers) == parse_deploy(
        json.dumps(whole).encode(), STRUCTURED_HEADERS
    )


async def test_a_batch_is_taken_whole(writer: FakeWriter) -> None:
    body = json.dumps([event("a"), event("b")]).encode()
    answer = await _post(writer, body, AUTHORIZED | BATCH)
    assert [one["release"] for one in answer.json()["releases"]] == ["a", "b"]
    assert [record.key for record in writer.written] == [b"a", b"b"]
    for record in writer.written:
        headers = {name: value or b"" for name, value in record.headers}
        assert parse_deploy(record.value, headers).deploy.services[0].service == "ledger"


_NO_SERVICE = {"release": "a", "services": [{"service": "legder", "version": "2"}]}


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        (STRUCTURED, b"", 400, "empty"),
        (STRUCTURED, b"hello", 400, "not valid JSON"),
        (STRUCTURED, b"[]", 400, "expected a CloudEvents 1.0 object"),
        (STRUCTURED, b"{}", 400, "specversion: missing"),
        (STRUCTURED, json.dumps(event(type="x")).encode(), 422, "unknown event type 'x'"),
        (STRUCTURED, json.dumps(event(data={})).encode(), 422, "data.release: missing"),
        (STRUCTURED, json.dumps(event(data=_NO_SERVICE)).encode(), 422, "did you mean 'ledger'"),
        (STRUCTURED, b" " * EVENT_MOST + b"{}", 413, "expected at most 1000000"),
        (STRUCTURED, b" " * (4 * 1024 * 1024 + 1), 413, "at most 4194304 bytes"),
        (STRUCTURED, b"[" * 100_000, 400, "nested too deeply"),
        (BATCH, b"[]", 400, "got 0 events, expected a list of 1 to 100"),
        (BATCH, b"{}", 400, "expected a list of 1 to 100 CloudEvents"),
        (BATCH, json.dumps([event()] * 101).encode(), 400, "got 101 events"),
        (BATCH, json.dumps([event("a"), event("b", type="x")]).encode(), 422, "[1]: type: unknown"),
        (BATCH, b'["\\ud800"]', 400, "surrogates not allowed"),
        ({"content-type": "application/json"}, b"{}", 415, "or an event's attributes as ce-"),
        ({}, b"{}", 415, "content-type: got ''"),
        ({"ce-specversion": "1.0", "ce-id": "%FF"}, b"{}", 400, "ce-id: got '%FF', expected UTF-8"),
        ({"ce-specversion": "1.0"}, b"{}", 400, "missing"),
    ],
)
async def test_what_can_t_be_acted_upon_is_a_problem_and_no_record(
    writer: FakeWriter, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    answer = await _post(writer, body, AUTHORIZED | headers)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status)
    assert words in problem["detail"]
    assert problem.keys() == {"type", "title", "status", "reason", "detail"}
    assert writer.written == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": TOKEN},
    ],
)
async def test_who_has_no_token_changes_nothing(
    writer: FakeWriter, headers: dict[str, str]
) -> None:
    answer = await _post(writer, json.dumps(event()).encode(), headers | STRUCTURED)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert writer.written == []
    assert TOKEN not in answer.text


async def test_without_a_token_of_its_own_nobody_is_let_in(writer: FakeWriter) -> None:
    body = json.dumps(event()).encode()
    answer = await _post(writer, body, AUTHORIZED | STRUCTURED, token=None)
    assert answer.status_code == 404
    assert "AVIARY_DEPLOY_TOKEN is not set" in answer.json()["detail"]
    assert writer.written == []


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [(Retryable("no broker"), 503, "5"), (Terminal("record too large"), 413, None)],
)
async def test_nothing_is_said_to_be_taken_that_kafka_has_not(
    writer: FakeWriter, error: AdapterError, status: int, again: str | None
) -> None:
    writer.failure = error
    answer = await _post(writer, json.dumps(event()).encode(), AUTHORIZED | STRUCTURED)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, again)
    assert str(error) in answer.json()["detail"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda one: json.dumps(one).encode()),
    st.sampled_from([STRUCTURED, BATCH, {"ce-specversion": "1.0", "ce-type": "x"}]),
)
async def test_whatever_comes_is_answered(body: bytes, headers: dict[str, str]) -> None:
    writer = FakeWriter()
    answer = await _post(writer, body, AUTHORIZED | headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]
    assert writer.written == []
