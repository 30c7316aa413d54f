"""Dependency graphs of names: levels that may go at once, and the cycles that prevent them.

Nothing here recurses, so that a chain of 10,000 services is as good as a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Graph = Mapping[str, Iterable[str]]
"""Name → the names it depends on; names that are no key of the graph are left out of account."""


def levels(graph: Graph) -> list[list[str]]:
    """Sort names into levels: each depends only on earlier levels, and goes as early as it can.

    Names in a level are sorted. Names in or behind a cycle are missing. Linear in names and
    dependencies, but for the sorting.
    """
    return _Peeler(graph).peel()


def find_cycles(graph: Graph) -> list[list[str]]:
    """Find cycles, disjoint ones, each as a list of names of which the last depends on the first.

    Of cycles that share a name only one is given. A name that depends on itself is a cycle of one.
    """
    peeler = _Peeler(graph)
    peeler.peel()
    cycles: list[list[str]] = []
    for start in sorted(peeler.waiting):
        while start in peeler.waiting:
            cycle = peeler.walk(start)
            cycles.append(cycle)
            peeler.drop(cycle)
            peeler.peel()
    return cycles


class _Peeler:
    """Takes names off a graph once all that they depend on are off (Kahn's algorithm)."""

    def __init__(self, graph: Graph) -> None:
        self._needs = {name: {n for n in needs if n in graph} for name, needs in graph.items()}
        self._needed_by: dict[str, list[str]] = {name: [] for name in self._needs}
        for name, needs in self._needs.items():
            for need in needs:
                self._needed_by[need].append(name)
        self.waiting = {name: len(needs) for name, needs in self._needs.items()}
        self._ready = [name for name, count in self.waiting.items() if count == 0]

    def peel(self) -> list[list[str]]:
        found: list[list[str]] = []
        while self._ready:
            level = sorted(self._ready)
            found.append(level)
            self._ready = []
            self.drop(level)
        return found

    def drop(self, names: Iterable[str]) -> None:
        """Take names off, whether or not they wait for something."""
        dropped = [name for name in names if self.waiting.pop(name, None) is not None]
        for name in dropped:
            for dependent in self._needed_by[name]:
                if dependent in self.waiting:
                    self.waiting[dependent] -= 1
                    if self.waiting[dependent] == 0:
                        self._ready.append(dependent)

    def walk(self, start: str) -> list[str]:
        """Follow dependencies from a waiting name (each has a waiting one) until one repeats."""
        position: dict[str, int] = {}
        name = start
        while name not in position:
            position[name] = len(position)
            name = min(need for need in self._needs[name] if need in self.waiting)
        return list(position)[position[name] :]
