from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from aviary.catalog_watch import CatalogWatch
from aviary.catalogs import read_catalog
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError
from tests.unit.ingestion.fakes import CATALOG


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    return path


def test_a_change_is_seen(path: Path) -> None:
    watch = CatalogWatch(path, CollectorRegistry())
    before = watch.current()
    assert watch.current() is before
    path.write_text(CATALOG + "  search: {}\n")
    assert watch.current().services.keys() - before.services.keys() == {"search"}


async def test_the_newest_is_read_beside_the_event_loop_and_only_after_a_change(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = CatalogWatch(path, CollectorRegistry())
    read_in = []

    def read(path: Path, _: object = None) -> Catalog:
        read_in.append(threading.current_thread())
        return read_catalog(path)

    monkeypatch.setattr("aviary.catalog_watch.read_catalog", read)
    before = await watch.newest()
    assert await watch.newest() is before
    assert read_in == []
    path.write_text(CATALOG + "  search: {}\n")
    both = await asyncio.gather(watch.newest(), watch.newest())
    assert all("search" in one.services for one in both)
    assert len(read_in) == 1
    assert read_in[0] is not threading.current_thread()


async def test_a_fault_of_a_plugin_keeps_the_old_one_and_is_not_met_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    watch = CatalogWatch(path, registry)
    before = await watch.newest()
    tried = []

    def read(path: Path, _: object = None) -> Catalog:
        tried.append(path)
        raise KeyError("TOKEN")

    monkeypatch.setattr("aviary.catalog_watch.read_catalog", read)
    path.write_text(CATALOG + "  search: {}\n")
    assert [await watch.newest() for _ in range(3)] == [before] * 3
    assert len(tried) == 1
    assert registry.get_sample_value("aviary_catalog_valid") == 0


def test_a_swapped_link_is_seen(path: Path, tmp_path: Path) -> None:
    # The way Kubernetes changes a mounted ConfigMap: same name, same size, another file.
    link, other = tmp_path / "link.yaml", tmp_path / "other.yaml"
    link.symlink_to(path)
    watch = CatalogWatch(link, CollectorRegistry())
    other.write_text(CATALOG.replace("ledger", "ladder"))
    (tmp_path / "new").symlink_to(other)
    (tmp_path / "new").replace(link)
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "ladder" in watch.current().services


@pytest.mark.parametrize("text", ["version: 1\nservices: [", "version: 2\nservices: {}\n", None])
def test_an_invalid_change_keeps_the_old_one_and_says_so(path: Path, text: str | None) -> None:
    registry = CollectorRegistry()
    watch = CatalogWatch(path, registry)
    before = watch.current()
    assert registry.get_sample_value("aviary_catalog_valid") == 1
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert watch.current() is before
    assert registry.get_sample_value("aviary_catalog_valid") == 0
    path.write_text(CATALOG + "  search: {}\n")
    assert "search" in watch.current().services
    assert registry.get_sample_value("aviary_catalog_valid") == 1


def test_an_invalid_catalog_at_start_is_an_error(path: Path) -> None:
    path.write_text("version: 1\n")
    with pytest.raises(CatalogError, match="services"):
        CatalogWatch(path, CollectorRegistry())
