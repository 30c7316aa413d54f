"""Alerts of several records: read, told apart, and put together again for signals. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.alert import Alert, AlertStatus, WebhookPayload, find_service
from schemas.catalog import Catalog
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


def read(records: Sequence[Any], catalog: Catalog) -> tuple[list[Item], dict[int, Rejected]]:
    """Read the alerts of some records.

    Returns:
        The alerts of services in the catalog, in their order; and by a record's position why (a
        part of) it is refused.
    """
    items: list[Item] = []
    refused: dict[int, Rejected] = {}
    for position, record in enumerate(records):
        try:
            alerts = WebhookPayload.parse(record.value).to_alerts()
        except Rejected as why:
            refused[position] = why
            continue
        known, unknown = _by_service(alerts, catalog)
        items += (Item(record, index, service, alert) for index, service, alert in known)
        if unknown:
            refused[position] = Rejected(RejectReason.UNKNOWN_SERVICE, "; ".join(unknown))
    return items, refused


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
                new = [one for one in catalog.services[each].depends_on if one not in found]
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
