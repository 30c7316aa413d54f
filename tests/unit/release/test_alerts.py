"""What an alert does to a canary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import SEVERITIES, AlertAction
from schemas.loss import Loss, LossReason
from schemas.release import ServicePlan
from schemas.versions import short
from tests.unit.catalog.builders import catalog, deploy
from workflows.alerts import alerts_in, decide, dependent_of
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
    return decide(given, plan(**alerts), began_at=BEGAN).action


def said_of(given: Alert, *, stable: str | None = None, **alerts: Any) -> str:
    return decide(given, plan(**alerts), began_at=BEGAN, stable=stable).text


@pytest.mark.parametrize("labels", [{}, {"service": "ledger"}, {"service": "web", "app": "ledger"}])
def test_an_alert_on_the_service_does_what_its_severity_says(labels: dict[str, str]) -> None:
    assert dependent_of(alert(**labels), plan()) is None
    assert does(alert(**labels), dependents_alerts="ignore") is AlertAction.ROLLBACK
    assert said_of(alert(**labels)) == "alert Errors fired on ledger"


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
    assert said_of(given, dependents_alerts=setting).split(";")[0] == said


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


# --- versions, and the reason that decides ---


@pytest.mark.parametrize(
    ("released", "label"),
    [
        ("v1.3.0+build.7", "1.3.0_build.7"),
        ("1.3.0+build.7", "v1.3.0_build.7"),
        ("1.3.0", "v1.3.0"),
        ("v1.3.0+build.7", "v1.3.0+build.7"),
        ("2.0.0-rc.1+" + "a" * 80, ("2.0.0-rc.1_" + "a" * 80)[:63]),
        ("v2.0.0+" + "a" * 80, ("v2.0.0_" + "a" * 80)[:63]),
        ("1.0.0+" + "b" * 56 + "-" + "c", "1.0.0_" + "b" * 56),
        (f"sha256:{'ab' * 32}", f"sha256-{'ab' * 28}"),
        (f"sha256:{'ab' * 32}", f"sha256_{'ab' * 32}"),
        (f"sha256:{'ab' * 32}", "ab" * 32),
        (f"sha256:{'ab' * 32}", ("ab" * 32)[:63]),
        (f"sha256:{'ab' * 32}", "ab" * 6),
        (f"sha512:{'ab' * 64}", f"sha512-{'ab' * 6}"),
    ],
)
def test_a_version_is_the_canarys_however_a_label_spells_it(released: str, label: str) -> None:
    given = alert(version=label)
    planned = plan().model_copy(update={"version": released})
    assert decide(given, planned, began_at=BEGAN).action is AlertAction.ROLLBACK


@pytest.mark.parametrize(
    ("released", "label"),
    [
        ("v1.3.0+build.7", "1.3.0_build.8"),
        ("v1.3.0+build.7", "1.3.0"),
        ("1.3.0-RC1", "1.3.0-rc1"),
        ("v2.0.0+" + "a" * 80, "v2.0.0_" + "a" * 40),
        ("v2.0.0+" + "a" * 80, "v2.0.0_" + "a" * 79 + "b"),
        ("endor", "vendor"),
        (f"sha256:{'ab' * 32}", f"sha256-{'ac' * 28}"),
        (f"sha256:{'ab' * 32}", "ac" * 6),
        (f"sha256:{'ab' * 32}", "ab" * 5),
        ("abababababab.1", "abababababab"),
    ],
)
def test_another_version_pauses_and_says_which_label_said_what(released: str, label: str) -> None:
    planned = plan().model_copy(update={"version": released})
    decided = decide(alert(version=label), planned, began_at=BEGAN, stable="1.2.9")
    assert decided.action is AlertAction.PAUSE
    assert "pauses rather than rolls back" in decided.text
    assert f"its label version says {label!r}" in decided.text
    assert f"the canary is {released}" in decided.text


def test_the_stable_version_is_named_as_such() -> None:
    text = said_of(alert(version="v1.2.9"), stable="1.2.9")
    assert "its label version says 'v1.2.9', which is stable (1.2.9)" in text


def test_what_began_before_the_canary_says_when() -> None:
    given = alert().model_copy(update={"starts_at": BEGAN - timedelta(hours=1)})
    assert does(given) is AlertAction.PAUSE
    assert "it began at 2025-12-31 23:00:00 UTC, before 2 had traffic" in said_of(given)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"severity": "warning"}, "its severity is 'warning'"),
        ({"app": "checkout"}, "dependents_alerts is 'pause'"),
    ],
)
def test_every_pause_says_what_decided(labels: dict[str, str], why: str) -> None:
    assert said_of(alert(**labels)).endswith(f"it pauses rather than rolls back, since {why}")


def test_an_alert_of_another_version_does_no_more_than_its_severity() -> None:
    assert does(alert(severity="info", version="7")) is AlertAction.RECORD


def test_a_label_of_any_size_makes_a_bounded_reason() -> None:
    assert len(said_of(alert(version="x" * 100_000, severity="warning"))) < 500


def test_a_digest_is_shortened_where_there_is_little_room() -> None:
    assert short(f"sha256:{'ab' * 32}") == "sha256:abababababab…"
    assert short("v1.3.0+build.7") == "v1.3.0+build.7"


def lost(service: str = "ledger") -> Alert:
    loss = Loss.at(BEGAN.timestamp(), LossReason.TOO_LARGE, "body: larger than expected", None)
    return loss.to_alert(service, "service")


RECORD = {"severities": dict.fromkeys(SEVERITIES, "record"), "otherwise": "record"}


@pytest.mark.parametrize(
    ("service", "alerts", "action"),
    [
        ("ledger", {}, AlertAction.PAUSE),
        ("ledger", {"otherwise": "record"}, AlertAction.PAUSE),
        ("ledger", {"not_canary": "record"}, AlertAction.PAUSE),
        ("ledger", {"not_canary": "rollback"}, AlertAction.PAUSE),
        ("ledger", RECORD, AlertAction.RECORD),
        ("checkout", {}, AlertAction.PAUSE),
        ("checkout", {"dependents_alerts": "rollback"}, AlertAction.PAUSE),
        ("checkout", {"dependents_alerts": "ignore"}, AlertAction.RECORD),
        ("checkout", {"not_canary": "record"}, AlertAction.PAUSE),
    ],
)
def test_lost_alerts_pause_where_one_of_them_could_have_done_anything(
    service: str, alerts: dict[str, Any], action: AlertAction
) -> None:
    assert does(lost(service), **alerts) is action
    text = said_of(lost(service))
    assert text == "alerts that may concern ledger were lost: body: larger than expected"


def test_lost_alerts_do_nothing_before_the_canary_has_traffic() -> None:
    assert decide(lost(), plan(), began_at=None).action is AlertAction.RECORD
