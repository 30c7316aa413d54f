"""What the embedded stack asks of a router. A version is called by its pool, as Envoy names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aviary.local.process import ChildSpec

Instances = Mapping[tuple[str, str], int]
"""Ports of instances, by service and version."""
ALL: int = 10_000
"""Parts of a service's requests."""


@dataclass(frozen=True)
class PoolCount:
    """Requests that the router sent to one version, and what came of them."""

    completed: int
    failed: int


class Front(Protocol):
    """One router of the stack, with its server."""

    @property
    def title(self) -> str:
        """Its name, for people."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """What a person or a script wants to open, by name."""

    def catalog(self) -> dict[str, Any]:
        """What a catalog says of it."""

    def scrape(self) -> dict[str, Any]:
        """The job that Prometheus scrapes it by."""

    def alert_rules(self) -> str:
        """One alert for every version of every service."""

    async def prepare(self, instances: Instances, /) -> Sequence[ChildSpec]:
        """Write what it is started with; its processes."""

    async def begin(self, instances: Instances) -> None:
        """Once it runs: have it serve these, each service by the version given."""

    async def put_up(self, service: str, version: str, port: int) -> None:
        """Tell it where a version is, and wait until it sends requests there if it is told to.

        Raises:
            ChildFailedError: it does not see it in time.
        """

    async def take_down(self, service: str, version: str) -> None:
        """Have it forget a version.

        Raises:
            adapters.errors.Terminal: a route still names it.
        """

    async def routed(self, service: str) -> dict[str, int]:
        """Pools that it gives a service's requests to, with their parts of `ALL`."""

    async def counts(self) -> Mapping[str, PoolCount]:
        """Its counters by pool; zero for one that it does not know."""
