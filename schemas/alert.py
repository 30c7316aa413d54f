"""One alert, as it travels from Alertmanager over the webhook and Kafka to a canary."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import UTC
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from schemas.alert_bounds import Annotations, ExternalUrl, Fingerprint, GeneratorUrl, Labels
from schemas.base import Model


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
    lost: bool = Field(
        default=False, description="Stands for alerts that were lost: it pauses, at most."
    )

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
        """Equal for the firing of an alert and for its end.

        Alertmanager's API knows thousandths of a second, its notifications know billionths.
        """
        begun = self.starts_at.astimezone(UTC)
        begun = begun.replace(microsecond=begun.microsecond // 1000 * 1000)
        return f"{self.fingerprint}/{begun.isoformat()}"


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


_OFFSET: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 2**64 - 1


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """The fingerprint that Alertmanager gives to an alert with these labels (FNV-1a, 64 bits)."""
    found = _OFFSET
    for name in sorted(labels, key=str.encode):
        for byte in b"%s\xff%s\xff" % (name.encode(), labels[name].encode()):
            found = (found ^ byte) * _PRIME & _MASK
    return f"{found:016x}"
