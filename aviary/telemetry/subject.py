"""What an activity or a workflow is about, as far as its input says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.route import Route

Value = str | int | float | bool


def subject_of(args: Sequence[Any]) -> dict[str, Value]:
    """Release, service, weight and generation, each if the first argument has it."""
    if not args:
        return {}
    first = args[0]
    found: dict[str, Value] = {}
    for part in (getattr(first, "plan", None), getattr(first, "ask", None), first):
        for name in ("release", "service"):
            if isinstance(value := getattr(part, name, None), str):
                found[name] = value
    events = getattr(first, "events", ())
    if isinstance(events, tuple) and events:
        found["release"] = str(getattr(events[0], "partitionkey", ""))
    if isinstance(route := getattr(first, "route", None), Route):
        found |= {"service": route.service, "weight": route.weight, "generation": route.generation}
        if route.owner:
            found["release"] = route.owner
    elif isinstance(weight := getattr(first, "weight", None), float):
        found["weight"] = weight
    return found
