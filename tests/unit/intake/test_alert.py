from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Alert, AlertStatus, WebhookPayload, find_service
from schemas.rejection import Rejected

ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "Errors", "service": "checkout"},
    "annotations": {"summary": "many"},
    "startsAt": "2026-01-01T10:00:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "f1",
}
PAYLOAD: dict[str, Any] = {
    "version": "4",
    "groupKey": "{}",
    "truncatedAlerts": 3,
    "status": "firing",
    "receiver": "aviary",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [ALERT, ALERT | {"fingerprint": "f2", "status": "resolved"}],
    "fromTheFuture": {"a": 1},
}


def _parse(**changes: Any) -> WebhookPayload:
    document = {name: value for name, value in (PAYLOAD | changes).items() if value is not ...}
    return WebhookPayload.parse(json.dumps(document).encode())


def test_a_payload_becomes_alerts() -> None:
    first, second = _parse().to_alerts()
    assert first == Alert(
        status=AlertStatus.FIRING,
        fingerprint="f1",
        labels=ALERT["labels"],
        annotations=ALERT["annotations"],
        starts_at=datetime(2026, 1, 1, 10, 0, 0, 123_000, tzinfo=UTC),
        ends_at=None,
        generator_url="http://prometheus/graph",
        external_url="http://alertmanager:9093",
    )
    assert first.name == "Errors"
    assert second.status is AlertStatus.RESOLVED


def test_a_real_end_is_kept() -> None:
    [alert] = _parse(alerts=[ALERT | {"endsAt": "2026-01-01T11:00:00Z"}]).to_alerts()
    assert alert.ends_at == datetime(2026, 1, 1, 11, tzinfo=UTC)


def test_one_record_for_each_alert_says_the_same() -> None:
    payload = _parse()
    again = [WebhookPayload.parse(single.wire()) for single in payload.split()]
    assert [alert for single in again for alert in single.to_alerts()] == [*payload.to_alerts()]
    assert [single.truncated_alerts for single in again] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "3"}, ["version", "'4'", "'3'"]),
        ({"version": ...}, ["version: missing"]),
        ({"alerts": []}, ["alerts", "at least one"]),
        ({"alerts": [{**ALERT, "fingerprint": ""}]}, ["alerts[0].fingerprint"]),
        ({"alerts": [ALERT, {**ALERT, "startsAt": "noon"}]}, ["alerts[1].startsAt", "'noon'"]),
        ({"alerts": [{**ALERT, "startsAt": "2026-01-01T10:00:00"}]}, ["startsAt", "timezone"]),
        ({"alerts": [{**ALERT, "status": "maybe"}]}, ["alerts[0].status", "'maybe'", "'firing'"]),
    ],
)
def test_errors_name_field_value_and_expectation(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Rejected) as caught:
        _parse(**changes)
    assert caught.value.reason == "invalid_data"
    for word in words:
        assert word in caught.value.text


@pytest.mark.parametrize("value", [b"[]", b"4", b'"x"'])
def test_a_document_that_is_no_object(value: bytes) -> None:
    with pytest.raises(Rejected, match="expected an Alertmanager payload"):
        WebhookPayload.parse(value)


def test_a_pair_of_alertmanagers_says_one_alert() -> None:
    [mine] = _parse(alerts=[ALERT]).to_alerts()
    elsewhere = ALERT | {"startsAt": "2026-01-01T12:00:00.123+02:00"}
    [theirs] = _parse(alerts=[elsewhere], externalURL="http://other:9093").to_alerts()
    assert mine.identity == theirs.identity
    [ended] = _parse(alerts=[ALERT | {"status": "resolved"}]).to_alerts()
    assert ended.identity != mine.identity


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"service": "checkout"}, "checkout"),
        ({"app": "cart"}, "cart"),
        ({"service": "kubelet", "app": "cart"}, "cart"),
        ({"service": "checkout", "app": "cart"}, "checkout"),
        ({"service": "kubelet"}, "kubelet"),
        ({"service": ""}, None),
        ({}, None),
    ],
)
def test_the_service_of_an_alert(labels: dict[str, str], found: str | None) -> None:
    assert find_service(labels, ("service", "app"), {"checkout", "cart"}) == found


@given(st.binary())
def test_any_bytes_are_a_payload_or_a_reason(value: bytes) -> None:
    with pytest.raises(Rejected):
        WebhookPayload.parse(value)
