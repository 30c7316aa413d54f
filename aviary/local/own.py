"""A stack for services of one's own: those of a catalog, and no shop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aviary.connections import read_written
from aviary.local import catalogs, instances, parts
from aviary.local.fronts.envoy import EnvoyFront
from aviary.local.process import ChildSpec
from aviary.local.stack import DEVELOPMENT, Stack
from aviary.settings import SettingsError
from schemas.catalog_check import listed

OPTION: Final = "--connections"
"""By what a file of connections is told of."""


class WrongServiceError(ValueError):
    """A version to begin with can't be put up; the text says why."""


class OwnStack(Stack):
    """An embedded stack whose services are somebody's own.

    Args:
        folder: for configuration, data and logs; a new one for each run.
        cache: where Debian's programs are kept between runs.
        catalog: the file that says what the services are, and how their versions are put up.
        first: versions to begin with, by service. A service without one has its first deployment by
            a deploy event.
        rps: users' requests per second, for `/` of each service.
        engine: as of `Stack`.
        connections: a file of those that the catalog names.

    Raises:
        SettingsError: the connections can't be read, or are wrong.
    """

    def __init__(  # noqa: PLR0913 - as of `Stack`
        self,
        folder: Path,
        cache: Path,
        *,
        catalog: Path,
        first: Mapping[str, str],
        rps: float,
        engine: str = DEVELOPMENT,
        connections: Path | None = None,
    ) -> None:
        super().__init__(folder, cache, catalog=catalog, rps=rps, engine=engine)
        further = self.engine.further_envoys
        self.front = EnvoyFront(self.folder, self.ports, health_path=None, further_admins=further)
        self.first = first
        self._services: tuple[str, ...] = ()
        if connections is not None:
            self._further = read_written(connections, OPTION)
            if instances.CONNECTION in self._further.known:
                text = "another name: it is the stack's own"
                raise SettingsError(f"{OPTION}: {instances.CONNECTION}: expected {text}")

    def _document(self) -> dict[str, Any]:
        document = catalogs.of_ones_own(self._catalog, self.front.catalog(), self.addresses["shop"])
        text = f"{self._catalog}, with the router and the deployer of this stack"
        known = {instances.CONNECTION: self._connection, **self._further.known}
        catalog = catalogs.checked(document, text, known)
        self._services = tuple(sorted(catalog.services))
        for service in self.first:
            if service not in catalog.services:
                expected = f"a service of {self._catalog}: {listed(self._services)}"
                raise WrongServiceError(f"--service: got {service}, expected {expected}")
            if catalog.resolve(service).deploy is None:
                expected = "one with a deployer (deploy), which puts it up"
                raise WrongServiceError(f"--service: got {service}, expected {expected}")
        return document

    def _load(self) -> ChildSpec:
        return parts.load(self.ports, self._rps, self._services)
