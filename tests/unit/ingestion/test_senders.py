"""Notifications as those who send them write them, each with an alert about checkout."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.alert import AlertStatus
from schemas.notification import WebhookPayload, receiver_of

LABELS = {"alertname": "CheckoutErrors", "service": "checkout", "severity": "critical"}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "errors"},
    "startsAt": "2026-01-05T09:25:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
    "fingerprint": "8e1b0d5f2a3c4d5e",
}
ALERTMANAGER: dict[str, Any] = {
    "receiver": "aviary",
    "status": "firing",
    "alerts": [ALERT],
    "groupLabels": {"service": "checkout"},
    "commonLabels": LABELS,
    "commonAnnotations": {"summary": "errors"},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}/{service=~".+"}:{service="checkout"}',
    "truncatedAlerts": 0,
}
OLD: dict[str, Any] = {
    name: value for name, value in ALERTMANAGER.items() if name != "truncatedAlerts"
} | {"alerts": [{name: value for name, value in ALERT.items() if name != "fingerprint"}]}
MIMIR: dict[str, Any] = ALERTMANAGER | {
    "externalURL": "http://mimir.example/alertmanager",
    "alerts": [ALERT | {"generatorURL": "http://mimir.example/graph?g0.expr=rate%28x%5B1m%5D%29"}],
}
VMALERT: dict[str, Any] = ALERTMANAGER | {
    "alerts": [
        ALERT
        | {
            "labels": LABELS | {"alertgroup": "shop"},
            "startsAt": "2026-01-05T09:25:00Z",
            "generatorURL": "http://vmalert:8880/vmalert/alert?group_id=1842&alert_id=9933",
        }
    ]
}
THANOS: dict[str, Any] = ALERTMANAGER | {
    "alerts": [
        ALERT
        | {
            "labels": LABELS | {"cluster": "eu-1", "tenant": "shop"},
            "generatorURL": "http://thanos-rule:10902/graph?g0.expr=up&g0.tab=1",
        }
    ]
}
GRAFANA: dict[str, Any] = {
    "receiver": "aviary",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": LABELS | {"grafana_folder": "Shop"},
            "annotations": {"summary": "errors"},
            "startsAt": "2026-01-05T11:25:00.157076+02:00",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://grafana.example/alerting/grafana/cfj2nzmpo21hcf/view?orgId=1",
            "fingerprint": "c6eadffa33fcdf37",
            "silenceURL": "https://grafana.example/alerting/silence/new?alertmanager=grafana",
            "dashboardURL": "https://grafana.example/d/abc?orgId=1",
            "panelURL": "https://grafana.example/d/abc?orgId=1&viewPanel=2",
            "imageURL": "https://grafana.example/public/img/attachments/x.png",
            "ruleUID": "cfj2nzmpo21hcf",
            "values": {"B": 44.23943737541908, "C": 1},
            "valueString": "[ var='B' labels={service=checkout} value=44.239 ]",
        }
    ],
    "groupLabels": {"alertname": "CheckoutErrors", "grafana_folder": "Shop"},
    "commonLabels": LABELS,
    "commonAnnotations": {"summary": "errors"},
    "externalURL": "https://grafana.example/",
    "appVersion": "12.0.0",
    "version": "1",
    "groupKey": '{}:{alertname="CheckoutErrors", grafana_folder="Shop"}',
    "truncatedAlerts": 0,
    "orgId": 1,
    "title": "[FIRING:1] CheckoutErrors (checkout)",
    "state": "alerting",
    "message": "**Firing**\n\nValue: B=44.2, C=1\nLabels:\n - alertname = CheckoutErrors\n",
}
GRAFANA_NO_DATA: dict[str, Any] = GRAFANA | {
    "alerts": [GRAFANA["alerts"][0] | {"values": None, "valueString": ""}],
    "groupLabels": {},
}
SENDERS = {
    "alertmanager": ALERTMANAGER,
    "alertmanager before fingerprints": OLD,
    "mimir": MIMIR,
    "vmalert by alertmanager": VMALERT,
    "thanos ruler by alertmanager": THANOS,
    "grafana": GRAFANA,
    "grafana without data": GRAFANA_NO_DATA,
}


@pytest.mark.parametrize("sender", SENDERS)
def test_a_notification_of_each_sender_is_read(sender: str) -> None:
    body = json.dumps(SENDERS[sender]).encode()
    payload = WebhookPayload.parse(body)
    [alert] = payload.to_alerts()
    assert not payload.unfit
    assert (alert.status, alert.name, alert.ends_at) == (
        AlertStatus.FIRING,
        "CheckoutErrors",
        None,
    )
    assert alert.labels["service"] == "checkout"
    assert alert.starts_at.replace(microsecond=0) == datetime(2026, 1, 5, 9, 25, tzinfo=UTC)
    assert len(alert.fingerprint) == 16
    assert receiver_of(body) == "aviary"
    [record] = payload.split()
    assert WebhookPayload.parse(record.wire()).to_alerts() == (alert,)


@pytest.mark.parametrize("sender", SENDERS)
def test_the_end_of_an_alert_of_each_sender_is_read(sender: str) -> None:
    document = SENDERS[sender]
    ended = document["alerts"][0] | {"status": "resolved", "endsAt": "2026-01-05T09:30:00Z"}
    document = document | {"status": "resolved", "state": "ok", "alerts": [ended]}
    [alert] = WebhookPayload.parse(json.dumps(document).encode()).to_alerts()
    assert alert.status is AlertStatus.RESOLVED
    assert alert.ends_at == datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("version", ["2", "5", "", "44", None, 1, 4, ["4"]])
def test_no_other_version_is_guessed_at(version: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        WebhookPayload.parse(json.dumps(ALERTMANAGER | {"version": version}).encode())
