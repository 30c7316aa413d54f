"""What the router must know of one kind of objects that carry routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.kubernetes.resources import Json, Resource
from schemas.route import Health, Route


@dataclass(frozen=True)
class Place:
    """Where an object is."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        """For a person: `HTTPRoute checkout`."""
        return f"{self.resource.kind} {self.name}"


@dataclass(frozen=True)
class Said:
    """What is not as it should be, for a person."""

    refused: tuple[str, ...] = ()
    """What is refused of the object as it is now."""
    unsaid: tuple[str, ...] = ()
    """What has not been said yet."""


class Api(Protocol):
    """What is asked of an API server: part of `adapters.kubernetes.client.KubernetesClient`."""

    async def namespace(self) -> str:
        """That of the connection."""

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, part: str = ""
    ) -> Json | None:
        """An object; None where there is none."""

    async def list_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> tuple[list[Json], str]:
        """All that match, and a resourceVersion."""

    async def patch(  # noqa: PLR0913 - as the API has it
        self,
        resource: Resource,
        name: str,
        body: Json | list[Json],
        namespace: str | None = None,
        part: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        """Change an object over its resourceVersion."""

    async def aclose(self) -> None:
        """Close its connections."""


class Versions(Protocol):
    """What stands for the versions of services, and the instances behind it."""

    def name(self, service: str, version: str) -> str:
        """The platform's name for a version."""

    def apart_name(self, service: str, version: str) -> str:
        """Likewise for what no split sends to it; the same where it has no twin."""

    async def exists(self, namespace: str, service: str, version: str) -> bool:
        """Whether there is such a thing."""

    async def check(self, namespace: str, service: str, versions: Iterable[str]) -> None:
        """Check that versions have instances.

        Raises:
            UnknownRoute: one has none.
            Retryable: the API server could not be asked.
        """

    async def healths(
        self, namespace: str, service: str, known: Iterable[str]
    ) -> Mapping[str, Health]:
        """The instances of each version that has some.

        Args:
            namespace: of the service.
            service: whose they are.
            known: versions that are known without asking.
        """


class Form(Protocol):
    """Reads and changes objects of one kind; pure."""

    @property
    def path(self) -> tuple[str, ...]:
        """The fields that carry routes, for the managers of fields: `spec`, `rules`."""

    def places(self, service: str) -> Sequence[Place]:
        """The objects that carry the route of a service; at least one."""

    def put(self, found: Json, route: Route, before: Route | None) -> Json:
        """The `spec` of a merge patch that puts a route into an object.

        Of an object that has the route already, it changes nothing.

        Args:
            found: as the API server has it.
            route: what shall be.
            before: what Aviary wrote into it last.

        Raises:
            UnknownRoute: nothing in it is the service's.
            ForeignChange: what is the service's is somebody else's, too.
            Unsupported: it holds something that leaves no room for the route.
        """

    def text(self, found: Json, service: str, *routes: Route | None) -> str:
        """Where the requests of a service go, for a person; empty where that is not said."""

    def is_touched(self, found: Json, service: str) -> bool:
        """Whether there is something in it that only Aviary can have written."""

    def said(self, found: Json) -> Said:
        """What the object's status says of it."""


class DataPlane(Protocol):
    """What carries the traffic, where it can be asked."""

    async def lag(self, route: Route, objects: Sequence[Json]) -> str:
        """Why it does not serve these objects yet; empty: it does.

        Raises:
            Retryable: it could not be asked.
        """

    async def aclose(self) -> None:
        """Close connections of its own."""
