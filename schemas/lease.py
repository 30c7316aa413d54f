"""A canary's lease: how long it may go without a sign of life of its release."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from schemas.base import DURATION_SCHEMA, format_duration, parse_duration

OFF: Final = timedelta(0)
"""No lease: a written choice, `off`."""
DEFAULT: Final = timedelta(seconds=60)
SHORTEST: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(days=1)
RENEWALS: Final = 3
"""In the length of a lease: two may be missed."""


def _read(value: Any) -> timedelta:
    # `off` without quotes is false in YAML.
    if value is False or value == "off":
        return OFF
    length = parse_duration(value)
    if not SHORTEST <= length <= LONGEST:
        shortest, longest = format_duration(SHORTEST), format_duration(LONGEST)
        raise ValueError(f"expected a duration from {shortest} to {longest}, or off")
    return length


def _written(length: timedelta) -> str:
    return format_duration(length) if length else "off"


Lease = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema(
        {
            "description": DURATION_SCHEMA["description"],
            "pattern": f"^(off|{DURATION_SCHEMA['pattern'].strip('^$')})$",
            "anyOf": [{"type": "string"}, {"const": False}],
        }
    ),
]
"""A length of time from 5s to 24h, or `off`, which is 0."""
