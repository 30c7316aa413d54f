"""What Alertmanager and its like send: many alerts at once, each of which is read by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import MINYEAR, UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from schemas.alert import Alert, AlertStatus, fingerprint_of
from schemas.alert_bounds import (
    KEPT,
    Annotations,
    ExternalUrl,
    Fingerprint,
    GeneratorUrl,
    Labels,
    is_whole,
)
from schemas.outside import NAME_MOST, TEXT_MOST, cut
from schemas.rejection import Rejected, RejectReason, explain, show
from schemas.tolerant_json import Twice, load_tolerantly

ALERTS_MOST: Final = 50_000
"""Alerts of one notification."""
FIELDS_MOST: Final = 10_000
"""Labels, annotations or other fields of one alert that are looked at."""
TRUNCATED_MOST: Final = 1_000_000
"""A larger `truncatedAlerts` counts as this."""
_UNNAMED_MOST: Final = 64 * 1024
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}")
_RECEIVER: Final = re.compile(rb'\s*\{\s*"receiver"\s*:\s*("(?:[^"\\]|\\.){0,1000}")')


def _written_time(value: Any) -> Any:
    if not isinstance(value, str) or not _TIME.match(value):
        raise ValueError("expected a time such as 2026-01-31T10:00:00Z")
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_whole(value)


def _text_or_none(value: Any) -> str:
    return value if _is_text(value) else ""


def _utc(value: datetime) -> datetime:
    # Year 1 east of Greenwich is year 0 in UTC, which no later reader could express.
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time within the years 1 to 9999 in UTC") from None


Time = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_utc)]
"""A time as Go writes it, in UTC."""


class _Tolerant(BaseModel):
    # The payload is Alertmanager's contract: what a newer one adds is not an error here.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class WebhookAlert(_Tolerant):
    """One alert as Alertmanager writes it in its webhook."""

    status: AlertStatus
    labels: Labels
    annotations: Annotations = Field(default_factory=dict)
    starts_at: Time = Field(alias="startsAt")
    ends_at: Time | None = Field(default=None, alias="endsAt")
    generator_url: GeneratorUrl = Field(default="", alias="generatorURL")
    fingerprint: Fingerprint

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


@dataclass(frozen=True)
class UnfitAlert:
    """One alert of a notification that can't be acted upon."""

    index: int
    raw: Any
    why: str

    def wire(self) -> bytes:
        """A payload with it alone, as it came: mended, it is a record of `aviary.alerts`."""
        try:
            return json.dumps({"version": "4", "alerts": [self.raw]}).encode()
        except RecursionError:
            return b'{"version": "4", "alerts": ["nested too deeply to be kept"]}'


