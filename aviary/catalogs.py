"""Reads a catalog and checks all that can be checked without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.connections import Connection
from aviary.kinds import registry
from aviary.routers import NO_CONNECTIONS, CatalogKinds
from schemas.catalog import Catalog
from schemas.catalog_file import load_catalog, parse_catalog
from schemas.router_spec import KINDS


def make_catalog(document: Any, connections: Mapping[str, Connection] = NO_CONNECTIONS) -> Catalog:
    """Make a catalog of plain data, with the kinds of routers that are there.

    Raises:
        pydantic.ValidationError: it is not valid.
    """
    return Catalog.model_validate(document, context={KINDS: CatalogKinds(registry(), connections)})


def read_catalog(path: Path, connections: Mapping[str, Connection] = NO_CONNECTIONS) -> Catalog:
    """Read a catalog, and check all that can be checked without a server.

    What `aviary validate` says, and `plan`, `release start` and the bridge go by: the catalog is
    valid, its routers are of kinds that are there and take their options, their connections are in
    the settings, and its metric packs have the queries that it asks for.

    Args:
        path: the file.
        connections: of the settings, by name.

    Raises:
        CatalogError: it is not so.
    """
    kinds = registry()
    return load_catalog(path, (kinds.packs().check,), CatalogKinds(kinds, connections))


def parse_catalog_text(
    text: str, file: str, connections: Mapping[str, Connection] = NO_CONNECTIONS
) -> Catalog:
    """Check the text of a catalog as `read_catalog` does a file.

    Args:
        text: the YAML (or JSON) document.
        file: what to call it in errors.
        connections: of the settings, by name.

    Raises:
        CatalogError: it is not valid.
    """
    kinds = registry()
    return parse_catalog(text, file, (kinds.packs().check,), CatalogKinds(kinds, connections))
