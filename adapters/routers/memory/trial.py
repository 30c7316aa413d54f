"""The memory router as the catalog's `kind: memory` means it: it knows every service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.routers.memory.router import MemoryRouter
from schemas.route import Confirmation, Health, Route

FIRST_STABLE: Final = "0"
"""The version that a service has before its first release."""


class TrialRouter(MemoryRouter):
    """A `MemoryRouter` in which every service and every version exists.

    For first steps and dry runs with a one-line catalog: no traffic is moved, and the routes are
    gone with the worker.
    """

    async def read(self, service: str) -> Route:
        """The route as applied last, or all to `FIRST_STABLE`."""
        self.add_pool(service, FIRST_STABLE)
        await self.register(service, FIRST_STABLE)
        return await super().read(service)

    async def instances(self, service: str) -> Mapping[str, Health] | None:  # noqa: ARG002
        """It has none, and so can't tell."""
        return None

    async def exists(self, service: str, version: str) -> bool:  # noqa: ARG002 - any
        """Whatever is asked for exists."""
        return True

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Apply a route of any service and version."""
        await self.read(route.service)
        for version in route.versions:
            self.add_pool(route.service, version)
        return await super().apply(route, over)
