"""What alerts do to a canary: the catalog's section `alerts`."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import Field, field_validator

from schemas.base import Duration, Model


class AlertAction(StrEnum):
    """What an alert about a service does to its canary."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    RECORD = "record"


SEVERITIES: dict[str, AlertAction] = {
    "critical": AlertAction.ROLLBACK,
    "error": AlertAction.ROLLBACK,
    "page": AlertAction.ROLLBACK,
    "warning": AlertAction.PAUSE,
    "info": AlertAction.RECORD,
}
"""What each severity does unless a catalog says otherwise."""


class DependentsAlerts(StrEnum):
    """What an alert about a dependent of the service does to the service's canary, at most.

    What the alert's severity does is never made stronger by this.
    """

    ROLLBACK = "rollback"
    PAUSE = "pause"
    IGNORE = "ignore"


class AlertPolicy(Model):
    """What alerts do to a canary: those that name its service, and those that name a dependent."""

    severities: dict[str, AlertAction] = Field(
        default_factory=lambda: dict(SEVERITIES),
        description="By severity; what is not named here keeps its default.",
    )
    otherwise: AlertAction = Field(
        default=AlertAction.ROLLBACK, description="For a severity not listed, and for none."
    )
    not_canary: AlertAction = Field(
        default=AlertAction.PAUSE,
        description="At most, for one that names another version, or began before the canary did.",
    )
    stable_holds: bool = Field(
        default=False,
        description="Whether an alert that names the stable version holds its successor back.",
    )
    dependents_alerts: DependentsAlerts = Field(
        default=DependentsAlerts.PAUSE,
        description="For an alert on a service that depends on this one: at most this.",
    )
    blame_within: Duration = Field(
        default=timedelta(seconds=2),
        le=timedelta(seconds=30),
        description="How long an alert that would roll back waits to be told whose doing it is, "
        "where releases of other services along the calls could be it; 0s: it never asks.",
    )
    revert_within: Duration = Field(
        default=timedelta(0),
        exclude_if=lambda length: not length,
        description="How long after a release was finalized an alert takes it back; as long as it "
        "is watched at least.",
    )
    severity_label: str = Field(default="severity", min_length=1)
    version_labels: tuple[str, ...] = Field(
        default=("version",),
        description="Labels that may name the version; the first found counts.",
    )

    @field_validator("severities")
    @classmethod
    def _keep_defaults(cls, value: dict[str, AlertAction]) -> dict[str, AlertAction]:
        return {**SEVERITIES, **value}
