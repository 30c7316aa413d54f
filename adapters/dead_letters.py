"""Dead letters: what could not be acted upon, whole where it fits and cut where it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from adapters.kafka import DEADLETTER_MAX_BYTES, Headers, Outgoing
from adapters.kafka_batches import KEPT
from schemas import ids
from schemas.outside import cut
from schemas.rejection import RejectReason

_ERROR_MOST: Final = 4000
_FRAME: Final = 2048
"""Room for the lengths and numbers that Kafka itself adds to a record."""
_SMALL: Final = 1024
"""Bytes of a key, and of one header, that a cut message keeps."""


def dead_letter(
    record: Any, reason: RejectReason, text: str, most: int = DEADLETTER_MAX_BYTES
) -> Outgoing:
    """Return the dead letter of a consumed record: its own bytes, key and headers, and why.

    Args:
        record: the record as the consumer gave it.
        reason: header `aviary-reason`.
        text: header `aviary-error`, cut to 4,000 characters.
        most: bytes that the message may have; a larger one is cut and says so.
    """
    added = _added(record, reason, text)
    key = _key(record)
    whole = Outgoing(ids.TOPIC_DEADLETTERS, record.value, key, (*record.headers, *added))
    was_cut = record.fault is not None and record.fault.length is not None
    if _size(whole) + _FRAME <= most and not was_cut:
        return whole
    return _cut(record, added, most)


def _key(record: Any) -> bytes:
    """Its own, or where it was: a topic that is compacted takes no record without a key."""
    if record.key is not None:
        own: bytes = record.key
        return own
    return f"{record.topic}/{record.partition}/{record.offset}".encode()


def _added(record: Any, reason: RejectReason, text: str) -> list[tuple[str, bytes]]:
    why = {
        "aviary-reason": reason.value,
        "aviary-error": cut(text, _ERROR_MOST),
        "aviary-source-topic": record.topic,
        "aviary-source-partition": str(record.partition),
        "aviary-source-offset": str(record.offset),
    }
    if record.key is None:
        why["aviary-no-key"] = "true"
    fault = record.fault
    if fault is not None and fault.last_offset != record.offset:
        why["aviary-source-last-offset"] = str(fault.last_offset)
    if fault is not None and fault.holds != "value":
        why["aviary-value-holds"] = fault.holds
    return [(name, value.encode("utf-8", "backslashreplace")) for name, value in why.items()]


def _cut(record: Any, added: list[tuple[str, bytes]], most: int) -> Outgoing:
    """A message without what is too large: the value first, then headers, then the key."""
    fault = record.fault
    value, key = record.value or b"", _key(record)
    length = len(value) if fault is None or fault.length is None else fault.length
    known = fault.sha256 if fault is not None else ""
    digest = known or hashlib.sha256(value).hexdigest()
    added = [*added, ("aviary-cut", f"{length} bytes, sha256 {digest}".encode())]
    if len(key) > _SMALL:
        added.append(("aviary-key-bytes", str(len(key)).encode()))
        key = key[:_SMALL]
    left = max(0, most - _FRAME - len(key) - _headers_size(added))
    headers, dropped = _fitting(record.headers, left // 2)
    if dropped:
        added.append(("aviary-headers-cut", str(dropped).encode()))
    left = max(0, left - _headers_size(headers))
    kept = None if record.value is None else value[: min(KEPT, left)]
    return Outgoing(ids.TOPIC_DEADLETTERS, kept, key, (*headers, *added))


def _fitting(headers: Headers, room: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """The headers as far as there is room, long ones cut; and how many are not whole."""
    kept: list[tuple[str, bytes | None]] = []
    dropped = 0
    for name, value in headers:
        short = name[:_SMALL], None if value is None else value[:_SMALL]
        size = _headers_size([short])
        if size > room:
            dropped += 1
            continue
        room -= size
        dropped += short != (name, value)
        kept.append(short)
    return kept, dropped


def _headers_size(headers: Sequence[tuple[str, bytes | None]]) -> int:
    return sum(len(name.encode()) + len(value or b"") + 10 for name, value in headers)


def _size(record: Outgoing) -> int:
    return len(record.value or b"") + len(record.key or b"") + _headers_size(record.headers)
