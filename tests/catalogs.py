"""Catalogs for tests, read with the kinds of routers that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from adapters.connections import Connection
from adapters.routers.memory import MEMORY as MEMORY_KIND
from adapters.routers.memory.router import CAPABILITIES
from aviary import kinds
from aviary.kinds import registry
from aviary.registry import Registry
from aviary.routers import NO_CONNECTIONS, CatalogKinds
from schemas import catalog_file
from schemas.capabilities import Capabilities
from schemas.catalog import Catalog
from schemas.catalog_file import Check
from schemas.router_spec import KINDS, RouterSpec

MEMORY = RouterSpec(kind="memory")
COUNTING = replace(
    MEMORY_KIND,
    name="counting",
    capabilities=CAPABILITIES.model_copy(update={"leases": False}),
)
"""The memory router with traffic that is counted, as tests of ramps need it."""
LEASING = replace(MEMORY_KIND, name="leasing", capabilities=CAPABILITIES)
"""The same, whose canaries have a lease."""


def make(document: Any, connections: Mapping[str, Connection] = NO_CONNECTIONS) -> Catalog:
    """Make a catalog of plain data, in which there are the kinds of this module as well."""
    known = _with_counting(registry())
    return Catalog.model_validate(document, context={KINDS: CatalogKinds(known, connections)})


@cache
def _with_counting(_: Registry) -> Registry:
    """One for as long as the same packages are there."""
    routers = (*kinds.ROUTERS, COUNTING, LEASING)
    return Registry(routers, kinds.METRICS, kinds.NOTIFIERS, kinds.DEPLOYERS, kinds.HOOKS)


def capabilities(kind: str = "memory") -> Capabilities:
    """What a kind of router can do."""
    return registry().routers.get(kind).capabilities


def parse(text: str, file: str = "catalog", checks: Iterable[Check] = ()) -> Catalog:
    """Read a catalog from its text."""
    return catalog_file.parse_catalog(text, file, checks, CatalogKinds(registry()))


def load(path: Path) -> Catalog:
    """Read a catalog from its file."""
    return catalog_file.load_catalog(path, kinds=CatalogKinds(registry()))
