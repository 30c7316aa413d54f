"""Alerts that were lost on their way: why, which services that may concern, and what it does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, ValidationError

from schemas.alert import Alert, AlertStatus
from schemas.base import Model, ServiceName
from schemas.outside import TEXT_MOST, cut
from schemas.rejection import Rejected, RejectReason, explain

VERSION: Final = "aviary.lost.1"
"""Says of a record of `aviary.alerts` that it is no notification."""
WINDOW_S: Final = 3600
"""Losses of one kind within one such stretch of time pause a canary once."""
_LATEST: Final = 250_000_000_000.0
"""The last time that is taken, of the year 9892: whoever writes a record says what its time is."""
ALERT_NAME: Final = "AviaryAlertsLost"


class LossReason(StrEnum):
    """Why alerts were not taken."""

    TOO_LARGE = "too_large"
    UNPARSABLE = "unparsable"
    INVALID_DATA = "invalid_data"
    TRUNCATED = "truncated"
    """The sender left some out (`max_alerts`)."""
    KAFKA_REFUSED = "kafka_refused"
    UNAUTHORIZED = "unauthorized"
    """Counted only: a stranger must not be able to pause anything."""
    WRONG_PATH = "wrong_path"
    """Counted only: it may have been no notification."""


class Loss(Model):
    """Alerts were lost, and what fires can't be asked: a record of `aviary.alerts`."""

    version: Literal["aviary.lost.1"] = VERSION
    reason: LossReason
    text: Annotated[str, AfterValidator(lambda text: cut(text, TEXT_MOST))]
    service: ServiceName | None
    """The one service that all of them are about; None: any."""
    since: AwareDatetime

    @classmethod
    def at(cls, now: float, reason: LossReason, text: str, service: str | None) -> Self:
        """The record of a loss.

        Args:
            now: seconds since the epoch, however odd; the same loss within the same `WINDOW_S` is
                one loss.
            reason: why.
            text: what happened, for a person.
            service: the one service that all lost alerts are about, if that is known.
        """
        known = min(max(now, 0.0), _LATEST)
        since = datetime.fromtimestamp(known // WINDOW_S * WINDOW_S, UTC)
        return cls(reason=reason, text=text, service=service, since=since)

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read a record.

        Raises:
            Rejected: it is none.
        """
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            raise Rejected(RejectReason.INVALID_DATA, explain(error)) from error

    def wire(self) -> bytes:
        """The record's value."""
        return self.model_dump_json().encode()

    def to_alert(self, service: str, label: str) -> Alert:
        """What a canary is told: an alert that pauses, at most.

        Args:
            service: the service that the lost alerts may be about.
            label: the label that names the service.
        """
        about = f"{self.reason}\n{self.service or ''}".encode()
        return Alert(
            status=AlertStatus.FIRING,
            fingerprint=f"lost-{hashlib.sha256(about).hexdigest()[:16]}",
            labels={"alertname": ALERT_NAME, label: service},
            annotations={"summary": self.text},
            starts_at=self.since,
            lost=True,
        )


def is_loss(value: bytes | None) -> bool:
    """Whether a record's value is meant to be a `Loss`, which Aviary alone writes."""
    return value is not None and value.startswith(b'{"version":"%s"' % VERSION.encode())
