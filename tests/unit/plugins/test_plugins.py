"""Plugins: what the catalog says of a router must fit what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import Terminal
from adapters.memory import MemoryMetricsSource
from adapters.metrics.prometheus import PrometheusMetrics
from adapters.routers.memory import MemoryRouter
from aviary import plugins
from aviary.plugins import load_with_plugins, make_router, make_source
from aviary.settings import Settings, SettingsError
from schemas.catalog import Catalog, PluginRouterSpec
from schemas.catalog_file import CatalogError

HERE = "tests.unit.plugins.test_plugins"


class Mine(MemoryRouter):
    """A router with an option."""

    def __init__(self, directory: str, hosts: list[str] | None = None) -> None:
        super().__init__()
        self.directory = directory
        self.hosts = hosts
        if directory == "/nowhere":
            raise ValueError("directory: '/nowhere': expected a folder")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"mine": f"{HERE}:Mine", "gone": "no_such_module:Router", "half": f"{HERE}:NoSuch"}
    monkeypatch.setattr(plugins, "ROUTERS", table)


def spec(plugin: str, **options: object) -> PluginRouterSpec:
    return PluginRouterSpec.model_validate({"kind": "plugin", "plugin": plugin, "options": options})


def catalog(tmp_path: Path, router: str) -> Catalog:
    path = tmp_path / "catalog.yaml"
    text = f"version: 1\nservices:\n  ledger:\n    router: {{kind: plugin, {router}}}\n"
    path.write_text(text)
    return load_with_plugins(path)


def test_a_plugin_is_made_with_its_options(tmp_path: Path) -> None:
    found = catalog(tmp_path, "plugin: mine, options: {directory: /srv, hosts: [a, b]}")
    router = found.resolve("ledger").router
    assert isinstance(router, PluginRouterSpec)
    made = make_router(router).router
    assert isinstance(made, Mine)
    assert (made.directory, made.hosts) == ("/srv", ["a", "b"])
    assert found.resolve("ledger").metrics == ()


@pytest.mark.parametrize(
    ("router", "says"),
    [
        (
            "plugin: other",
            "router.plugin: got 'other', expected an installed plugin: gone, half, mine",
        ),
        ("plugin: gone", "got 'gone', expected a plugin that can be imported (no_such_module"),
        ("plugin: half", "got 'half', expected a plugin that can be imported"),
        ("plugin: mine", "services.ledger.router.options: got {}, expected the option directory"),
        (
            "plugin: mine, options: {directory: /srv, host: a}",
            "expected options of these names: directory, hosts (not host)",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_of_the_catalog(
    tmp_path: Path, router: str, says: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog(tmp_path, router)
    assert says in str(caught.value)


def test_a_plugin_that_refuses_its_options_is_terminal() -> None:
    with pytest.raises(Terminal, match="router plugin mine: directory: '/nowhere': expected"):
        make_router(spec("mine", directory="/nowhere"))


def test_a_plugin_that_was_uninstalled_meanwhile_is_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "ROUTERS", {})
    with pytest.raises(Terminal, match="router plugin mine: not installed"):
        make_router(spec("mine", directory="/srv"))


class Silent(MemoryMetricsSource):
    """A metrics source that has its own language."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        super().__init__()
        self.url, self.timeout_s = url, timeout_s

    def close(self) -> None:
        """Nothing to let go."""


def test_a_metrics_source_is_made_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.SOURCES, "silent", f"{HERE}:Silent")
    found = make_source(Settings(metrics_source="silent", prometheus_url="http://x:1"))
    assert isinstance(found, Silent)
    assert (found.url, found.timeout_s) == ("http://x:1", 10)
    prometheus = make_source(Settings())
    assert isinstance(prometheus, PrometheusMetrics)
    prometheus.close()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("", "got 'mine', expected one of: prometheus$"),
        ("no_such_module:Source", "'mine' .no_such_module:Source. can't be made: No module"),
        (f"{HERE}:Mine", "unexpected keyword argument 'timeout_s'"),
    ],
)
def test_a_metrics_source_that_does_not_fit_is_an_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, where: str, says: str
) -> None:
    if where:
        monkeypatch.setitem(plugins.SOURCES, "mine", where)
    with pytest.raises(SettingsError, match=says) as caught:
        make_source(Settings(metrics_source="mine"))
    assert str(caught.value).startswith("AVIARY_METRICS_SOURCE: ")


def test_equal_specifications_are_one_router() -> None:
    one, same = spec("mine", hosts=["a"], directory="/b"), spec("mine", directory="/b", hosts=["a"])
    assert {one: 1}[same] == 1
    assert one != spec("mine", directory="/c", hosts=["a"])
