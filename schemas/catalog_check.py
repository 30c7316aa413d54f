"""What must agree across the sections of a catalog: names, references, cycles, growing weights.

The checks work on an outline, not on the models, so that the loader can run them on a document that
has other faults as well and tell of all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from heapq import nlargest
from itertools import islice, pairwise, zip_longest
from typing import Any, Final

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from schemas.graph import find_cycles

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the document."""


UNREAD: Any = object()
"""Stands for a value that could not be read."""
MISSING: Any = object()
"""The value of a finding about something that is not there."""

MOST_FINDINGS: Final = 5000
"""Findings that are put into words; others are counted."""
_HINTS: Final = 10
"""Names for which a close one is looked for; a search among 10,000 is not for every mistake."""
_COMPARED: Final = 50
_BEGINNING: Final = 3
"""Characters that are enough to name something by how it begins."""
_LONGEST_NAME: Final = 100
_NAMED: Final = 12
"""Most known names, or names of a cycle, that a finding spells out."""


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
    step_audiences: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """Whom the same steps are for, None for everybody."""
    default_strategy: str | None = None
    has_router: bool = False
    refuses_cycles: bool = False
    """Whether services that need each other are a finding."""
    told_of: Sequence[Sequence[tuple[int, str]]] = ()
    """For each rule of `notices`: position and name of its services."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name: `; did you mean 'payments'?`, or nothing."""
    if len(name) > _LONGEST_NAME:  # the search takes the square of the length
        return ""
    typed = name.lower()
    candidates = {one.lower(): one for one in known if len(one) <= _LONGEST_NAME}
    some: list[str] = list(candidates)
    if len(some) > _COMPARED:
        pairs = _pairs(typed)
        some = nlargest(_COMPARED, some, key=lambda one: len(pairs & _pairs(one)))
    close = get_close_matches(typed, some, n=1) or [
        one for one in some if one.startswith(typed) and len(typed) >= _BEGINNING
    ]
    return f"; did you mean '{candidates[close[0]]}'?" if close else ""


def _pairs(name: str) -> set[tuple[str, str]]:
    """Neighbouring characters: what close names share, and is quick to count."""
    return set(pairwise(name))


def many(count: int, what: str) -> str:
    """`1 service`, `3 services`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Names in order, those beyond the first twelve as a number: `a, b and 4,312 more`."""
    every = sorted(names)
    more = len(every) - _NAMED
    text = ", ".join(every[:_NAMED])
    return f"{text} and {more:,} more" if more > 0 else text


class _Hints:
    """Suggests close names for the first few, each name once."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._hints: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._hints:
            if len(self._hints) >= _HINTS:
                return ""
            self._hints[name] = nearest(name, self._known)
        return self._hints[name]


def check_outline(outline: Outline) -> Iterator[Finding]:
    """Give every disagreement, each once; there may be more than one wants to hear."""
    for name, weights in outline.weights.items():
        whom = outline.step_audiences.get(name, ())
        yield from check_weights(weights, ("strategies", name), whom)
    known = _Strategies(outline.strategies)
    if outline.default_strategy is not None:
        yield from known.check(outline.default_strategy, ("defaults", "strategy"))
    hints = _Hints(outline.services)
    for name, service in outline.services.items():
        yield from _check_service(name, service, outline, known, hints)
    if outline.refuses_cycles:
        yield from _check_cycles(outline.services)
    yield from _check_notices(outline, hints)


def _check_notices(outline: Outline, hints: _Hints) -> Iterator[Finding]:
    for rule, services in enumerate(outline.told_of):
        for position, name in services:
            if name not in outline.services:
                yield Finding(
                    path=("notices", rule, "services", position),
                    value=name,
                    expected=f"a service of this catalog{hints(name)}",
                )


def check_weights(
    weights: Sequence[float | None], path: Path, whom: Sequence[str | None] = ()
) -> Iterator[Finding]:
    """Give the steps (under `path`) that add nobody: the weight is no larger than before.

    Args:
        weights: of the steps, None where one can't be read.
        path: of the strategy.
        whom: the audience of each step, None (or nothing) for everybody.
    """
    had: dict[str | None, float] = {}
    for index, (weight, audience) in enumerate(zip_longest(weights, whom[: len(weights)])):
        if weight is None:
            continue
        last = max(had.get(audience, 0.0), had.get(None, 0.0))
        if weight <= last:
            yield Finding(
                path=(*path, "steps", index, "weight"),
                value=weight,
                expected=f"a weight that grows from step to step: more than {last:g}",
            )
        had[audience] = max(last, weight)


class _Strategies:
    """The names that a strategy may have."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._hints = _Hints(known)
        self._listed = listed(known)

    def check(self, name: str, path: Path) -> Iterator[Finding]:
        if name not in self._known:
            expected = f"the name of a strategy ({self._listed}){self._hints(name)}"
            yield Finding(path=path, value=name, expected=expected)


def _check_service(
    name: str, service: ServiceOutline, outline: Outline, strategies: _Strategies, hints: _Hints
) -> Iterator[Finding]:
    path: Path = ("services", name)
    if not service.has_router and not outline.has_router:
        yield Finding((*path, "router"), MISSING, "a router, here or in defaults")
    if service.strategy is not None:
        yield from strategies.check(service.strategy, (*path, "strategy"))
    seen: set[str] = set()
    for position, need in service.depends_on:
        at: Path = (*path, "depends_on", position)
        if need == name:
            yield Finding(path=at, value=need, expected="another service, not itself")
        elif need in seen:
            yield Finding(path=at, value=need, expected="each dependency once")
        elif need not in outline.services:
            yield Finding(path=at, value=need, expected=f"a service of this catalog{hints(need)}")
        seen.add(need)


def _check_cycles(services: Mapping[str, ServiceOutline]) -> Iterator[Finding]:
    graph = {
        name: [need for _, need in service.depends_on if need != name]
        for name, service in services.items()
    }
    for cycle in find_cycles(graph):
        last = cycle[-1]
        position = next(at for at, need in services[last].depends_on if need == cycle[0])
        yield Finding(
            path=("services", last, "depends_on", position),
            value=cycle[0],
            expected=f"no cycle of dependencies, found {way_round(cycle)}",
        )


def way_round(cycle: Sequence[str]) -> str:
    """`a -> b -> a`; of a long cycle, the names after the first twelve are a number."""
    more = len(cycle) - _NAMED
    way = [*cycle[:_NAMED], f"{more:,} more", cycle[0]] if more > 0 else [*cycle, cycle[0]]
    return " -> ".join(way)


def refuse(title: str, every: Iterable[Finding]) -> None:
    """Raise findings, the first of very many, as errors of a model validator at their places."""
    findings = list(islice(every, MOST_FINDINGS))
    if findings:
        raise ValidationError.from_exception_data(
            title,
            [
                InitErrorDetails(
                    type=PydanticCustomError(
                        "aviary_catalog",
                        "expected {expected}",
                        {"expected": found.expected},
                    ),
                    loc=found.path,
                    input=found.value,
                )
                for found in findings
            ],
        )
