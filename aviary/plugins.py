"""Routers and metrics sources that are added in one file and one line.

They are named in a table here, or by an installed package, which says in its `pyproject.toml`:

    [project.entry-points."aviary.routers"]
    haproxy = "our_package.haproxy:HaproxyRouter"

    [project.entry-points."aviary.metrics"]
    datadog = "our_package.datadog:DatadogMetrics"

and the catalog then may say `router: {kind: plugin, plugin: haproxy, options: {…}}`, and the
settings `AVIARY_METRICS_SOURCE=datadog`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

from adapters.errors import Terminal
from adapters.http_access import HttpAccess
from adapters.metrics.packs import check_packs
from adapters.ports import MetricsSource, Routing
from aviary.access_settings import http_access
from aviary.settings import Settings, SettingsError
from schemas.catalog import Catalog, PluginRouterSpec, RouterSpec
from schemas.catalog_check import Finding, listed, nearest
from schemas.catalog_check import Path as DocumentPath
from schemas.catalog_file import load_catalog

GROUP: Final = "aviary.routers"
"""The entry point group of installed packages."""

ROUTERS: Final[dict[str, str]] = {}
"""Routers in this repository: name to `module:class`."""

METRICS_GROUP: Final = "aviary.metrics"
"""The entry point group of installed packages with a metrics source."""

SOURCES: Final[dict[str, str]] = {"prometheus": "adapters.metrics.prometheus:PrometheusMetrics"}
"""Metrics sources in this repository: name to `module:class`."""


class Source(MetricsSource, Protocol):
    """A metrics source that holds connections."""

    def close(self) -> None:
        """Let them go."""


def known_routers() -> dict[str, str]:
    """Every plugin router: name to `module:object`."""
    return {one.name: one.value for one in entry_points(group=GROUP)} | ROUTERS


def known_sources() -> dict[str, str]:
    """Every metrics source: name to `module:object`."""
    return {one.name: one.value for one in entry_points(group=METRICS_GROUP)} | SOURCES


def make_source(settings: Settings) -> Source:
    """Make the metrics source of the settings, from its address and the longest wait.

    It is told `access` as well where the settings have credentials or certificates for it.

    Raises:
        SettingsError: there is none of this name, or it can't be made.
    """
    name, known = settings.metrics_source, known_sources()
    if name not in known:
        expected = ", ".join(sorted(known))
        raise SettingsError(f"AVIARY_METRICS_SOURCE: got {name!r}, expected one of: {expected}")
    access = http_access(settings, "prometheus")
    told = {} if access == HttpAccess() else {"access": access}
    try:
        source: Source = _load(known[name])(
            settings.prometheus_url, timeout_s=settings.prometheus_timeout_s, **told
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingsError(
            f"AVIARY_METRICS_SOURCE: {name!r} ({known[name]}) can't be made: {error}"
        ) from error
    return source


def make_router(spec: PluginRouterSpec) -> Routing:
    """Make a router of a plugin from its options, and find what else it can do.

    Its class says what in `capabilities`.

    Raises:
        Terminal: there is no such plugin, it can't be imported, or its options don't fit.
    """
    if spec.plugin not in known_routers():
        raise Terminal(f"router plugin {spec.plugin}: not installed")
    try:
        made = _load(known_routers()[spec.plugin])(**spec.options)
        routing = Routing.of(made, made.capabilities)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise Terminal(f"router plugin {spec.plugin}: {error}") from error
    return routing


def load_with_plugins(path: Path) -> Catalog:
    """Read a catalog, and check all that can be checked without a server.

    What `aviary validate` says, and `plan`, `release start` and the bridge go by: the catalog is
    valid, its metric packs have the queries that it asks for, its plugins are there and take their
    options.

    Raises:
        CatalogError: it is not so.
    """
    return load_catalog(path, (check_packs, _check_plugins))


def _check_plugins(catalog: Catalog) -> Iterator[Finding]:
    known = known_routers()
    seen: dict[PluginRouterSpec, list[Finding]] = {}
    routers: dict[DocumentPath, RouterSpec | None] = {
        ("defaults", "router"): catalog.defaults.router
    }
    routers |= {("services", name, "router"): one.router for name, one in catalog.services.items()}
    for where, spec in routers.items():
        if isinstance(spec, PluginRouterSpec):
            if spec not in seen:
                seen[spec] = _findings(spec, known)
            for found in seen[spec]:
                yield Finding((*where, *found.path), found.value, found.expected)


def _load(where: str) -> Callable[..., Any]:
    module, _, attribute = where.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def _findings(spec: PluginRouterSpec, known: Mapping[str, str]) -> list[Finding]:
    """What is wrong with a plugin, below the router that names it."""
    if spec.plugin not in known:
        names = listed(known) or "there is none"
        expected = f"an installed plugin: {names}{nearest(spec.plugin, known)}"
        return [Finding(("plugin",), spec.plugin, expected)]
    try:
        parameters = inspect.signature(_load(known[spec.plugin])).parameters
    except Exception as error:  # noqa: BLE001 - other people's code, which may raise anything
        expected = f"a plugin that can be imported ({known[spec.plugin]}: {error})"
        return [Finding(("plugin",), spec.plugin, expected)]
    options = dict(spec.options)
    return [Finding(("options",), options, text) for text in _unfit(parameters, options)]


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
