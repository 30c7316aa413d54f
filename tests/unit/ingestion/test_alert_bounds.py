"""One alert is small, whatever its sender wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Alert, AlertStatus
from schemas.alert_bounds import ALERT_BYTES, LABELS, LABELS_CHARS, cut_set
from schemas.notification import WebhookPayload

HUGE = "x" * 900_000
WIDEST = "\x01" * 900_000
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "Errors", "service": "checkout"},
    "startsAt": "2026-01-01T10:00:00Z",
    "fingerprint": "f1",
}


def _alert(**changes: Any) -> Alert:
    payload = {"version": "4", "alerts": [ALERT | changes], "externalURL": "http://a" + HUGE}
    [alert] = WebhookPayload.parse(json.dumps(payload).encode()).to_alerts()
    return alert


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"alertname": HUGE, "service": "checkout"}},
        {"labels": {HUGE: "x", "service": "checkout"}},
        {"labels": {f"label{n}": "x" * 300 for n in range(9000)} | {"service": "checkout"}},
        {"labels": ALERT["labels"], "annotations": {"summary": HUGE}},
        {"labels": ALERT["labels"], "annotations": {str(n): HUGE[:5000] for n in range(300)}},
        {"labels": ALERT["labels"], "generatorURL": HUGE, "fingerprint": HUGE},
        {"labels": {WIDEST: WIDEST, "service": "checkout"}, "annotations": {WIDEST: WIDEST}},
    ],
)
def test_an_alert_is_cut_where_it_enters(changes: dict[str, Any]) -> None:
    alert = _alert(**changes)
    assert len(alert.model_dump_json().encode()) < 32_000
    assert alert.labels["service"] == "checkout"
    assert Alert.model_validate_json(alert.model_dump_json()) == alert


def test_the_largest_alert_has_a_known_size() -> None:
    names = [f"{n:03}" + WIDEST[:300] for n in range(200)]
    alert = Alert(
        status=AlertStatus.RESOLVED,
        fingerprint=WIDEST,
        labels=dict.fromkeys(names, WIDEST),
        annotations=dict.fromkeys(names, WIDEST),
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        ends_at=datetime(2026, 1, 1, tzinfo=UTC),
        generator_url=WIDEST,
        external_url=WIDEST,
    )
    assert len(alert.model_dump_json().encode()) <= ALERT_BYTES


def test_what_is_cut_can_be_told_apart() -> None:
    one = _alert(labels={"alertname": HUGE + "1"}, fingerprint=HUGE + "1")
    other = _alert(labels={"alertname": HUGE + "2"}, fingerprint=HUGE + "2")
    assert one.identity != other.identity
    assert one.name != other.name
    assert "900001 characters, sha256" in one.name


def test_labels_that_decide_are_left_out_last() -> None:
    many = {f"{n:x}": "1" for n in range(5000)}
    labels = cut_set(many | {"severity": "critical"}, 200, {"severity"})
    assert labels["severity"] == "critical"
    assert len(labels) == LABELS
    assert labels["…"].startswith("4938 more of 5001, sha256 of all ")


def test_an_address_whose_user_is_hidden_is_within_its_bound_as_well() -> None:
    long = "https://u@h/" + "x" * 5000
    alert = _alert(generatorURL=long[:2000])
    alert = Alert.model_validate(alert.model_dump() | {"external_url": long[:200]})
    assert (len(alert.generator_url), len(alert.external_url)) == (2000, 200)
    assert Alert.model_validate(alert.model_dump()) == alert


def test_the_record_of_an_alert_does_not_repeat_what_the_notification_shares() -> None:
    """9,000 alerts in 1 MB, beside 60 kB each of shared fields, made 540 MB of records."""
    shared = dict.fromkeys(("externalURL", "groupKey", "receiver"), "s" * 60000)
    group = {"groupLabels": {"service": "s" * 60_000}, "commonLabels": {"a": "s" * 60_000}}
    alerts = [ALERT | {"fingerprint": f"f{n}"} for n in range(9000)]
    body = json.dumps({"version": "4", "alerts": alerts} | shared | group).encode()
    records = [single.wire() for single in WebhookPayload.parse(body).split()]
    assert len(records) == 9000
    assert sum(map(len, records)) < 10 * len(body)


texts = st.text(max_size=400)


@given(st.dictionaries(texts, texts, max_size=100), st.sets(texts))
def test_a_label_set_is_bounded_and_cutting_twice_changes_nothing(
    labels: dict[str, str], kept: set[str]
) -> None:
    once = cut_set(labels, 200, kept)
    assert len(once) <= LABELS
    assert sum(len(name) + len(value) for name, value in once.items()) <= LABELS_CHARS
    assert cut_set(once, 200) == once
