"""Lengths of time as Go writes them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from aviary.moving.source import Node
from schemas.base import parse_duration

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_LONGEST: Final = 60
"""Characters."""


def length(node: Node, text: str | None = None) -> timedelta:
    """A duration of Go (`1m30s`), or a bare number of seconds; in whole milliseconds.

    Args:
        node: where it stands.
        text: what it is with its variables filled in, where it has some.

    Raises:
        RefusedError: it is neither, or longer than a catalog takes.
    """
    text = node.text() if text is None else text
    seconds = _seconds(text)
    if seconds is None:
        raise node.refuse("a duration such as 30s or 1m30s")
    try:
        return parse_duration(timedelta(milliseconds=round(seconds * 1000)))
    except (ValueError, OverflowError):
        raise node.refuse("a duration from 0s to 366d") from None


def _seconds(text: str) -> float | None:
    if len(text) > _LONGEST:
        return None
    if text.isascii() and text.isdecimal():
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
