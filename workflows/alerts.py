"""What an alert does to a canary: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertAction, DependentsAlerts
from schemas.outside import NAME_MOST, TEXT_MOST, cut
from schemas.release import ServicePlan
from schemas.versions import named_version, same_version

REMEMBERED = 2_000
"""Identities kept per canary; the oldest are forgotten first."""

_STRENGTH = (AlertAction.RECORD, AlertAction.PAUSE, AlertAction.ROLLBACK)
_AT_MOST = {
    DependentsAlerts.IGNORE: AlertAction.RECORD,
    DependentsAlerts.PAUSE: AlertAction.PAUSE,
    DependentsAlerts.ROLLBACK: AlertAction.ROLLBACK,
}
_DOES = {AlertAction.PAUSE: "pauses", AlertAction.RECORD: "is only recorded"}


def dependent_of(alert: Alert, plan: ServicePlan) -> str | None:
    """The service that an alert is about, when that is not the canary's own; else None.

    The bridge brings a canary the alerts on its service and on what depends on it. An alert that
    names the service in any of the labels is about it, and so is one that names none.
    """
    named = [name for label in plan.service_labels if (name := alert.labels.get(label))]
    return None if not named or plan.service in named else named[0]


@dataclass(frozen=True)
class Decision:
    """What an alert does, and why it does not do more."""

    action: AlertAction
    text: str
    """What happened, for a person; with the deciding reason where it is less than a rollback."""
    what: str = ""
    """What happened, and no more."""
    blamable: bool = False
    """Whether it is for evidence to say that it rolls back: its severity would, and nothing says
    otherwise but that it may be about another service's release."""


def decide(
    alert: Alert, plan: ServicePlan, *, began_at: datetime | None, stable: str | None = None
) -> Decision:
    """What the catalog says this alert does.

    Args:
        alert: as Alertmanager sent it.
        plan: the canary's service, with its section of the catalog.
        began_at: when the canary first got traffic; None before that, when preflight looks at what
            fires, and the alert is only recorded.
        stable: the version beside it, where that is known.
    """
    policy = plan.alerts
    what = _sentence(alert, plan)
    if alert.status is AlertStatus.RESOLVED:
        return Decision(AlertAction.RECORD, f"alert {alert.name} on {plan.service} ended")
    if began_at is None:
        why = f"{plan.version} has no traffic yet, and preflight looks at what fires"
        return Decision(AlertAction.RECORD, _weaker(what, AlertAction.RECORD, why))
    if alert.lost:
        return _for_lost(alert, plan)
    severity = alert.labels.get(policy.severity_label, "")
    action = policy.severities.get(severity, policy.otherwise)
    label = policy.severity_label
    blamable = action is AlertAction.ROLLBACK
    why = f"its {label} is {cut(severity, NAME_MOST)!r}" if severity else f"it has no {label}"
    for most, reason, by_evidence in _limits(alert, plan, began_at, stable):
        blamable = blamable and (most is AlertAction.ROLLBACK or by_evidence)
        if _STRENGTH.index(most) < _STRENGTH.index(action):
            action, why = most, reason
    text = what if action is AlertAction.ROLLBACK else _weaker(what, action, why)
    return Decision(action, text, what, blamable)


def _limits(
    alert: Alert, plan: ServicePlan, began_at: datetime, stable: str | None
) -> Iterator[tuple[AlertAction, str, bool]]:
    """What the alert does at most, why, and whether evidence may have it do more."""
    policy = plan.alerts
    dependent = dependent_of(alert, plan)
    if dependent is not None:
        most = policy.dependents_alerts
        pauses = most is DependentsAlerts.PAUSE
        yield _AT_MOST[most], f"dependents_alerts is {most.value!r}", pauses
    else:
        other = _other_version(alert, plan, stable)
        if other:
            yield policy.not_canary, other, False
    if alert.starts_at < began_at:
        yield (
            policy.not_canary,
            (
                f"it began at {_time(alert.starts_at)}, before {plan.version} had traffic "
                f"({_time(began_at)})"
            ),
            False,
        )


def _other_version(alert: Alert, plan: ServicePlan, stable: str | None) -> str:
    """Why it is not about the canary's version, in words; empty when it may be."""
    named = named_version(alert.labels, plan.alerts.version_labels)
    if named is None or same_version(named[1], plan.version):
        return ""
    label, said = named[0], cut(named[1], NAME_MOST)
    is_stable = stable is not None and same_version(named[1], stable)
    whose = f", which is stable ({stable})" if is_stable else ""
    return f"its label {label} says {said!r}{whose}, and the canary is {plan.version}"


def _for_lost(alert: Alert, plan: ServicePlan) -> Decision:
    """What the worst of the alerts that were lost would have done; a person decides on more."""
    policy = plan.alerts
    worst = max((*policy.severities.values(), policy.otherwise), key=_STRENGTH.index)
    limits = [AlertAction.PAUSE]
    if dependent_of(alert, plan) is not None:
        limits.append(_AT_MOST[policy.dependents_alerts])
    about = f"alerts that may concern {plan.service} were lost"
    text = f"{about}: {alert.annotations.get('summary', '')}"
    return Decision(min(worst, *limits, key=_STRENGTH.index), text)


def _sentence(alert: Alert, plan: ServicePlan) -> str:
    """What happened, for a person."""
    dependent = dependent_of(alert, plan)
    if dependent is None:
        return f"alert {alert.name} fired on {plan.service}"
    return f"alert {alert.name} fired on {dependent}, which depends on {plan.service}"


def _weaker(what: str, action: AlertAction, why: str) -> str:
    return f"{what}; it {_DOES[action]} rather than rolls back, since {why}"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def alerts_in(value: Any) -> tuple[list[Alert], list[str]]:
    """The alerts of a batch, and what is wrong with each of the others."""
    alerts, wrong = [], []
    for item in value if isinstance(value, list | tuple) else [value]:
        try:
            alerts.append(Alert.model_validate(item))
        except ValidationError as error:
            wrong.append(cut(str(error), TEXT_MOST))
    return alerts, wrong


class SeenAlerts:
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
        identity = cut(alert.identity, NAME_MOST)
        if identity in self._seen:
            return False
        self.remember((identity,))
        self.count += 1
        return True

    def remember(self, identities: Iterable[str]) -> None:
        """Take these for seen: what preflight let by is no news when it is repeated."""
        self._seen |= dict.fromkeys(identities)
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
