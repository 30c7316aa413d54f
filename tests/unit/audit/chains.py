"""Chains as a release makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aviary.audit.gather import Gathered
from aviary.audit.verify import Audit, verify
from schemas.chain import Chain
from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event

BEGAN = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
MIDDLE = EventType.CANARY_CHANGED
END = EventType.RELEASE_ROLLEDBACK


def told(
    number: int, kind: EventType = MIDDLE, *, release: str = "r1", data: Any = None
) -> CloudEvent:
    """An event as a release tells it."""
    return event(
        f"release/{release}",
        number,
        kind,
        release=release,
        subject="ledger",
        time=BEGAN + timedelta(seconds=number),
        data={"release": release, "weight": 5.5 * number, "of": data},
    )


def linked(chain: Chain, events: Iterable[CloudEvent]) -> list[bytes]:
    """The events as records."""
    return [chain.link(one).wire() for one in events]


def chain_of(length: int, *, release: str = "r1", ended: bool = True) -> list[bytes]:
    """A whole chain of so many links."""
    kinds = [MIDDLE] * (length - 1) + [END if ended else MIDDLE]
    events = [told(number, kind, release=release) for number, kind in enumerate(kinds)]
    if ended:
        data = {**events[-1].data, "links": length}
        events[-1] = events[-1].model_copy(update={"data": data})
    return linked(Chain(), events)


def audits(records: Sequence[bytes], **how: Any) -> list[Audit]:
    """What is found in records."""
    gathered = Gathered()
    for number, record in enumerate(records, 1):
        gathered.take(record, f"f:{number}")
    return verify(gathered.links, gathered.flaws, **how)


def audited(records: Sequence[bytes], **how: Any) -> Audit:
    """The same of one release."""
    (audit,) = audits(records, **how)
    return audit


def kinds(audit: Audit) -> list[str]:
    """What was found, in words."""
    return [one.kind.value for one in audit.found]


def edited(record: bytes, **changes: Any) -> bytes:
    """The record with other attributes; those that are None are left out."""
    document = {**json.loads(record), **changes}
    return json.dumps({name: one for name, one in document.items() if one is not None}).encode()
