"""The routes, each a file of one line that Caddy reads at each request: also their store.

Its methods block, and raise `Retryable` for trouble with files.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from adapters.errors import ForeignChange
from adapters.routers.caddy.values import route_of, value_of
from adapters.routers.fence import check_generation, check_over, known
from adapters.routers.files import locked, other_writer, said_by_path, write_text
from schemas.outside import cut
from schemas.route import Route

ROUTES: Final = "routes"
"""Name of the folder in Caddy's."""
_MOST_BYTES: Final = 1_000_000
_SAID_MOST: Final = 200


class RouteFiles:
    """Reads and replaces `routes/<service>`.

    Args:
        directory: the folder that every Caddy sees under the same path.
        lock_within: seconds to wait for another writer.
    """

    def __init__(self, directory: Path, lock_within: float) -> None:
        self.folder = directory.absolute() / ROUTES
        self._lock_within = lock_within

    def value(self, service: str) -> str | None:
        """The line of a service, as it stands there; None without one."""
        path = self.folder / service
        with said_by_path(path):
            try:
                with path.open("rb") as file:
                    content = file.read(_MOST_BYTES)
            except FileNotFoundError:
                self.folder.stat()  # a volume that is not there is no service without a route
                return None
        return content.decode(errors="replace")

    def read(self, service: str) -> Route:
        """The route of a service.

        Raises:
            UnknownRoute: it has none.
            ForeignChange: its line is no route of Aviary's any more.
        """
        value = self.value(service)
        found = None if value is None else route_of(service, value)
        if value is not None and found is None:
            raise self.changed(service, value, "a route of Aviary's")
        return known(found, service)

    def register(self, route: Route) -> Route:
        """Add a route for a service that has none; return the route that it has."""
        with self.locked():
            if self.value(route.service) is not None:
                return self.read(route.service)
            self._replace(route)
            return route

    def check(self, route: Route, over: Route | None) -> Route | None:
        """Raise what `write` would raise for this route now; write nothing.

        Returns:
            What is applied; None where somebody else has overwritten it, and that is overruled.
        """
        value = self.value(route.service)
        if value is None:
            return known(None, route.service)
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

    def changed(self, service: str, found: str, expected: str) -> ForeignChange:
        """The error for what Aviary did not write."""
        what = f"{ROUTES}/{service}: found {cut(found, _SAID_MOST)}, expected {expected}"
        return ForeignChange(service, what, other_writer(self.folder / service))

    def locked(self) -> AbstractContextManager[None]:
        """Be the only one who writes routes."""
        return locked(self.folder, self._lock_within)

    def _replace(self, route: Route) -> None:
        write_text(self.folder / route.service, value_of(route))
