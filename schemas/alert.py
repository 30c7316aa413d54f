"""One alert, as it travels from the webhook over Kafka to a canary."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from schemas.base import Model


class AlertStatus(StrEnum):
    """Alertmanager's two states of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Model):
    """One alert of an Alertmanager notification (webhook version 4)."""

    status: AlertStatus
    fingerprint: str = Field(min_length=1, description="Alertmanager's identity of the label set.")
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime
    ends_at: datetime | None = Field(
        default=None, description="When it ended; None while it fires (year 1 on the wire)."
    )
    generator_url: str = ""
    external_url: str = Field(default="", description="The Alertmanager that sent it.")

    @property
    def name(self) -> str:
        """The rule's name, or the fingerprint when it has none."""
        return self.labels.get("alertname", self.fingerprint)

    @property
    def identity(self) -> str:
        """Equal for repeats of the same notification, from one Alertmanager or from a pair."""
        return f"{self.fingerprint}/{self.starts_at.isoformat()}/{self.status}"
