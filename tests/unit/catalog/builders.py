"""Catalogs and deploy requests for tests, and graphs for Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from aviary.catalogs import make_catalog
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested

MEMORY = {"router": {"kind": "memory"}, "metrics": []}


def catalog(services: Mapping[str, Any], **sections: Any) -> Catalog:
    """A catalog with the memory router unless `defaults` says otherwise."""
    document = {"version": 1, "defaults": MEMORY, "services": dict(services), **sections}
    return make_catalog(document)


def graph_catalog(graph: Mapping[str, Sequence[str]], **sections: Any) -> Catalog:
    """A catalog of nothing but names and dependencies."""
    return catalog({name: {"depends_on": list(needs)} for name, needs in graph.items()}, **sections)


def deploy(*services: str, release: str = "shop-1", **fields: Any) -> DeployRequested:
    """A request for the services' version 2."""
    items = [{"service": name, "version": "2"} for name in services]
    return DeployRequested.model_validate({"release": release, "services": items, **fields})


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any acyclic graph of up to 12 services, in a shuffled order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 12)))]
    graph = {
        name: draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else []
        for at, name in enumerate(names)
    }
    return {name: graph[name] for name in draw(st.permutations(names))}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any graph of up to 8 names, cycles and self-dependencies included."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), unique=True)) for name in names}


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    """All that a name depends on, directly or not; itself only where it is in a cycle."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found
