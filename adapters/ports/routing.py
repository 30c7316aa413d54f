"""Ports of what carries traffic: a `Router`, and beside it what only some platforms can do.

A class may be several of them at once, and most are; `Routing` is what activities get, with None
for what a platform can't do. What puts versions up is another port (`adapters.ports.deploying`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from adapters.errors import ForeignChange
from schemas.capabilities import Capabilities, Counting
from schemas.deployment import Endpoint, Endpoints
from schemas.reading import Series
from schemas.route import Confirmation, Health, Route


@runtime_checkable
class Router(Protocol):
    """Carries the traffic of services and splits it between versions."""

    async def read(self, service: str) -> Route:
        """The route as the platform has it now: its arms, and the generation and owner beside them.

        Where somebody else has changed what the platform does, without a route of Aviary's, it is
        what was applied last: nothing stands in the way of a rollback.

        Raises:
            UnknownRoute: the router has no such service.
            Retryable: the router could not be asked.
        """

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Make the route so, and return once the router confirms that it serves it.

        The same route again is a success without effect. A generation that is not larger than what
        is applied is refused: that is what makes a late attempt harmless.

        Args:
            route: what shall be.
            over: what the caller believes to be applied; if it is not, nothing is written. None:
                whatever is there is overruled, as by a rollback.

        Raises:
            StaleGeneration: the applied generation is as large or larger, and another route.
            ForeignChange: somebody else has changed what was applied `over`; of several routers
                `HalfWritten`, where another one has the new route already.
            UnknownRoute: no such service, or a version without instances.
            Unsupported: the route asks for what this router can't do; nothing is rounded.
            Terminal: the router rejected the configuration.
            Retryable: the router did not confirm in time, or could not be reached.
        """

    async def aclose(self) -> None:
        """Let go of what it holds: connections, files. It is not used any more."""


@runtime_checkable
class VersionLocator(Protocol):
    """Knows the platform's own name for the instances of one version.

    A pool, a cluster, a Service, a subset, a target group: what metric queries ask for.
    """

    async def locate(self, service: str, version: str) -> str:
        """The name, as metrics show it; of another version it is another.

        Raises:
            UnknownRoute: the platform has to be asked for the name, and knows no such version.
            Retryable: the platform could not be asked.
        """

    async def exists(self, service: str, version: str) -> bool:
        """Whether the platform knows instances of it, in health or not, with or without a route.

        Raises:
            Retryable: the platform could not be asked.
        """


@runtime_checkable
class ApartLocator(Protocol):
    """Knows the platform's name for what no split sends to a version, where it is another.

    Of copies of requests, and of requests that ask for the version by header or cookie.
    """

    async def locate_apart(self, service: str, version: str) -> str:
        """The name, as metrics show it; errors as of `VersionLocator.locate`."""


@runtime_checkable
class RequestCounts(Protocol):
    """Counts the requests of each version: a router does, or a metrics source for it."""

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests sent so far to the instances of each version.

        One entry for each version that has instances. Counted when a request starts and where it
        went; only those that the split sent there count, not those that ask for a version by header
        or cookie, are outside of the audience, or are copies. The counts begin again when the
        router restarts: take a smaller reading than the one before as a new beginning.

        Raises:
            UnknownRoute: the router has no such service.
            Retryable: the router could not be asked.
        """


@runtime_checkable
class LateCounts(RequestCounts, Protocol):
    """Counts requests some time after they began, as a metrics source does."""

    late: timedelta
    """Longest time from a request until it is counted."""

    def anew(self) -> RequestCounts:
        """Another that begins at 0 with its first reading, for one caller that compares them."""


@runtime_checkable
class UserCounts(Protocol):
    """Knows, beside `RequestCounts`, how requests are shared among users."""

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """Requests so far of each user, or of each bucket of users by any name, by version.

        All requests of a user are in the same bucket. The counts may be of a sample that is drawn
        by chance. Empty where nothing is known. They begin again as those of `RequestCounts` do.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class LaneRequests(Protocol):
    """Knows, beside `RequestCounts`, how many requests came with the lane of a release."""

    async def requests_in_lane(self, service: str) -> int:
        """Requests so far that had the lane of the service's route as they came.

        Of any lane that the service ever had, so that only a difference says something. They are
        counted, and begin again, as those of `RequestCounts` do.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class OwnCounters(Protocol):
    """Shows, beside `RequestCounts`, its own raw counters as the metrics source would."""

    async def counters(self, service: str) -> Sequence[Series]:
        """Every raw series of the versions of a service, as of now.

        With the names and labels that the router's metrics have, `__name__` among them, and with
        `instance` for what the metrics source calls so. Counters only grow, until the router
        restarts; what it has not counted yet may be absent. Only those that the capabilities
        name have to be there.

        Raises:
            Retryable: the router could not be asked, or gave no sound answer.
        """


@runtime_checkable
class Instances(Protocol):
    """Knows which instances are healthy."""

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each version that has any, whether or not there is a route.

        Where several proxies disagree, the one that sees the fewest counts. None: it can't tell.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class Registrar(Protocol):
    """Can introduce services to the router."""

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route.

        Raises:
            UnknownRoute: `stable` has no instances.
            Retryable: the route could not be written.
        """


