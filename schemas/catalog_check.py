"""What must agree across the sections of a catalog: names, references, cycles, growing weights.

The checks work on an outline, not on the models, so that the loader can run them on a document that
has other faults as well and tell of all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from schemas.graph import find_cycles

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the document."""


MISSING: Any = object()
"""The value of a finding about something that is not there."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    path: Path
    value: Any
    expected: str


@dataclass(frozen=True)
class ServiceOutline:
    """What the checks must know of one service."""

    depends_on: Sequence[tuple[int, str]] = ()
    """Position in the document and name."""
    strategy: str | None = None
    has_router: bool = False


@dataclass(frozen=True)
class Outline:
    """What the checks must know of a catalog; what can't be read is left out."""

    services: Mapping[str, ServiceOutline]
    strategies: Collection[str]
    weights: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Weights of the document's own strategies, None where one can't be read."""
    default_strategy: str | None = None
    has_router: bool = False
    told_of: Sequence[Sequence[tuple[int, str]]] = ()
    """For each rule of `notices`: position and name of its services."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name: `; did you mean 'payments'?`, or nothing."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


class _Hints:
    """Suggests close names for the first few; a search among 10,000 is not for every mistake."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._left = 10

    def __call__(self, name: str) -> str:
        self._left -= 1
        return nearest(name, self._known) if self._left >= 0 else ""


def check_outline(outline: Outline) -> list[Finding]:
    """Return every disagreement, each once, in the order of the document."""
    found = [
        finding
        for name, weights in outline.weights.items()
        for finding in check_weights(weights, ("strategies", name))
    ]
    if outline.default_strategy is not None:
        found += _check_strategy(outline.default_strategy, outline, ("defaults", "strategy"))
    hints = _Hints(outline.services)
    for name, service in outline.services.items():
        found += _check_service(name, service, outline, hints)
    return found + _check_cycles(outline.services) + _check_notices(outline, hints)


def _check_notices(outline: Outline, hints: _Hints) -> list[Finding]:
    return [
        Finding(
            path=("notices", rule, "services", position),
            value=name,
            expected=f"a service of this catalog{hints(name)}",
        )
        for rule, services in enumerate(outline.told_of)
        for position, name in services
        if name not in outline.services
    ]


def check_weights(weights: Sequence[float | None], path: Path) -> list[Finding]:
    """Return the steps (under `path`) that are not larger than the one before them."""
    found: list[Finding] = []
    last = 0.0
    for index, weight in enumerate(weights):
        if weight is None:
            continue
        if index > 0 and weight <= last:
            found.append(
                Finding(
                    path=(*path, "steps", index, "weight"),
                    value=weight,
                    expected=f"a weight that grows from step to step: more than {last:g}",
                )
            )
        last = max(last, weight)
    return found


def _check_strategy(name: str, outline: Outline, path: Path) -> list[Finding]:
    if name in outline.strategies:
        return []
    known = ", ".join(sorted(outline.strategies))
    expected = f"the name of a strategy ({known}){nearest(name, outline.strategies)}"
    return [Finding(path=path, value=name, expected=expected)]


def _check_service(
    name: str, service: ServiceOutline, outline: Outline, hints: _Hints
) -> list[Finding]:
    path: Path = ("services", name)
    found: list[Finding] = []
    if not service.has_router and not outline.has_router:
        found.append(Finding((*path, "router"), MISSING, "a router, here or in defaults"))
    if service.strategy is not None:
        found += _check_strategy(service.strategy, outline, (*path, "strategy"))
    seen: set[str] = set()
    for position, need in service.depends_on:
        at: Path = (*path, "depends_on", position)
        if need == name:
            found.append(Finding(path=at, value=need, expected="another service, not itself"))
        elif need in seen:
            found.append(Finding(path=at, value=need, expected="each dependency once"))
        elif need not in outline.services:
            expected = f"a service of this catalog{hints(need)}"
            found.append(Finding(path=at, value=need, expected=expected))
        seen.add(need)
    return found


def _check_cycles(services: Mapping[str, ServiceOutline]) -> list[Finding]:
    graph = {
        name: [need for _, need in service.depends_on if need != name]
        for name, service in services.items()
    }
    found: list[Finding] = []
    for cycle in find_cycles(graph):
        last = cycle[-1]
        position = next(at for at, need in services[last].depends_on if need == cycle[0])
        found.append(
            Finding(
                path=("services", last, "depends_on", position),
                value=cycle[0],
                expected=f"no cycle of dependencies, found {' -> '.join([*cycle, cycle[0]])}",
            )
        )
    return found
