"""The catalog of a stack: as it is written, with what only the stack knows filled in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.connections import Connection
from adapters.deployers.process import PROCESS
from adapters.packs import BUILT_IN
from aviary.kinds import ROUTERS, registry
from aviary.local import instances
from aviary.local.parts import ROOT
from aviary.local.shop import ROUTER_PORT
from aviary.routers import CatalogKinds
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.document import read_yaml
from schemas.files import UnreadableError, decoded, read_bounded
from schemas.problems import Problem, show_value

SHOP: Final = Path(__file__).with_name("catalog.yaml")
SHAPES: Final = Path(__file__).with_name("shapes.yaml")
_FLAGS: Final = {kind.name for kind in ROUTERS if kind.capabilities.flags}


def of_the_shop(
    path: Path, router: Mapping[str, Any], *, router_port: int, deploys: bool
) -> dict[str, Any]:
    """A catalog of the shop's services.

    Args:
        path: the file.
        router: what the catalog is to say of it.
        router_port: where the router takes requests.
        deploys: whether Aviary puts versions up; else the stack does, as a pipeline.
    """
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    defaults = document.setdefault("defaults", {})
    defaults["router"] = dict(router)
    _as_it_counts(defaults)
    recipe = defaults.pop("deploy", None)
    if deploys and recipe is not None:
        _, *words = recipe["command"]
        defaults["deploy"] = {
            **recipe,
            "connection": instances.CONNECTION,
            "command": [sys.executable, *words],
            "cwd": str(ROOT),
            "env": {ROUTER_PORT: str(router_port)},
        }
    return document


def shaped(name: str) -> dict[str, Any]:
    """The shop's catalog as the demo of this name has it: `lanes`.

    Raises:
        KeyError: there is no such demo.
    """
    document: dict[str, Any] = yaml.safe_load(SHOP.read_text())
    for section, said in yaml.safe_load(SHAPES.read_text())[name].items():
        more = {**document.get(section, {}), **said} if isinstance(said, dict) else said
        document[section] = more
    return document


def of_ones_own(path: Path, router: Mapping[str, Any], address: str) -> dict[str, Any]:
    """A catalog of somebody's own services, for this machine.

    Whatever it says of routers, the stack's carries all of them but feature flags. Processes start
    in the folder of the catalog, or in one that is told from there, and are the stack's.

    Args:
        path: the file.
        router: what the catalog is to say of the stack's.
        address: where that takes requests: `ROUTER` in the environment of processes.

    Raises:
        CatalogError: it can't be read, or is no YAML. What else is wrong with it is found as it is
            read with all filled in.
    """
    try:
        text = decoded(read_bounded(path))
    except UnreadableError as error:
        problem = Problem(str(path), None, "", show_value(str(path)), str(error))
        raise CatalogError((problem,)) from None
    document = read_yaml(text)
    if document.complaints or not isinstance(document.data, dict):
        parse_catalog(text, str(path))  # which says what is wrong, and where
    data: dict[str, Any] = dict(document.data)
    if isinstance(services := data.get("services"), dict):
        data["services"] = {name: _at_home(one, path, address) for name, one in services.items()}
    defaults = _at_home(data.get("defaults") or {}, path, address)
    if isinstance(defaults, dict):
        defaults["router"] = dict(router)
    data["defaults"] = defaults
    return data


def checked(
    document: Mapping[str, Any], name: str, connections: Mapping[str, Connection]
) -> Catalog:
    """A catalog with all filled in, held against all that `aviary validate` holds it against.

    Args:
        document: plain data.
        name: what to call it in errors.
        connections: that it may name.

    Raises:
        CatalogError: it is not valid.
    """
    kinds = registry()
    text = yaml.safe_dump(dict(document), sort_keys=False)
    return parse_catalog(text, name, (kinds.packs().check,), CatalogKinds(kinds, connections))


def _at_home(terms: Any, path: Path, address: str) -> Any:
    """What is said of a service, or of all, with the stack's router and deployer."""
    if not isinstance(terms, dict):
        return terms
    kept = {name: value for name, value in terms.items() if name != "router" or _is_flag(value)}
    deploy = terms.get("deploy")
    if isinstance(deploy, dict) and deploy.get("kind") == PROCESS.name:
        cwd = path.absolute().parent / str(deploy.get("cwd") or ".")
        kept["deploy"] = {"connection": instances.CONNECTION, **deploy, "cwd": str(cwd)}
        if isinstance(env := deploy.get("env") or {}, dict):
            kept["deploy"]["env"] = {"ROUTER": address, **env}
    return kept


def _is_flag(router: Any) -> bool:
    """Whether it is a provider of feature flags, which no router of the stack's stands for."""
    return isinstance(router, dict) and router.get("kind") in _FLAGS


def _as_it_counts(defaults: Mapping[str, Any]) -> None:
    """Where a router has no histogram, what is only shown is what it has."""
    (pack,) = [kind.pack for kind in ROUTERS if kind.name == defaults["router"]["kind"]]
    queries = BUILT_IN.load(pack).queries if isinstance(pack, str) else {}
    for metric in defaults.get("metrics") or ():
        query = queries.get(metric["name"])
        if metric.get("dry_run") and query is not None:
            metric["kind"] = query.kind