@runtime_checkable
class EndpointWriter(Protocol):
    """Can be told where the instances of a version are, by a deployer or by a pipeline."""

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Make these the instances of the version; returns once the router knows them.

        Those that are not among them are drained: no new request begins there. The same endpoints
        again are a success without effect. No route changes.

        Args:
            service: whose version it is; it need not have a route yet.
            version: it need not be known yet.
            endpoints: at least one.
            generation: of the order, larger than of what is there; 0 is a person's, taken always.

        Raises:
            StaleGeneration: a newer order was obeyed.
            Terminal: the router rejected them.
            Retryable: the router did not confirm in time, or could not be reached.
        """

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Forget a version: no route may name it. What is not there is a success.

        Raises:
            StillInUse: the route names the version; nothing was changed.
            StaleGeneration, Terminal, Retryable: as `put_endpoints`.
        """

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What it was told, by service and version: of one service, or of all.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class ChangeDetector(Protocol):
    """Sees what somebody else has changed where the route itself does not show it."""

    async def changed(self, route: Route) -> str:
        """What somebody else has changed since this route was applied; empty: nothing.

        Raises:
            UnknownRoute: the router has no such service.
            Retryable: the router could not be asked.
        """


class Leased(NamedTuple):
    """A route whose canary has a lease, as it was read."""

    route: Route
    renewal: str
    """Another one after each renewal; empty while there was none. It says nothing but that."""


@runtime_checkable
class LeaseStore(Protocol):
    """Keeps, beside the routes, the signs of life of those who own them."""

    async def renew(self, service: str) -> None:
        """Leave a sign of life beside the route of a service; the route is not written.

        Whoever calls has read the route, and owns it. Durable enough to be read by another
        process; lost with a power cut, it is one renewal that was missed.

        Raises:
            Retryable: it could not be written.
        """

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease, by service.

        Args:
            services: those that are asked for; what the router does not know is left out, and so
                is a route that can't be read: it has to be mended by hand.

        Raises:
            Retryable: the router could not be asked.
        """


@dataclass(frozen=True)
class Routing:
    """A router and what is beside it; None for what this platform can't do."""

    router: Router
    locator: VersionLocator
    capabilities: Capabilities
    counts: RequestCounts | None = None
    users: UserCounts | None = None
    lanes: LaneRequests | None = None
    counters: OwnCounters | None = None
    instances: Instances | None = None
    registrar: Registrar | None = None
    endpoints: EndpointWriter | None = None
    leases: LeaseStore | None = None
    changes: ChangeDetector | None = None
    apart: ApartLocator | None = None
    """None: what no split sends to a version is measured under the version's own name."""
    parts: tuple[Part, ...] = ()
    """Of several routers for one service: each, in the order in which they get a weight."""

    @property
    def each(self) -> tuple[Part, ...]:
        """The routers of several; of a single one itself, without a name."""
        return self.parts or (Part("", self),)

    def counting(self) -> RequestCounts | None:
        """Who counts requests, for one caller that compares readings; None: nobody does."""
        return self.counts.anew() if isinstance(self.counts, LateCounts) else self.counts

    @property
    def late(self) -> timedelta:
        """Longest time from a request until it is counted."""
        return self.counts.late if isinstance(self.counts, LateCounts) else timedelta(0)

    async def changed(self, route: Route) -> str:
        """What somebody else has changed since this route was applied; empty: nothing.

        A newer route is nobody's change: it is refused, or found, as every newer one is.

        Raises:
            Terminal: the router has no such service, or what it has can't be told any more.
            Retryable: the router could not be asked.
        """
        if self.changes is not None:
            return await self.changes.changed(route)
        found = await self.router.read(route.service)
        if found == route or found.generation > route.generation:
            return ""
        return str(ForeignChange(route.service, f"found {found.text}, expected {route.text}"))

    @classmethod
    def of(
        cls, member: Router, capabilities: Capabilities, counts: RequestCounts | None = None
    ) -> Self:
        """All ports that one object is, as far as its kind claims them.

        Args:
            member: a router, and whatever else it is.
            capabilities: of its kind; what they don't claim is not used.
            counts: who counts the requests, where that is not the router itself.

        Raises:
            TypeError: it lacks methods of what its kind claims, or names no versions, and so
                nothing on it could be measured.
        """
        can, counting = capabilities, counts or member
        counted = can.counts is not Counting.NONE
        claims: tuple[tuple[Any, object, bool], ...] = (
            (RequestCounts, counting, counted),
            (UserCounts, member, can.users),
            (LaneRequests, member, can.lanes),
            (OwnCounters, member, bool(can.counters)),
            (Instances, member, can.instances),
            (Registrar, member, can.registers),
            (EndpointWriter, member, can.endpoints),
            (LeaseStore, member, can.leases),
        )
        for port, one, claimed in claims:
            if claimed and not isinstance(one, port):
                raise TypeError(_lacking(one, port))
        if not isinstance(member, VersionLocator):
            raise TypeError(_lacking(member, VersionLocator))
        return cls(
            router=member,
            locator=member,
            capabilities=capabilities,
            counts=counting if counted and isinstance(counting, RequestCounts) else None,
            users=member if can.users and isinstance(member, UserCounts) else None,
            lanes=member if can.lanes and isinstance(member, LaneRequests) else None,
            counters=member if can.counters and isinstance(member, OwnCounters) else None,
            instances=member if can.instances and isinstance(member, Instances) else None,
            registrar=member if can.registers and isinstance(member, Registrar) else None,
            endpoints=member if can.endpoints and isinstance(member, EndpointWriter) else None,
            leases=member if can.leases and isinstance(member, LeaseStore) else None,
            changes=member if isinstance(member, ChangeDetector) else None,
            apart=member if isinstance(member, ApartLocator) else None,
        )


class Part(NamedTuple):
    """One of several routers for one service."""

    name: str
    """For a person; empty for a single router."""
    routing: Routing

    def said(self, text: str) -> str:
        """A text of its own, with its name."""
        return f"{self.name}: {text}" if self.name else text


def _lacking(member: object, port: Any) -> str:
    return f"{type(member).__name__}: its kind claims the methods of {port.__name__}"
