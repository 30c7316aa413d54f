"""Incidents while releases are under way, made up: what is counted, and whose doing it is.

Nothing here knows how `analysis.blame` decides. Requests come in at the entries and are passed on
along the calls; failures come back the same way, unless a caller makes do without an answer. Rates
of failures move by themselves, and fail in bursts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from schemas.graph import components

STEP_S: Final = 15.0
"""Between two scrapes."""
STEPS: Final = 320
"""Of an incident's data: 80 minutes."""
_WEIGHTS: Final = ((5, 25, 50, 100), (5, 10, 25, 50, 100), (1, 5, 20, 50, 100), (10, 50, 100))
_EXTERNAL: Final = 0.12
"""Share of the incidents that are the doing of no release."""

Floats = NDArray[np.float64]
Graph = Mapping[str, tuple[str, ...]]


class Fault(StrEnum):
    """What is wrong with a version, or with the world."""

    ERRORS = "errors"
    """It fails a part of its requests."""
    CONTENT = "content"
    """It answers well by its own metrics, and its callers fail."""
    SHARED = "shared"
    """It wears down what its stable version needs as well: both fail alike."""
    LOAD = "load"
    """It fails from some weight on."""
    LATE = "late"
    """It fails some minutes after it was given a weight."""
    REQUESTS = "requests"
    """It asks something of a service that this one fails."""
    EXTERNAL = "external"
    """No release's."""


_FAULTS: Final = {
    Fault.ERRORS: 0.5,
    Fault.CONTENT: 0.15,
    Fault.SHARED: 0.1,
    Fault.LOAD: 0.1,
    Fault.LATE: 0.1,
    Fault.REQUESTS: 0.05,
}


@dataclass(frozen=True)
class Change:
    """One version of one service."""

    release: int
    service: str
    changes: tuple[tuple[int, float], ...]
    """Interval from which on it has a weight, percent."""
    weights: Floats = field(repr=False)
    """Of each interval, 0 to 1."""


@dataclass(frozen=True)
class Incident:
    """What is counted, and whose doing it is."""

    graph: Graph
    changes: tuple[Change, ...]
    fault: Fault
    culprit: int | None
    """Its release; None: none of them."""
    began: int
    """The interval in which the fault first did something."""
    total: dict[str, Floats]
    bad: dict[str, Floats]
    own_total: dict[str, Floats]
    """Of the version of a release alone."""
    own_bad: dict[str, Floats]


def public() -> dict[str, Graph]:
    """The call graphs of public applications, with every service as a key."""
    text = (Path(__file__).parent / "call_graphs.yaml").read_text()
    return {name: _whole(calls) for name, calls in yaml.safe_load(text).items()}


def _whole(calls: Mapping[str, Sequence[str]]) -> Graph:
    names = dict.fromkeys([*calls, *(one for called in calls.values() for one in called)])
    return {name: tuple(calls.get(name, ())) for name in names}


