"""Where the boxes and arrows of a dependency graph go: in lines, arrows around boxes. Pure.

An arrow over several lines gets a slot of its own in each line between, so that it passes beside
the boxes there. Lines are ordered by where the arrows into them come from (the barycentre method of
Sugiyama, Tagawa and Toda 1981).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

PER_LINE = 5
Needs = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Slot:
    """A place in a line: a box, or the way of an arrow where `to` is set."""

    name: str
    to: str | None = None


@dataclass(frozen=True)
class Layout:
    """Lines of slots, and the slots that each arrow goes through, its ends included."""

    lines: tuple[tuple[Slot, ...], ...]
    arrows: tuple[tuple[tuple[int, Slot], ...], ...]


def direct(depends_on: Needs) -> dict[str, frozenset[str]]:
    """The dependencies that no other dependency implies."""
    implied: dict[str, frozenset[str]] = {
        name: frozenset().union(*(depends_on.get(one, frozenset()) for one in needs))
        for name, needs in depends_on.items()
    }
    return {name: needs - implied[name] for name, needs in depends_on.items()}


def arrange(stages: Sequence[Sequence[str]], needs: Needs) -> Layout:
    """Arrange services in lines, what must hold first above.

    Args:
        stages: sets of services, dependencies first.
        needs: the direct dependencies of each.
    """
    boxes = [
        tuple(sorted(stage)[begin : begin + PER_LINE])
        for stage in stages
        for begin in range(0, len(stage), PER_LINE)
    ]
    line_of = {name: index for index, line in enumerate(boxes) for name in line}
    arrows = [
        _through(one, name, line_of) for name in line_of for one in sorted(needs.get(name, ()))
    ]
    lines: list[list[Slot]] = [[Slot(name) for name in line] for line in boxes]
    for arrow in arrows:
        for index, slot in arrow[1:-1]:
            lines[index].append(slot)
    return Layout(tuple(_ordered(lines, arrows)), tuple(arrows))


def _through(begin: str, end: str, line_of: Mapping[str, int]) -> tuple[tuple[int, Slot], ...]:
    first, last = line_of[begin], line_of[end]
    between = ((index, Slot(begin, end)) for index in range(first + 1, last))
    return ((first, Slot(begin)), *between, (last, Slot(end)))


def _ordered(
    lines: list[list[Slot]], arrows: Sequence[tuple[tuple[int, Slot], ...]]
) -> list[tuple[Slot, ...]]:
    """Each line sorted by the middle of what leads into it from the line above."""
    above: dict[tuple[int, Slot], list[Slot]] = {}
    for arrow in arrows:
        for (_, before), place in pairwise(arrow):
            above.setdefault(place, []).append(before)
    places: dict[Slot, float] = {}
    found = []
    for index, line in enumerate(lines):
        known = {
            slot: [places[one] for one in above.get((index, slot), ()) if one in places]
            for slot in line
        }
        middle = {slot: sum(at) / len(at) if at else 0.5 for slot, at in known.items()}
        ordered = sorted(line, key=lambda slot: (middle[slot], slot.name, slot.to or ""))
        places |= {slot: (i + 0.5) / len(ordered) for i, slot in enumerate(ordered)}
        found.append(tuple(ordered))
    return found
