"""The map of all routes as a file: what HAProxy reads when it starts, and the store of the routes.

Its methods block, and raise `Retryable` for trouble with files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from adapters.errors import ForeignChange, Retryable
from adapters.routers.fence import check_generation, check_over, known
from adapters.routers.files import locked, other_writer, said_by_path, write_text
from adapters.routers.haproxy.values import route_of, value_of
from schemas.outside import cut
from schemas.route import Route

MAP: Final = "routes.map"
"""Name of the file in the folder."""
_LARGEST: Final = 64 * 1024 * 1024
_HEAD: Final = (
    "# Written by Aviary: service, then stable|canary|parts of 10,000|generation|owner|audience\n"
)
_SAID_MOST: Final = 200


class MapFile:
    """Reads and replaces `routes.map`.

    Args:
        directory: the folder that every HAProxy sees under the same path.
        lock_within: seconds to wait for another writer.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        directory: Path,
        lock_within: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory.absolute()
        self.path = self.directory / MAP
        self._lock_within = lock_within
        self._clock = clock

    def read(self, service: str) -> Route:
        """The route of a service.

        Raises:
            UnknownRoute: it has none.
            ForeignChange: it has a line that is no route of Aviary's any more.
        """
        value = self.values().get(service)
        if value is not None and route_of(service, value) is None:
            raise self.changed(service, value, "a route of Aviary's")
        return known(None if value is None else route_of(service, value), service)

    def register(self, route: Route) -> Route:
        """Add a route for a service that has none; return the route that it has."""
        with self.locked():
            if route.service in self.values():
                return self.read(route.service)
            self._replace(route)
            return route

    def check(self, route: Route, over: Route | None) -> Route | None:
        """Raise what `write` would raise for this route now; write nothing.

        Returns:
            What is applied; None where somebody else has overwritten it, and that is overruled.
        """
        value = known_value(self.values(), route.service)
        applied = route_of(route.service, value)
        if applied is None:
            if over is not None:
                raise self.changed(route.service, value, over.text)
            return None
        check_generation(route, applied)
        check_over(route, applied, over)
        return applied

    def write(self, route: Route, over: Route | None = None) -> None:
        """Put a route in, durably, if the fence lets it through.

        Raises:
            StaleGeneration, ForeignChange, UnknownRoute: see `adapters.ports.Router.apply`.
        """
        with self.locked():
            if self.check(route, over) != route:
                self._replace(route)

    def values(self) -> Mapping[str, str]:
        """The value of each service, as it stands in the file.

        Raises:
            Retryable: the file is not there, or is no map: somebody must repair it.
        """
        with said_by_path(self.path):
            size = self.path.stat().st_size
            content = self.path.read_bytes() if size <= _LARGEST else b""
        if size > _LARGEST:
            raise Retryable(f"{self.path}: expected at most {_LARGEST:,} bytes, found {size:,}")
        return parse(content.decode(errors="replace"))

    def changed(self, service: str, found: str, expected: str) -> ForeignChange:
        """The error for what Aviary did not write."""
        what = f"{self.path.name}: found {cut(found, _SAID_MOST)}, expected {expected}"
        return ForeignChange(service, what, other_writer(self.path))

    def locked(self) -> AbstractContextManager[None]:
        """Be the only one who writes in the folder."""
        return locked(self.directory, self._lock_within, self._clock)

    def _replace(self, route: Route) -> None:
        values = {**self.values(), route.service: value_of(route)}
        write_text(self.path, map_text(values))


def map_text(values: Mapping[str, str]) -> str:
    """A map as HAProxy reads it when it starts."""
    return _HEAD + "".join(f"{service} {value}\n" for service, value in sorted(values.items()))


def parse(text: str) -> dict[str, str]:
    """The values of a map by key; of two lines with one key the first counts, as for HAProxy."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            found.setdefault(key, value.strip())
    return found


def known_value(values: Mapping[str, str], service: str) -> str:
    """The value of a service.

    Raises:
        UnknownRoute: it has none.
    """
    if service not in values:
        known(None, service)
    return values[service]