def generated(rng: np.random.Generator, size: int = 120) -> Graph:
    """A call graph with degrees as Alibaba has published them.

    13 % entries, 39 % leaves (arXiv 2504.13141); most graphs are like trees, one service in ten
    calls five or more, and one in twenty is called by sixteen or more (Luo et al., SoCC 2021).
    """
    names = [f"s{index}" for index in range(size)]
    entries, leaves = round(0.13 * size), round(0.39 * size)
    hot = set(rng.choice(np.arange(entries, size), max(size // 20, 1), replace=False).tolist())
    calls: dict[str, set[str]] = {name: set() for name in names}
    for index in range(entries, size):  # each is called by one that comes before it
        first = int(rng.integers(0, min(index, size - leaves)))
        calls[names[first]].add(names[index])
    for index in range(size - leaves):
        more = min(int(rng.pareto(1.4)), 12)
        for other in rng.integers(max(index + 1, entries), size, more):
            calls[names[index]].add(names[int(other)])
    for index in hot:
        for other in rng.integers(0, min(index, size - leaves), 16):
            calls[names[int(other)]].add(names[index])
    return {name: tuple(sorted(called)) for name, called in calls.items()}


def incident(rng: np.random.Generator, graph: Graph, releases: int) -> Incident:
    """One incident with so many releases at once."""
    changes = _releases(rng, graph, releases)
    world = _World(rng, graph)
    external = rng.random() < _EXTERNAL
    if external:
        faulty, fault, service = None, Fault.EXTERNAL, str(rng.choice(list(graph)))
    else:
        faulty = changes[int(rng.integers(len(changes)))]
        fault, service = _fault(rng, graph, faulty.service), faulty.service
    acts = _acts(rng, fault, faulty)
    began = int(np.argmax(acts > 0))
    return world.counted(changes, fault, faulty, service, acts, began)


def _fault(rng: np.random.Generator, graph: Graph, service: str) -> Fault:
    while True:
        found = Fault(str(rng.choice(list(_FAULTS), p=list(_FAULTS.values()))))
        called = any(service in calls for calls in graph.values())
        if found is Fault.CONTENT and not called:
            continue
        if found is Fault.REQUESTS and not graph[service]:
            continue
        return found


def _acts(rng: np.random.Generator, fault: Fault, faulty: Change | None) -> Floats:
    """How much of the fault there is in each interval."""
    much = float(np.exp(rng.uniform(np.log(0.08), 0.0)))
    acts = np.zeros(STEPS)
    if faulty is None:
        acts[int(rng.integers(STEPS // 3, STEPS * 3 // 4)) :] = much * rng.uniform(0.1, 0.6)
        return acts
    weights = faulty.weights
    if fault is Fault.LOAD:
        rises = [weight for _, weight in faulty.changes if weight > 0][1:] or [100.0]
        least = rises[int(rng.integers(len(rises)))]
        return np.where(weights >= least / 100.0, much * weights, 0.0)
    if fault is Fault.LATE:
        late = int(rng.uniform(60, 480) / STEP_S)
        acts[late:] = much * weights[:-late]
        return np.minimum(acts, much * weights)
    return much * weights


def _releases(rng: np.random.Generator, graph: Graph, releases: int) -> tuple[Change, ...]:
    free = dict.fromkeys(graph)
    found: list[Change] = []
    for release in range(releases):
        if not free:
            break
        first = str(rng.choice(list(free)))
        services = [first]
        for called in rng.permutation(list(graph[first])).tolist():
            if called in free and len(services) < 3 and rng.random() < 0.25:
                services.append(called)
        start = int(rng.integers(20, STEPS * 2 // 3))
        for service in reversed(services):  # what is called goes out first
            del free[service]
            change = _change(rng, release, service, start)
            found.append(change)
            start = change.changes[-1][0] + int(rng.integers(1, 8))
    return tuple(found)


def _change(rng: np.random.Generator, release: int, service: str, start: int) -> Change:
    steps = _WEIGHTS[int(rng.integers(len(_WEIGHTS)))]
    bake = rng.uniform(120, 420) / STEP_S
    at, changes = start, []
    weights = np.zeros(STEPS)
    for step in steps:
        if at >= STEPS:
            break
        changes.append((at, float(step)))
        weights[at:] = step / 100.0
        at += max(int(bake * rng.uniform(0.7, 1.4)), 2)
    if rng.random() < 0.1 and at < STEPS:
        changes.append((at, 0.0))
        weights[at:] = 0.0
    return Change(release, service, tuple(changes) or ((STEPS - 1, 1.0),), weights)


class _World:
    """Traffic and failures of one application, without any fault."""

    def __init__(self, rng: np.random.Generator, graph: Graph) -> None:
        self._rng = rng
        self._graph = graph
        self._order = [name for group in components(graph) for name in group]
        """What is called comes before whoever calls it; in a cycle in some order."""
        place = {name: index for index, name in enumerate(self._order)}
        self._calls = {
            name: [
                (one, float(rng.uniform(0.2, 1.0)), float(rng.choice([1.0, 1.0, 0.6, 0.2])))
                for one in called
                if place[one] < place[name]
            ]
            for name, called in graph.items()
        }
        """Per service: whom, on which share of its requests, and how often it fails with it."""
        self._requests = self._traffic()
        self._base = {name: self._moving() for name in graph}

    def _traffic(self) -> dict[str, Floats]:
        rng = self._rng
        called = {one for calls in self._graph.values() for one in calls}
        entries = [name for name in self._order if name not in called] or [self._order[-1]]
        found = {name: np.zeros(STEPS) for name in self._graph}
        for name in entries:
            wave = 1.0 + 0.2 * np.sin(np.arange(STEPS) / STEPS * 3.0 + rng.uniform(0, 6))
            found[name] += np.exp(rng.uniform(np.log(10), np.log(300))) * STEP_S * wave
        for name in reversed(self._order):
            for one, share, _ in self._calls[name]:
                found[one] += found[name] * share
        return {name: np.minimum(rate, 40_000.0) for name, rate in found.items()}

    def _moving(self) -> Floats:
        """A rate of failures that moves by itself, with a burst now and then."""
        rng = self._rng
        walk = np.zeros(STEPS)
        for index in range(1, STEPS):
            walk[index] = 0.95 * walk[index - 1] + rng.normal(0, 0.1)
        rate = np.exp(rng.uniform(np.log(1e-4), np.log(4e-3)) + walk)
        for at in rng.integers(0, STEPS, int(rng.poisson(0.5))):
            rate[at : at + int(rng.integers(1, 4))] += rng.uniform(0.0, 0.01)
        return rate

    def counted(  # noqa: PLR0913, PLR0917 - what goes wrong, where, and how much
        self,
        changes: tuple[Change, ...],
        fault: Fault,
        faulty: Change | None,
        service: str,
        acts: Floats,
        began: int,
    ) -> Incident:
        own = {name: rate.copy() for name, rate in self._base.items()}
        apart = {name: rate.copy() for name, rate in self._base.items()}
        hidden = np.zeros(STEPS)
        weights = np.maximum(faulty.weights, 1e-9) if faulty is not None else np.ones(STEPS)
        match fault:
            case Fault.CONTENT:
                hidden = acts
            case Fault.REQUESTS:
                called = max(self._calls[service], key=lambda one: one[1], default=None)
                at = called[0] if called is not None else service
                own[at] = own[at] + acts * (called[1] if called else 1.0)
                apart[at] = own[at]
                apart[service] = apart[service] + acts / weights
                own[service] = own[service] + acts
            case Fault.SHARED | Fault.EXTERNAL:
                own[service] = own[service] + acts
                apart[service] = apart[service] + acts
            case _:
                own[service] = own[service] + acts
                apart[service] = apart[service] + acts / weights * (acts > 0)
        return self._sampled(changes, fault, faulty, service, hidden, own, apart, began)

    def _sampled(  # noqa: PLR0913, PLR0917 - likewise
        self,
        changes: tuple[Change, ...],
        fault: Fault,
        faulty: Change | None,
        service: str,
        hidden: Floats,
        own: Mapping[str, Floats],
        apart: Mapping[str, Floats],
        began: int,
    ) -> Incident:
        by = {change.service: change for change in changes}
        outward: dict[str, Floats] = {}
        total, bad, own_total, own_bad = {}, {}, {}, {}
        for name in self._order:
            passed = np.ones(STEPS)
            for one, share, passes in self._calls[name]:
                passed *= 1.0 - share * passes * outward[one]
            rate = np.clip(1.0 - (1.0 - np.clip(own[name], 0, 1)) * passed, 0, 1)
            outward[name] = np.clip(rate + (hidden if name == service else 0.0), 0, 1)
            requests = self._rng.poisson(self._requests[name])
            total[name] = requests.astype(float)
            change = by.get(name)
            if change is None:
                bad[name] = self._failing(requests, rate)
                continue
            mine = self._rng.binomial(requests, change.weights)
            alone = np.clip(1.0 - (1.0 - np.clip(apart[name], 0, 1)) * passed, 0, 1)
            part = change.weights
            rest = np.where(part < 1, (rate - part * alone) / np.maximum(1 - part, 1e-9), 0.0)
            own_total[name] = mine.astype(float)
            own_bad[name] = self._failing(mine, alone)
            bad[name] = own_bad[name] + self._failing(requests - mine, np.clip(rest, 0, 1))
        culprit = faulty.release if faulty is not None else None
        return Incident(self._graph, changes, fault, culprit, began, total, bad, own_total, own_bad)

    def _failing(self, requests: Any, rate: Floats) -> Floats:
        """Failures that come together: twice as spread as chance alone."""
        moved = rate * self._rng.gamma(8.0, 1 / 8.0, STEPS) ** 0.5
        return self._rng.binomial(requests, np.clip(moved, 0, 1)).astype(float)
