"""What an alert does to a canary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertAction
from schemas.release import ServicePlan
from tests.unit.catalog.builders import catalog, deploy
from workflows.alerts import action_for, alerts_in, dependent_of, sentence
from workflows.planning import plan_release

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def plan(**alerts: Any) -> ServicePlan:
    services = {"ledger": {"alerts": alerts}, "checkout": {"depends_on": ["ledger"]}}
    labels = {"service": ["service", "app"]}
    return plan_release(catalog(services, alert_labels=labels), deploy("ledger")).services["ledger"]


def alert(**labels: str) -> Alert:
    return Alert(
        status=AlertStatus.FIRING,
        fingerprint="f",
        labels={"alertname": "Errors", "severity": "critical", **labels},
        starts_at=BEGAN + timedelta(seconds=1),
    )


def does(given: Alert, **alerts: Any) -> AlertAction:
    return action_for(given, plan(**alerts), began_at=BEGAN)


@pytest.mark.parametrize("labels", [{}, {"service": "ledger"}, {"service": "web", "app": "ledger"}])
def test_an_alert_on_the_service_does_what_its_severity_says(labels: dict[str, str]) -> None:
    assert dependent_of(alert(**labels), plan()) is None
    assert does(alert(**labels), dependents_alerts="ignore") is AlertAction.ROLLBACK
    assert sentence(alert(**labels), plan()) == "alert Errors fired on ledger"


@pytest.mark.parametrize(
    ("setting", "severity", "action"),
    [
        ("rollback", "critical", AlertAction.ROLLBACK),
        ("rollback", "warning", AlertAction.PAUSE),
        ("pause", "critical", AlertAction.PAUSE),
        ("pause", "info", AlertAction.RECORD),
        ("ignore", "critical", AlertAction.RECORD),
    ],
)
def test_an_alert_on_a_dependent_does_at_most_what_the_catalog_says(
    setting: str, severity: str, action: AlertAction
) -> None:
    given = alert(app="checkout", severity=severity)
    assert does(given, dependents_alerts=setting) is action
    said = "alert Errors fired on checkout, which depends on ledger"
    assert sentence(given, plan()) == said


def test_by_default_an_alert_on_a_dependent_pauses() -> None:
    assert does(alert(service="checkout")) is AlertAction.PAUSE


def test_the_version_of_a_dependent_is_not_compared_with_the_canarys() -> None:
    given = alert(service="checkout", version="7")
    assert does(given, dependents_alerts="rollback") is AlertAction.ROLLBACK


def test_an_alert_on_a_dependent_from_before_the_canary_is_not_the_canarys() -> None:
    given = alert(service="checkout").model_copy(update={"starts_at": BEGAN - timedelta(hours=1)})
    assert does(given, dependents_alerts="rollback") is AlertAction.PAUSE
    assert does(given, dependents_alerts="rollback", not_canary="record") is AlertAction.RECORD


def test_a_malformed_alert_hides_none_of_its_batch() -> None:
    good = alert().model_dump(mode="json")
    found, wrong = alerts_in([good, {"status": "odd"}, 17, good])
    assert found == [alert(), alert()]
    assert len(wrong) == 2
    assert alerts_in(None)[0] == []
