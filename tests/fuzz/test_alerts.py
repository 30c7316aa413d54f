"""Odd notifications: each is answered, each alert of them is taken or kept, and all of it is small.

The same bytes go to the webhook as a body and to the bridge as a record.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from aviary.bridge.batch import chunks, read, request_id
from aviary.webhook import WebhookOptions, create_app
from schemas import ids
from schemas.alert_bounds import ALERT_BYTES
from schemas.catalog_file import parse_catalog
from schemas.loss import is_loss
from schemas.notification import WebhookPayload, receiver_of
from schemas.rejection import Rejected
from tests.unit.ingestion.fakes import CATALOG, FakeWriter, Record
from tests.unit.ingestion.test_senders import ALERTMANAGER, GRAFANA

KNOWN = parse_catalog(CATALOG)
KEPT = frozenset({"service", "severity"})

# Halves of surrogate pairs, controls and letters of every script; long ones now and then.
texts = st.one_of(
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(["", "checkout", "firing", "\ud800", "\x00\x1b[2J", "x" * 5000, "é" * 3000]),
)
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**30, -(10**400), 10**4200, 1e308, -0.0])
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=15,
)
times = st.one_of(
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-14:00", "0000-01-01T00:00:00Z"]
    ),
)
labels = st.dictionaries(texts, texts, max_size=80).map(lambda more: more | {"service": "checkout"})


def _changed(document: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The document with some fields odd, missing or more."""
    names = st.one_of(st.sampled_from(sorted(document)), texts)
    changes = st.dictionaries(names, st.one_of(values, times, labels), max_size=4)
    missing = st.sets(st.sampled_from(sorted(document)), max_size=1)
    return st.builds(
        lambda more, less: {n: v for n, v in (document | more).items() if n not in less},
        changes,
        missing,
    )


alerts = st.one_of(_changed(ALERTMANAGER["alerts"][0]), _changed(GRAFANA["alerts"][0]), values)
notifications = st.builds(
    lambda document, given: document | {"alerts": given},
    st.one_of(_changed(ALERTMANAGER), _changed(GRAFANA)),
    st.lists(alerts, max_size=5),
)


def _written(document: Any, *, escaped: bool) -> bytes:
    return json.dumps(document, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


def _cut_or_doubled(body: bytes, cuts: list[int]) -> bytes:
    """The same with a piece missing or twice, so that it is hardly JSON any more."""
    first, last = sorted(cut % (len(body) + 1) for cut in cuts)
    return body[:first] + body[last:] if first % 2 else body[:last] + body[first:]


wholes = st.builds(_written, st.one_of(notifications, values), escaped=st.booleans())
bodies = st.one_of(
    st.binary(max_size=200),
    wholes,
    st.builds(_cut_or_doubled, wholes, st.lists(st.integers(0, 100_000), min_size=2, max_size=2)),
)


@given(bodies)
def test_a_notification_is_read_or_refused(body: bytes) -> None:
    receiver_of(body)
    try:
        payload = WebhookPayload.parse(body, KEPT)
    except Rejected:
        return
    assert payload.alerts or payload.unfit
    found = payload.to_alerts()
    for single, alert in zip(payload.split(), found, strict=True):
        assert len(single.wire()) <= ALERT_BYTES
        assert WebhookPayload.parse(single.wire()).to_alerts() == (alert,)
        assert alert.identity
        assert "service" in alert.labels or len(alert.labels) < 64
    for unfit in payload.unfit:
        assert 0 < len(unfit.why) <= 2000
        assert unfit.why.startswith(f"alerts[{unfit.index}]")
        assert json.loads(unfit.wire())


@given(st.lists(bodies, min_size=1, max_size=3))
def test_the_webhook_answers_and_accounts_for_every_notification(given_bodies: list[bytes]) -> None:
    async def post() -> None:
        writer = FakeWriter()
        app = create_app(
            WebhookOptions(max_body=100_000),
            writer,
            lambda labels: labels.get("service"),
            CollectorRegistry(),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://webhook") as http:
            for body in given_bodies:
                before = len(writer.written)
                answer = await http.post("/alertmanager", content=body)
                assert answer.status_code in {200, 400, 413, 422}
                written = writer.written[before:]
                lost = sum(is_loss(record.value) for record in written)
                assert lost == (answer.status_code != 200 or "truncated" in answer.json())
                kept = len(written) - lost
                said = answer.json()
                assert kept == said.get("alerts", 0) + said.get("dead_letters", 0)
            assert (await http.get("/metrics")).status_code == 200
        assert {record.topic for record in writer.written} <= {
            ids.TOPIC_ALERTS,
            ids.TOPIC_DEADLETTERS,
        }
        assert all(len(record.value or b"") < 300_000 for record in writer.written)

    asyncio.run(post())


@given(st.lists(bodies, max_size=4))
def test_the_bridge_reads_or_refuses_every_record(values: list[bytes]) -> None:
    records = [
        Record(value, topic=ids.TOPIC_ALERTS, offset=offset) for offset, value in enumerate(values)
    ]
    batch = read(records, KNOWN, KEPT)
    assert set(batch.refused) <= set(range(len(records)))
    for why in batch.refused.values():
        assert 0 < len(why.text) < 3000
    for chunk in chunks(batch.items):
        assert request_id(chunk)
        assert all(item.service in KNOWN.services for item in chunk)
        size = sum(len(item.alert.model_dump_json().encode()) for item in chunk)
        assert size <= 512 * 1024 + ALERT_BYTES
