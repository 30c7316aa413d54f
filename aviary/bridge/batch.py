"""Alerts of several records: read, told apart, and put together again for signals. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.alert import Alert, AlertStatus, find_service
from schemas.catalog import Catalog
from schemas.loss import Loss, LossReason, is_loss
from schemas.notification import WebhookPayload
from schemas.outside import TEXT_MOST, cut
from schemas.rejection import Rejected, RejectReason

AT_MOST: Final = 100
"""Alerts of one signal; what a canary takes."""
AT_MOST_BYTES: Final = 512 * 1024
"""Of one signal with several alerts; Temporal refuses 2 MB."""


def name(record: Any) -> str:
    """The same for every delivery of one record, and for no other."""
    return f"{record.topic}/{record.partition}/{record.offset}"


@dataclass(frozen=True)
class Item:
    """One alert, the service that it is about, and where it came from."""

    record: Any
    index: int
    service: str
    alert: Alert

    @property
    def place(self) -> str:
        """The same for every delivery, and for no other alert."""
        return name(self.record) if self.index == 0 else f"{name(self.record)}/{self.index}"

    @property
    def key(self) -> str:
        """Equal for repeats of one alert, whichever record brings them."""
        return f"{self.service}/{self.alert.identity}"

    @property
    def occurrence(self) -> str:
        """Equal for the firing of an alert and for its end."""
        return f"{self.service}/{self.alert.occurrence}"


@dataclass(frozen=True)
class Batch:
    """What some records hold."""

    items: list[Item] = field(default_factory=list)
    """The alerts of services in the catalog, in their order."""
    refused: dict[int, Rejected] = field(default_factory=dict)
    """By a record's position, why (a part of) it is refused."""
    losses: list[tuple[Any, Loss]] = field(default_factory=list)
    """Records of which other alerts are lost, and may concern any service."""
    lost: list[Loss] = field(default_factory=list)
    """All losses, those of one service's alerts as well."""


def read(records: Sequence[Any], catalog: Catalog, kept: Container[str] = ()) -> Batch:
    """Read the alerts of some records.

    Args:
        records: as the consumer gave them.
        catalog: has the services.
        kept: labels that decide, which are left out last from a label set too large.
    """
    batch = Batch()
    for position, record in enumerate(records):
        try:
            if is_loss(record.value):
                _read_loss(record, Loss.parse(record.value), catalog, batch)
            else:
                _read_alerts(position, record, catalog, kept, batch)
        except Rejected as why:
            batch.refused[position] = why
    return batch


def _read_alerts(
    position: int, record: Any, catalog: Catalog, kept: Container[str], batch: Batch
) -> None:
    payload = WebhookPayload.parse(record.value, kept)
    known, unknown = _by_service(payload.to_alerts(), catalog)
    batch.items.extend(Item(record, index, service, alert) for index, service, alert in known)
    wrong = [unfit.why for unfit in payload.unfit]
    if wrong or unknown:
        reason = RejectReason.INVALID_DATA if wrong else RejectReason.UNKNOWN_SERVICE
        batch.refused[position] = Rejected(reason, cut("; ".join(wrong + unknown), TEXT_MOST))
    if payload.truncated_alerts:
        # The webhook asks for what its sender left out; of other writers nobody can be asked.
        text = f"truncatedAlerts: {payload.truncated_alerts} alerts were left out of {name(record)}"
        service = find_service(payload.group_labels, catalog.alert_labels.service, catalog.services)
        named = service if service in catalog.services else None
        loss = Loss.at(record.timestamp / 1000, LossReason.TRUNCATED, text, named)
        _read_loss(record, loss, catalog, batch)


def _read_loss(record: Any, loss: Loss, catalog: Catalog, batch: Batch) -> None:
    batch.lost.append(loss)
    if loss.service in catalog.services:
        batch.items.append(lost_item(record, loss, loss.service, catalog))
    else:
        batch.losses.append((record, loss))


_LOST: Final = 1_000_000
"""Numbers the alerts that stand for a loss after those that a record holds."""


def lost_item(record: Any, loss: Loss, service: str, catalog: Catalog, index: int = 0) -> Item:
    """The alert that tells a service's canary of a loss."""
    alert = loss.to_alert(service, catalog.alert_labels.service[0])
    return Item(record, _LOST + index, service, alert)


def _by_service(
    alerts: Iterable[Alert], catalog: Catalog
) -> tuple[list[tuple[int, str, Alert]], list[str]]:
    """Alerts with their place and service, and what is wrong with those that have none."""
    names = catalog.alert_labels.service
    known, unknown = [], []
    for index, alert in enumerate(alerts):
        service = find_service(alert.labels, names, catalog.services)
        if service is None:
            labels = ", ".join(sorted(alert.labels)) or "none"
            expected = "expected one of " + ", ".join(names)
            unknown.append(f"alerts[{index}].labels: {expected}, got {labels}")
        elif service not in catalog.services:
            unknown.append(
                f"alerts[{index}].labels: {service!r} is no service of the catalog, "
                f"expected one in {' or '.join(names)}"
            )
        else:
            known.append((index, service, alert))
    return known, unknown


def ended_unseen(
    items: Sequence[Item], now: float, *, acted: Container[str], passed: Container[str]
) -> set[str]:
    """Keys of the alerts that had ended before they were read, and so are not acted upon.

    Args:
        items: what is read now.
        now: seconds since the epoch.
        acted: occurrences whose firing a canary was told of: their end is news.
        passed: occurrences whose firing was not acted upon: their end is none.

    Returns:
        The firing of what says that it has ended or whose end is read with it, and the end of what
        nobody was told of.
    """
    fired = {i.occurrence for i in items if i.alert.status is AlertStatus.FIRING}
    ended = {i.occurrence for i in items if i.alert.status is AlertStatus.RESOLVED}
    ended |= {
        i.occurrence
        for i in items
        if i.alert.ends_at is not None and i.alert.ends_at.timestamp() <= now
    }
    return {
        item.key
        for item in items
        if item.occurrence in ended
        and item.occurrence not in acted
        and (item.occurrence in fired or item.occurrence in passed)
    }


class Reach:
    """Which canaries an alert concerns: the service's own, and those of what it depends on."""

    def __init__(self) -> None:
        """Begin without a catalog."""
        self._catalog: Catalog | None = None
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, catalog: Catalog, service: str) -> tuple[str, ...]:
        """The service, then all that it depends on, directly or not; nearest first."""
        if catalog is not self._catalog:
            self._catalog, self._known = catalog, {}
        if service not in self._known:
            found = {service: None}
            queue = [service]
            for each in queue:
                spec = catalog.services.get(each)  # a canary may outlive its service's entry
                new = [one for one in spec.depends_on if one not in found] if spec else []
                found |= dict.fromkeys(new)
                queue += dict.fromkeys(new)
            self._known[service] = tuple(found)
        return self._known[service]


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Put alerts together for one signal each, in their order."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        weight = len(item.alert.model_dump_json().encode())
        if chunk and (len(chunk) == AT_MOST or size + weight > AT_MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += weight
    if chunk:
        yield chunk


def request_id(chunk: Sequence[Item]) -> str:
    """Name a signal after what is in it: equal names always mean equal alerts.

    First and last offset alone would not do: another bridge may leave out others in between, and
    Temporal drops a second signal of the same name.
    """
    first, last = chunk[0], chunk[-1]
    if first is last:
        return first.place
    places = "\n".join(item.place for item in chunk)
    digest = hashlib.sha256(places.encode()).hexdigest()[:16]
    return f"{name(first.record)}-{last.record.offset}/{digest}"
