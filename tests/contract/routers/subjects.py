"""What the contract suite needs of a member of the port: services to route, and users."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Protocol

from adapters.ports import Instances, Registrar, RequestCounts, Router, VersionLocator
from adapters.routers.envoy import EnvoyRouter
from adapters.routers.envoy_fleet import Pool
from adapters.routers.memory import MemoryRouter
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.wire import Caller


class Registering(Router, VersionLocator, RequestCounts, Instances, Registrar, Protocol):
    """A router with all that a router may be able to do."""


class Subject(Protocol):
    """One member of the port, under test."""

    @property
    def router(self) -> Registering: ...

    def put_up(self, *versions: str, length: int = 0) -> str:
        """Start a new service in these versions and return its name; it has no route yet.

        The name has at least that length.
        """

    async def call(self, service: str, users: Iterable[str]) -> Mapping[str, str]:
        """Send one request of each user; return the version that each got."""

    async def take_down(self, service: str, version: str) -> None:
        """Have all instances of a version die."""


class MemorySubject:
    def __init__(self) -> None:
        self.router = MemoryRouter()
        self._names = itertools.count(1)

    def put_up(self, *versions: str, length: int = 0) -> str:
        service = f"svc-{next(self._names)}".ljust(length, "x")
        for version in versions:
            self.router.add_pool(service, version)
        return service

    async def call(self, service: str, users: Iterable[str]) -> Mapping[str, str]:
        return {user: self.router.send(service, user) for user in users}

    async def take_down(self, service: str, version: str) -> None:
        self.router.take_down(service, version)


class EnvoySubject:
    def __init__(self, envoy: LiveEnvoy, router: EnvoyRouter) -> None:
        self.envoy = envoy
        self.router = router

    def put_up(self, *versions: str, length: int = 0) -> str:
        return self.envoy.add_service(*versions, length=length)

    async def call(self, service: str, users: Iterable[str]) -> Mapping[str, str]:
        async with Caller(self.envoy.port, service) as caller:
            return await caller.users(users)

    async def take_down(self, service: str, version: str) -> None:
        self.envoy.fleet.put_pool(
            Pool(service=service, version=version, endpoints=(("127.0.0.1", free_port()),))
        )
