"""The catalog as it is now: read at start, and again whenever the file changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Gauge

from adapters.connections import Connection
from aviary.catalogs import read_catalog
from aviary.routers import NO_CONNECTIONS
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError
from schemas.files import mark_of

_log = structlog.get_logger("aviary.catalog")


class CatalogWatch:
    """Gives the newest valid catalog; safe to ask from several threads."""

    def __init__(
        self,
        path: Path,
        registry: CollectorRegistry,
        connections: Mapping[str, Connection] = NO_CONNECTIONS,
    ) -> None:
        """Read the catalog.

        Args:
            path: its file.
            registry: where it is shown whether the file is valid.
            connections: of the settings, by name.

        Raises:
            CatalogError: it is not valid; there is no older one to go on with.
        """
        self._path = path
        self._connections = connections
        self._lock = threading.Lock()
        self._seen = mark_of(path)
        self._catalog = read_catalog(path, connections)
        self._valid = Gauge(
            "aviary_catalog_valid",
            "1 if the catalog file as it is now is valid; 0 while an older one is in use.",
            registry=registry,
        )
        self._valid.set(1)

    def current(self) -> Catalog:
        """Return the catalog, read again if its file has changed.

        A changed file that is not valid is reported once, and the last valid catalog stays in use.
        """
        with self._lock:
            mark = mark_of(self._path)
            if mark != self._seen:
                self._read()
                self._seen = mark
            return self._catalog

    async def newest(self) -> Catalog:
        """Return what `current` does; a file that has changed is read in a thread.

        One that has not changed costs no change of threads, which an alert would have to wait for.
        """
        if mark_of(self._path) == self._seen:
            return self._catalog
        return await asyncio.to_thread(self.current)

    def _read(self) -> None:
        try:
            self._catalog = read_catalog(self._path, self._connections)
        except CatalogError as error:
            self._valid.set(0)
            _log.error("catalog_invalid", path=str(self._path), problems=str(error), kept="old")
        except Exception:  # noqa: BLE001 - a package's fault: what runs must not stand still for it
            self._valid.set(0)
            _log.exception("catalog_fault", path=str(self._path), kept="old")
        else:
            self._valid.set(1)
            services = len(self._catalog.services)
            _log.info("catalog_read", path=str(self._path), services=services)
