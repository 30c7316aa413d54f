from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Alert, AlertStatus, find_service
from schemas.notification import WebhookPayload
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
        ({"version": 4}, ["version", "'4'", "got 4"]),
        ({"alerts": []}, ["alerts", "at least one"]),
        ({"alerts": ...}, ["alerts", "a list"]),
        ({"alerts": {"0": ALERT}}, ["alerts", "a list"]),
    ],
)
def test_what_is_no_notification_says_field_value_and_expectation(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(Rejected) as caught:
        _parse(**changes)
    assert caught.value.reason == "invalid_data"
    for word in words:
        assert word in caught.value.text


WRONG: list[tuple[Any, list[str]]] = [
    ({**ALERT, "startsAt": "noon"}, ["alerts[1].startsAt", "'noon'"]),
    ({**ALERT, "startsAt": None}, ["alerts[1].startsAt: missing"]),
    ({**ALERT, "startsAt": 5}, ["alerts[1].startsAt", "got 5"]),
    ({**ALERT, "startsAt": "1700000000"}, ["alerts[1].startsAt", "'1700000000'"]),
    ({**ALERT, "startsAt": "2026-01-01T10:00:00"}, ["alerts[1].startsAt", "timezone"]),
    ({**ALERT, "startsAt": "0001-01-01T00:00:00+02:00"}, ["alerts[1].startsAt", "years 1 to 9999"]),
    ({**ALERT, "endsAt": "later"}, ["alerts[1].endsAt"]),
    ({**ALERT, "status": "maybe"}, ["alerts[1].status", "'maybe'", "'firing'"]),
    ({**ALERT, "labels": ["service"]}, ["alerts[1].labels"]),
    ({**ALERT, "labels": {"service": 5}}, ["alerts[1].labels.service", "got 5"]),
    ({**ALERT, "labels": None}, ["alerts[1].labels: missing"]),
    ({**ALERT, "labels": {"service": "\ud800"}}, ["alerts[1].labels", "surrogate"]),
    ({**ALERT, "fingerprint": 5}, ["alerts[1].fingerprint", "got 5"]),
    ({**ALERT, "fingerprint": "", "labels": {}}, ["alerts[1].fingerprint"]),
    ({**ALERT, "annotations": {"a": {"b": {}}}}, ["alerts[1].annotations.a"]),
    ({}, ["alerts[1].status: missing", "alerts[1].startsAt: missing"]),
    (
        {**ALERT, "labels": {f"l{n}": "" for n in range(10_001)}},
        ["alerts[1].labels: got 10001 fields, expected at most 10000"],
    ),
    ("firing", ["alerts[1]", "'firing'", "an object"]),
    (None, ["alerts[1]", "None", "an object"]),
    ([ALERT], ["alerts[1]", "an object"]),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_each_alert_is_read_by_itself(wrong: Any, words: list[str]) -> None:
    payload = _parse(alerts=[ALERT, wrong, ALERT | {"fingerprint": "f2"}])
    assert [alert.fingerprint for alert in payload.to_alerts()] == ["f1", "f2"]
    [unfit] = payload.unfit
    assert (unfit.index, unfit.raw) == (1, wrong)
    assert json.loads(unfit.wire())["alerts"] == [wrong]
    for word in words:
        assert word in unfit.why


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b'{"labels": {"service": "a", "service": "b"}}', "labels.service: given twice"),
        (b'{"status": "firing", "status": "resolved"}', "status: given twice"),
        (b'{"labels": {"service": "\xff"}}', "alerts[1]"),
        (b'{"labels": {"service": NaN}}', "alerts[1]"),
        (b'{"startsAt": 1' + b"0" * 400 + b"}", "alerts[1].startsAt"),
        (b'{"labels": ' + b"[" * 500 + b"]" * 500 + b"}", "alerts[1].labels"),
    ],
)
def test_odd_json_of_one_alert_costs_no_other(wrong: bytes, words: str) -> None:
    good = json.dumps(ALERT).encode()
    body = b'{"version": "4", "alerts": [%s, %s, %s]}' % (good, wrong, good)
    payload = WebhookPayload.parse(body)
    assert len(payload.alerts) == 2
    assert words in payload.unfit[0].why
    assert payload.unfit[0].wire()


@pytest.mark.parametrize(
    ("given", "count"),
    [
        *((None, 0), (0, 0), (3, 3), (10**30, 1), (10**18 - 1, 1_000_000), (-1, 1)),
        *(("3", 1), (True, 1), (1.5, 1)),
    ],
)
def test_how_many_alerts_were_left_out_is_a_count_or_at_least_one(given: Any, count: int) -> None:
    assert _parse(truncatedAlerts=given).truncated_alerts == count


@pytest.mark.parametrize("digits", [400, 5_000, 500_000])
def test_a_count_of_many_digits_is_no_fault(digits: int) -> None:
    body = json.dumps(PAYLOAD).encode().replace(b'"truncatedAlerts": 3', b'"truncatedAlerts": %s')
    assert WebhookPayload.parse(body % (b"9" * digits)).truncated_alerts == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"externalURL": 5},
        {"externalURL": None},
        {"receiver": ["aviary"]},
        {"groupLabels": None},
        {"groupLabels": {"service": 5}},
        {"groupLabels": {"\ud800": "\ud800"}, "receiver": "\udc00"},
        {"commonLabels": {"a": float("nan")}},
        {"status": 10**300},
    ],
)
def test_what_is_odd_beside_the_alerts_costs_none(changes: dict[str, Any]) -> None:
    assert len(_parse(**changes).to_alerts()) == 2


def test_a_missing_fingerprint_is_the_one_that_alertmanager_gives() -> None:
    """As Alertmanager 0.25 gave it for these labels."""
    labels = {"alertname": "Test", "dc": "eu-west-1", "instance": "localhost:9090"}
    for absent in ({}, {"fingerprint": ""}, {"fingerprint": None}):
        alert = {n: v for n, v in ALERT.items() if n != "fingerprint"} | {"labels": labels}
        [found] = _parse(alerts=[alert | absent]).to_alerts()
        assert found.fingerprint == "15162f68d581c029"


def test_an_alert_is_the_same_in_thousandths_and_in_billionths_of_a_second() -> None:
    one, other = (
        _parse(alerts=[ALERT | {"startsAt": at}]).to_alerts()[0]
        for at in ("2026-01-01T10:00:00.123456789+02:00", "2026-01-01T08:00:00.123Z")
    )
    assert one.identity == other.identity


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
