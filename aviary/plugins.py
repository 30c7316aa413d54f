"""Routers that are added in one file and one line: by a table here, or by an installed package.

A package of yours says in its `pyproject.toml`:

    [project.entry-points."aviary.routers"]
    haproxy = "our_package.haproxy:HaproxyRouter"

and the catalog then may say `router: {kind: plugin, plugin: haproxy, options: {…}}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from adapters.errors import Terminal
from adapters.ports import Router
from schemas.catalog import Catalog, PluginRouterSpec
from schemas.catalog_file import CatalogError, load_catalog
from schemas.problems import Problem, show_value

GROUP: Final = "aviary.routers"
"""The entry point group of installed packages."""

ROUTERS: Final[dict[str, str]] = {}
"""Routers in this repository: name to `module:class`."""


def known_routers() -> dict[str, str]:
    """Every plugin router: name to `module:object`."""
    return {one.name: one.value for one in entry_points(group=GROUP)} | ROUTERS


def make_router(spec: PluginRouterSpec) -> Router:
    """Make a router of a plugin from its options.

    Raises:
        Terminal: there is no such plugin, it can't be imported, or its options don't fit.
    """
    if spec.plugin not in known_routers():
        raise Terminal(f"router plugin {spec.plugin}: not installed")
    try:
        router: Router = _factory(spec.plugin)(**spec.options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise Terminal(f"router plugin {spec.plugin}: {error}") from error
    return router


def load_with_plugins(path: Path) -> Catalog:
    """Read a catalog, and check that its plugins are there and take their options.

    Raises:
        CatalogError: the file is no valid catalog, or a plugin does not fit.
    """
    catalog = load_catalog(path)
    routers = {f"services.{name}.router": one.router for name, one in catalog.services.items()}
    problems = [
        problem
        for where, spec in {"defaults.router": catalog.defaults.router, **routers}.items()
        if isinstance(spec, PluginRouterSpec)
        for problem in _problems(str(path), where, spec)
    ]
    if problems:
        raise CatalogError(tuple(problems))
    return catalog


def _factory(name: str) -> Callable[..., Router]:
    module, _, attribute = known_routers()[name].partition(":")
    found: Callable[..., Router] = getattr(import_module(module), attribute)
    return found


def _problems(file: str, where: str, spec: PluginRouterSpec) -> list[Problem]:
    known = known_routers()
    if spec.plugin not in known:
        expected = f"an installed plugin: {', '.join(sorted(known)) or 'there is none'}"
        return [Problem(file, None, f"{where}.plugin", show_value(spec.plugin), expected)]
    try:
        parameters = inspect.signature(_factory(spec.plugin)).parameters
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        expected = f"a plugin that can be imported ({known[spec.plugin]}: {error})"
        return [Problem(file, None, f"{where}.plugin", show_value(spec.plugin), expected)]
    return [
        Problem(file, None, f"{where}.options", show_value(dict(spec.options)), expected)
        for expected in _unfit(parameters, spec.options)
    ]


def _unfit(parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> list[str]:
    """What is wrong with options for these parameters."""
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return []
    needed = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty}
    unknown = sorted(options.keys() - parameters.keys())
    missing = sorted(needed - options.keys())
    names = ", ".join(parameters) or "none"
    return [f"options of these names: {names} (not {one})" for one in unknown] + [
        f"the option {one}" for one in missing
    ]
