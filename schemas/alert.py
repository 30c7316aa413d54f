"""One alert, as it travels from Alertmanager over the webhook and Kafka to a canary."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import MINYEAR, UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.alert_bounds import Annotations, ExternalUrl, Fingerprint, GeneratorUrl, Labels
from schemas.base import Model
from schemas.rejection import Rejected, RejectReason, explain, load_json, show


class AlertStatus(StrEnum):
    """Alertmanager's two states of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Model):
    """One alert of an Alertmanager notification (webhook version 4).

    Its texts are cut to the bounds of `schemas.alert_bounds`, whoever makes it.
    """

    status: AlertStatus
    fingerprint: Fingerprint = Field(description="Alertmanager's identity of the label set.")
    labels: Labels
    annotations: Annotations = Field(default_factory=dict)
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = Field(
        default=None, description="When it ended; None while it fires (year 1 on the wire)."
    )
    generator_url: GeneratorUrl = ""
    external_url: ExternalUrl = Field(default="", description="The Alertmanager that sent it.")

    @property
    def name(self) -> str:
        """The rule's name, or the fingerprint when it has none."""
        return self.labels.get("alertname", self.fingerprint)

    @property
    def identity(self) -> str:
        """Equal for repeats of the same notification, from one Alertmanager or from a pair."""
        return f"{self.occurrence}/{self.status}"

    @property
    def occurrence(self) -> str:
        """Equal for the firing of an alert and for its end."""
        return f"{self.fingerprint}/{self.starts_at.astimezone(UTC).isoformat()}"


class _Tolerant(BaseModel):
    # The payload is Alertmanager's contract: what a newer one adds is not an error here.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class WebhookAlert(_Tolerant):
    """One alert as Alertmanager writes it in its webhook."""

    status: AlertStatus
    labels: Labels
    annotations: Annotations = Field(default_factory=dict)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")
    generator_url: GeneratorUrl = Field(default="", alias="generatorURL")
    fingerprint: Fingerprint

    @field_validator("starts_at", "ends_at")
    @classmethod
    def _is_a_time_everywhere(cls, value: datetime | None) -> datetime | None:
        # Year 1 east of Greenwich is year 0 in UTC, which no later reader could express.
        try:
            return value.astimezone(UTC) if value is not None else None
        except OverflowError:
            raise ValueError("expected a time within the years 1 to 9999 in UTC") from None

    def to_alert(self, external_url: str = "") -> Alert:
        """The same alert in Aviary's words; an end in year 1 means that it has none."""
        ends_at = self.ends_at
        return Alert(
            status=self.status,
            fingerprint=self.fingerprint,
            labels=self.labels,
            annotations=self.annotations,
            starts_at=self.starts_at,
            ends_at=None if ends_at is None or ends_at.year == MINYEAR else ends_at,
            generator_url=self.generator_url,
            external_url=external_url,
        )


class WebhookPayload(_Tolerant):
    """Alertmanager's webhook payload, version 4; also the value of a record of `aviary.alerts`.

    Fields not named here (`groupLabels`, `groupKey`, …) are allowed and not used.
    """

    version: Literal["4"]
    external_url: ExternalUrl = Field(default="", alias="externalURL")
    truncated_alerts: int = Field(
        default=0, ge=0, alias="truncatedAlerts", description="Left out by its `max_alerts`."
    )
    alerts: tuple[WebhookAlert, ...] = Field(json_schema_extra={"minItems": 1})

    @field_validator("alerts")
    @classmethod
    def _at_least_one(cls, alerts: tuple[WebhookAlert, ...]) -> tuple[WebhookAlert, ...]:
        # Not `min_length`: pydantic would say "too short" of items it refused for another reason.
        if not alerts:
            raise ValueError("expected at least one alert")
        return alerts

    @classmethod
    def parse(cls, value: bytes | None) -> Self:
        """Read a payload.

        Raises:
            Rejected: `unparsable` for what is not JSON, `invalid_data` for what is not version 4.
        """
        document: Any = load_json(value)
        if not isinstance(document, dict):
            text = f"document: got {show(document)}, expected an Alertmanager payload (version 4)"
            raise Rejected(RejectReason.INVALID_DATA, text)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise Rejected(RejectReason.INVALID_DATA, explain(error)) from error

    def split(self) -> tuple[Self, ...]:
        """One payload for each alert, in their order: the unit of a Kafka record."""
        return tuple(
            self.model_copy(update={"alerts": (alert,), "truncated_alerts": 0})
            for alert in self.alerts
        )

    def wire(self) -> bytes:
        """The payload as JSON, with Alertmanager's own field names."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    def to_alerts(self) -> tuple[Alert, ...]:
        """All its alerts, in their order."""
        return tuple(alert.to_alert(self.external_url) for alert in self.alerts)


def find_service(
    labels: dict[str, str], names: Sequence[str], known: Container[str] | None = None
) -> str | None:
    """The service that an alert is about.

    Args:
        labels: the alert's labels.
        names: names of labels that may hold a service, the most trusted first.
        known: the catalog's services. A label that holds one of them wins over an earlier label
            that holds something else (`service` is often the scraped Kubernetes object).

    Returns:
        The value of the label that decides; None when the alert has none of these labels.
    """
    values = [labels[name] for name in names if labels.get(name)]
    if known is not None:
        values.sort(key=lambda value: value not in known)
    return values[0] if values else None
