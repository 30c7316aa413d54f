"""What an alert does to a canary: pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertAction, DependentsAlerts
from schemas.release import ServicePlan

REMEMBERED = 2_000
"""Identities kept per canary; the oldest are forgotten first."""


_STRENGTH = (AlertAction.RECORD, AlertAction.PAUSE, AlertAction.ROLLBACK)
_AT_MOST = {
    DependentsAlerts.IGNORE: AlertAction.RECORD,
    DependentsAlerts.PAUSE: AlertAction.PAUSE,
    DependentsAlerts.ROLLBACK: AlertAction.ROLLBACK,
}


def dependent_of(alert: Alert, plan: ServicePlan) -> str | None:
    """The service that an alert is about, when that is not the canary's own; else None.

    The bridge brings a canary the alerts on its service and on what depends on it. An alert that
    names the service in any of the labels is about it, and so is one that names none.
    """
    named = [name for label in plan.service_labels if (name := alert.labels.get(label))]
    return None if not named or plan.service in named else named[0]


def action_for(alert: Alert, plan: ServicePlan, *, began_at: datetime | None) -> AlertAction:
    """What the catalog says this alert does.

    Args:
        alert: as Alertmanager sent it.
        plan: the canary's service, with its section of the catalog.
        began_at: when the canary first got traffic; None before that, when preflight looks at what
            fires, and the alert is only recorded.
    """
    policy = plan.alerts
    if alert.status is AlertStatus.RESOLVED or began_at is None:
        return AlertAction.RECORD
    severity = alert.labels.get(policy.severity_label, "")
    action = policy.severities.get(severity, policy.otherwise)
    if dependent_of(alert, plan) is not None:
        limits = [_AT_MOST[policy.dependents_alerts]]
        limits += [policy.not_canary] if alert.starts_at < began_at else []
        return _STRENGTH[min(_STRENGTH.index(one) for one in (action, *limits))]
    named = (alert.labels.get(label) for label in policy.version_labels)
    about = next((name for name in named if name), plan.version)
    if about != plan.version or alert.starts_at < began_at:
        return policy.not_canary
    return action


def sentence(alert: Alert, plan: ServicePlan) -> str:
    """What happened, for a person."""
    dependent = dependent_of(alert, plan)
    if dependent is None:
        return f"alert {alert.name} fired on {plan.service}"
    return f"alert {alert.name} fired on {dependent}, which depends on {plan.service}"


def alerts_in(value: Any) -> tuple[list[Alert], list[str]]:
    """The alerts of a batch, and what is wrong with each of the others."""
    alerts, wrong = [], []
    for item in value if isinstance(value, list | tuple) else [value]:
        try:
            alerts.append(Alert.model_validate(item))
        except ValidationError as error:
            wrong.append(str(error))
    return alerts, wrong


class AlertMemory:
    """Which alerts a canary has seen; bounded."""

    def __init__(self, seen: Iterable[str] = (), count: int = 0) -> None:
        self._seen = dict.fromkeys(seen)
        self.count = count

    @property
    def identities(self) -> tuple[str, ...]:
        """Those that are remembered, oldest first."""
        return tuple(self._seen)

    def is_new(self, alert: Alert) -> bool:
        """Whether this is the first time; remembers it."""
        if alert.identity in self._seen:
            return False
        self._seen[alert.identity] = None
        self.count += 1
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
