"""From the body of a notification to records for Kafka; pure, and long for a large body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.kafka import Headers, Outgoing
from schemas import ids
from schemas.alert import Alert
from schemas.events import JSON_CONTENT_TYPE
from schemas.notification import UnfitAlert, WebhookPayload
from schemas.rejection import RejectReason

DEAD_LETTER_BYTES: Final = 256 * 1024
"""Kept of one alert that is wrong; the topic may have Kafka's own limit of 1 MB."""

ServiceOf = Callable[[dict[str, str]], str | None]
"""Names the service of an alert by its labels: the Kafka key."""


@dataclass(frozen=True)
class Received:
    """One notification, read."""

    alerts: tuple[Outgoing, ...]
    unfit: tuple[Outgoing, ...]
    truncated: int
    """Alerts that the sender says it left out."""
    receiver: str | None
    service: str | None
    """The service that the whole group is about, what was left out included; None: not said."""
    problems: tuple[str, ...] = ()
    """Of the alerts that are wrong, what is wrong with each."""


def receive(body: bytes, service_of: ServiceOf, kept: Container[str], headers: Headers) -> Received:
    """Read a notification.

    Args:
        body: as it was sent.
        service_of: names the service of an alert, or of a group, by its labels.
        kept: labels that decide, which are left out last from a label set too large.
        headers: of every record.

    Raises:
        Rejected: it is no notification.
    """
    payload = WebhookPayload.parse(body, kept)
    return Received(
        alerts=tuple(_record(single, service_of, headers) for single in payload.split()),
        unfit=tuple(_dead_letter(unfit, headers) for unfit in payload.unfit),
        truncated=payload.truncated_alerts,
        receiver=payload.receiver or None,
        service=service_of(payload.group_labels),
        problems=tuple(unfit.why for unfit in payload.unfit),
    )


def records_of(alerts: Sequence[Alert], service_of: ServiceOf, headers: Headers) -> list[Outgoing]:
    """Records of alerts that were asked for, as if they had come in a notification."""
    return [_record(WebhookPayload.of(alert), service_of, headers) for alert in alerts]


def _record(single: WebhookPayload, service_of: ServiceOf, headers: Headers) -> Outgoing:
    service = service_of(single.alerts[0].labels)
    key = service.encode("utf-8", "replace") if service else None
    content = ("content-type", JSON_CONTENT_TYPE.encode())
    return Outgoing(ids.TOPIC_ALERTS, single.wire(), key, (content, *headers))


def _dead_letter(unfit: UnfitAlert, headers: Headers) -> Outgoing:
    value = unfit.wire()
    digest = hashlib.sha256(value).hexdigest()
    why = {
        "content-type": JSON_CONTENT_TYPE,
        "aviary-reason": RejectReason.INVALID_DATA.value,
        "aviary-error": unfit.why,
        "aviary-source": "webhook",
        "aviary-source-topic": ids.TOPIC_ALERTS,
        "aviary-no-key": "true",
    }
    if len(value) > DEAD_LETTER_BYTES:
        why["aviary-cut"] = f"{len(value)} bytes, sha256 {digest}"
    told = [(name, text.encode("utf-8", "backslashreplace")) for name, text in why.items()]
    # A topic that is compacted takes no record without a key.
    key = f"sha256/{digest}".encode()
    return Outgoing(ids.TOPIC_DEADLETTERS, value[:DEAD_LETTER_BYTES], key, (*told, *headers))