class WebhookPayload(_Tolerant):
    """Alertmanager's webhook payload, version 4; also the value of a record of `aviary.alerts`.

    Grafana's contact points write the same under version 1. Fields not named here (`groupKey`,
    `commonLabels`, …) are allowed and not used.
    """

    version: Literal["4", "1"]
    external_url: Annotated[ExternalUrl, BeforeValidator(_text_or_none)] = Field(
        default="", alias="externalURL"
    )
    receiver: Annotated[ExternalUrl, BeforeValidator(_text_or_none)] = ""
    group_labels: Labels = Field(default_factory=dict, alias="groupLabels")
    truncated_alerts: int = Field(
        default=0,
        alias="truncatedAlerts",
        description="Left out by its `max_alerts`; 1 where what it says is no such number.",
    )
    alerts: tuple[WebhookAlert, ...]
    unfit: tuple[UnfitAlert, ...] = ()

    @field_validator("group_labels", mode="before")
    @classmethod
    def _labels_or_none(cls, value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or isinstance(value, Twice):
            return {}
        return {name: text for name, text in value.items() if _is_text(name) and _is_text(text)}

    @field_validator("truncated_alerts", mode="before")
    @classmethod
    def _a_count(cls, value: Any) -> int:
        if value is None:
            return 0  # as if it were left out: so some write what is nothing
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return 1
        return min(value, TRUNCATED_MOST)

    @classmethod
    def parse(cls, value: bytes | None, kept: Container[str] = ()) -> Self:
        """Read a payload; alerts that are wrong are kept apart.

        Args:
            value: JSON.
            kept: names of labels that decide, which are left out last from a label set too large.

        Raises:
            Rejected: `unparsable` for what is not JSON, `invalid_data` for what is no payload,
                `too_large` for too many values or alerts.
        """
        document: Any = load_tolerantly(value)
        if not isinstance(document, dict):
            text = f"document: got {show(document)}, expected an Alertmanager payload (version 4)"
            raise Rejected(RejectReason.INVALID_DATA, text)
        if isinstance(document, Twice):
            raise Rejected(RejectReason.INVALID_DATA, _twice(document))
        try:
            envelope = cls.model_validate(document | {"alerts": (), "unfit": ()})
        except ValidationError as error:
            raise Rejected(RejectReason.INVALID_DATA, explain(error)) from error
        good, unfit = _read_alerts(document.get("alerts"), kept)
        return envelope.model_copy(update={"alerts": good, "unfit": unfit})

    def split(self) -> tuple[WebhookPayload, ...]:
        """One payload for each of its good alerts, in their order: the unit of a Kafka record."""
        shared = WebhookPayload(version="4", external_url=self.external_url, alerts=())
        return tuple(shared.model_copy(update={"alerts": (alert,)}) for alert in self.alerts)

    @staticmethod
    def of(alert: Alert) -> WebhookPayload:
        """The payload that would have brought an alert."""
        fields = alert.model_dump(include=set(WebhookAlert.model_fields))
        single = WebhookAlert.model_construct(**fields)
        return WebhookPayload(version="4", external_url=alert.external_url, alerts=(single,))

    def wire(self) -> bytes:
        """The payload as JSON, with Alertmanager's own field names."""
        return self.model_dump_json(
            by_alias=True, exclude_none=True, exclude_defaults=True, exclude={"unfit"}
        ).encode()

    def to_alerts(self) -> tuple[Alert, ...]:
        """All its good alerts, in their order."""
        return tuple(alert.to_alert(self.external_url) for alert in self.alerts)


def receiver_of(body: bytes) -> str | None:
    """Whom a notification is for, of a body that was not read: Alertmanager says it first."""
    found = _RECEIVER.match(body)
    try:
        return str(json.loads(found[1])) if found else None
    except ValueError:
        return None


def _read_alerts(
    given: Any, kept: Container[str]
) -> tuple[tuple[WebhookAlert, ...], tuple[UnfitAlert, ...]]:
    if not isinstance(given, list) or not given:
        text = f"alerts: got {show(given)}, expected a list of at least one alert"
        raise Rejected(RejectReason.INVALID_DATA, text)
    if len(given) > ALERTS_MOST:
        text = f"alerts: got {len(given)}, expected at most {ALERTS_MOST}"
        raise Rejected(RejectReason.TOO_LARGE, text)
    good, unfit = [], []
    for index, raw in enumerate(given):
        try:
            good.append(_read_alert(raw, f"alerts[{index}]", kept))
        except Rejected as why:
            unfit.append(UnfitAlert(index, raw, cut(why.text, TEXT_MOST)))
    return tuple(good), tuple(unfit)


def _read_alert(raw: Any, place: str, kept: Container[str]) -> WebhookAlert:
    if not isinstance(raw, dict):
        raise Rejected(RejectReason.INVALID_DATA, f"{place}: got {show(raw)}, expected an object")
    for name in ("labels", "annotations", ""):
        part = raw.get(name) if name else raw
        inside = f"{place}.{name}" if name else place
        if isinstance(part, Twice):
            raise Rejected(RejectReason.INVALID_DATA, f"{inside}.{_twice(part)}")
        if isinstance(part, dict) and len(part) > FIELDS_MOST:
            text = f"{inside}: got {len(part)} fields, expected at most {FIELDS_MOST}"
            raise Rejected(RejectReason.INVALID_DATA, text)
    # What is null is not there: other senders' maps without entries are written so.
    given = {name: value for name, value in raw.items() if value is not None}
    if given.get("fingerprint", "") == "":
        given = given | {"fingerprint": _computed(given.get("labels"))}
    try:
        return WebhookAlert.model_validate(given, context={KEPT: kept})
    except ValidationError as error:
        raise Rejected(RejectReason.INVALID_DATA, explain(error, place)) from error


def _twice(part: Twice) -> str:
    return f"{cut(part.name, NAME_MOST)}: given twice, expected once"


def _computed(labels: Any) -> str:
    """The fingerprint that older versions and other senders leave out; empty without labels."""
    pairs = labels.items() if isinstance(labels, dict) else ()
    if not pairs or not all(_is_text(name) and _is_text(value) for name, value in pairs):
        return ""
    if sum(len(name) + len(value) for name, value in pairs) > _UNNAMED_MOST:
        return ""  # some bytes are slow to compute in Python; nobody's alert is so large
    return fingerprint_of(labels)
