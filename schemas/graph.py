"""Dependency graphs of names: levels that may go at once, cycles, and groups that need each other.

Nothing here recurses, so that a chain of 10,000 services is as good as a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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


def components(graph: Graph) -> list[list[str]]:
    """Find the strongly connected components: names that need each other, directly or not.

    A component comes after all that it depends on; a name that is in no cycle is one by itself.
    Tarjan's algorithm (1972), linear in names and dependencies.
    """
    return _Components(graph).find()


class _Components:
    """Tarjan's algorithm, with a stack of its own rather than recursion."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._number: dict[str, int] = {}
        self._low: dict[str, int] = {}
        self._open: dict[str, None] = {}
        """Names that were come to and are in no component yet, in order."""
        self._found: list[list[str]] = []

    def find(self) -> list[list[str]]:
        for start in self._graph:
            if start not in self._number:
                self._walk(start)
        return self._found

    def _walk(self, start: str) -> None:
        way = [(start, self._come_to(start))]
        while way:
            name, ahead = way[-1]
            for need in ahead:
                if need not in self._number:
                    way.append((need, self._come_to(need)))
                    break
                if need in self._open:
                    self._low[name] = min(self._low[name], self._number[need])
            else:
                way.pop()
                self._leave(name, way[-1][0] if way else None)

    def _come_to(self, name: str) -> Iterator[str]:
        self._number[name] = self._low[name] = len(self._number)
        self._open[name] = None
        return iter([need for need in self._graph[name] if need in self._graph])

    def _leave(self, name: str, dependent: str | None) -> None:
        if dependent is not None:
            self._low[dependent] = min(self._low[dependent], self._low[name])
        if self._low[name] == self._number[name]:
            found = [self._open.popitem()[0]]
            while found[-1] != name:
                found.append(self._open.popitem()[0])
            self._found.append(found)


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
