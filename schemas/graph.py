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
    walk = _Walk(graph)
    cycles: list[list[str]] = []
    for start in sorted(walk.peeler.waiting):
        while start in walk.peeler.waiting:
            cycles.append(walk.cycle(start))
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


class _Walk:
    """Finds one cycle after another; each name and each dependency is looked at once in all."""

    def __init__(self, graph: Graph) -> None:
        self.peeler = _Peeler(graph)
        self.peeler.peel()
        self._ahead = {
            name: iter(sorted(need for need in graph[name] if need in self.peeler.waiting))
            for name in self.peeler.waiting
        }
        self._next: dict[str, str] = {}
        self._path: dict[str, None] = {}

    def cycle(self, start: str) -> list[str]:
        """Follow dependencies from a waiting name until one repeats, and take that cycle off.

        The way to it is kept for the next time: what lies on it still waits, or is at its end.
        """
        path = self._path
        name = next(reversed(path)) if path else start
        if not path:
            path[name] = None
        while (name := self._waiting_need(name)) not in path:
            path[name] = None
        found = [path.popitem()[0]]
        while found[-1] != name:
            found.append(path.popitem()[0])
        found.reverse()
        self.peeler.drop(found)
        self.peeler.peel()
        while path and next(reversed(path)) not in self.peeler.waiting:
            path.popitem()
        return found

    def _waiting_need(self, name: str) -> str:
        """The first in order that still waits: what does not, never will again."""
        need = self._next.get(name)
        while need is None or need not in self.peeler.waiting:
            need = self._next[name] = next(self._ahead[name])
        return need
