"""Names of the services under test."""

from __future__ import annotations

import itertools

_names = itertools.count(1)


def new_name(length: int = 0) -> str:
    """Of a service that nobody has used yet, at least so long."""
    return f"svc-{next(_names)}".ljust(length, "x")
