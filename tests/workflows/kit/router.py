"""A router in memory that fails as a test says, and remembers what it was told."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.deployers.memory.platform import MemoryPlatform
from adapters.errors import Retryable, UnknownRoute
from adapters.routers.memory.trial import FIRST_STABLE, TrialRouter
from schemas.deployment import InstanceState
from schemas.route import Confirmation, Health, Route


class RecordingRouter(TrialRouter):
    """A trial router that remembers what it was told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[Route] = []
        self.broken: set[str] = set()
        self.kept_back: set[str] = set()
        """Services that can't be finalized now."""
        self.gone: set[str] = set()
        """Services of which it knows nothing just now."""
        self.missed: list[str] = []
        """Those that were asked for meanwhile."""
        self.unhealthy: set[tuple[str, str]] = set()
        """Services and versions without a healthy instance."""
        self.dies_under_load: set[tuple[str, str]] = set()
        """Those that have one until they get all requests and are looked at."""
        self.looked_back = False
        self.blind = False
        """Whether it can't say which instances are healthy."""
        self.unrouted: set[str] = set()
        """Services that have no route yet."""
        self.platform: MemoryPlatform | None = None
        """Where versions are put up, if they are."""
        self.into_nothing: list[str] = []
        """Routes that gave requests to a version that was not up, which must never be."""

    def forget(self, service: str) -> None:
        """Lose the route of a service, as if it never had one."""
        self._routes.pop(service, None)
        self.unrouted.add(service)

    async def register(self, service: str, stable: str) -> Route:
        self.add_pool(service, stable)
        self.unrouted.discard(service)
        return await super().register(service, stable)

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        if self.blind:
            raise Retryable("the router does not say what is healthy")
        route = await self.read(service) if service not in self.unrouted else None
        if route is not None and route.canary is None and self.looked_back:
            self.unhealthy |= {(service, route.stable)} & self.dies_under_load
        self.looked_back = route is not None and route.canary is None
        versions = {FIRST_STABLE, "1", "2", "3"} | ({route.stable} if route else set())
        return {
            one: Health(known=2, healthy=0 if (service, one) in self.unhealthy else 2)
            for one in versions
        }

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        if route.service in self.broken:
            raise Retryable(f"the router of {route.service} is away")
        self._look_for(route.service)
        if (
            route.service in self.kept_back
            and route.stable != (await self.read(route.service)).stable
        ):
            raise Retryable(f"the router of {route.service} does not finalize now")
        self._look_behind(route)
        confirmation = await super().apply(route, over)
        if route not in self.applied:
            self.applied.append(route)
        return confirmation

    def _look_behind(self, route: Route) -> None:
        """Whether each version with requests is ready; those that a pipeline put up are."""
        if self.platform is None:
            return
        put_up = {key[1:] for key in self.platform.obeyed}
        labels = [
            one.labels
            for one in self.platform.things.values()
            if one.state is InstanceState.READY and one.labels is not None
        ]
        ready = {(one.service, one.version) for one in labels}
        self.into_nothing += [
            f"{route.text}: {version} is not up"
            for version in route.versions
            if (route.service, version) in put_up - ready
        ]

    async def read(self, service: str) -> Route:
        self._look_for(service)
        return await super().read(service)

    def _look_for(self, service: str) -> None:
        if service in self.gone | self.unrouted:
            self.missed.append(service)
            raise UnknownRoute(f"{service}: the router has no such service")

    def weights(self, service: str) -> list[float]:
        return [route.weight for route in self.applied if route.service == service]

    def last_back(self) -> list[str]:
        """Services in the order in which they went back to stable alone."""
        return [route.service for route in self.applied if route.canary is None]
