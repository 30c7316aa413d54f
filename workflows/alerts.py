"""What an alert does to a canary: pure."""

from __future__ import annotations

from datetime import datetime

from schemas.alert import Alert, AlertStatus
from schemas.catalog import AlertAction, AlertPolicy

REMEMBERED = 200
"""Identities kept per canary; the oldest are forgotten first."""


def action_for(
    alert: Alert, policy: AlertPolicy, *, version: str, began_at: datetime | None
) -> AlertAction:
    """What the catalog says this alert does.

    Args:
        alert: as Alertmanager sent it.
        policy: the service's section of the catalog.
        version: the canary's version.
        began_at: when the canary first got traffic; None before that, when preflight looks at what
            fires, and the alert is only recorded.
    """
    if alert.status is AlertStatus.RESOLVED or began_at is None:
        return AlertAction.RECORD
    named = (alert.labels.get(label) for label in policy.version_labels)
    about = next((name for name in named if name), version)
    if about != version or alert.starts_at < began_at:
        return policy.not_canary
    severity = alert.labels.get(policy.severity_label, "")
    return policy.severities.get(severity, policy.otherwise)


class AlertMemory:
    """Which alerts a canary has seen; bounded."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self.count = 0

    def is_new(self, alert: Alert) -> bool:
        """Whether this is the first time; remembers it."""
        if alert.identity in self._seen:
            return False
        self._seen[alert.identity] = None
        self.count += 1
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True
