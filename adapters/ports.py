"""What Aviary needs of the outside, as protocols; `aviary.wiring` chooses the adapters.

Every method raises `adapters.errors.Retryable` or `Terminal`, and nothing else, for what goes wrong
outside. `tests/contract` holds one suite for each port that every member passes.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from schemas.alert import Alert
from schemas.events import CloudEvent
from schemas.notice import Notice
from schemas.reading import Series
from schemas.route import Confirmation, Health, Route


class Router(Protocol):
    """Carries the traffic of services and splits it between two versions."""

    async def read(self, service: str) -> Route:
        """The route as applied now.

        Raises:
            UnknownRoute: the router has no such service.
        """

    async def apply(self, route: Route) -> Confirmation:
        """Make the route so, and return once the router confirms that it serves it.

        The same route again is a success without effect. A generation that is not larger than what
        is applied is refused: that is what makes a late attempt harmless.

        Raises:
            StaleGeneration: the applied generation is as large or larger, and another route.
            UnknownRoute: no such service, or a version without a pool of instances.
            Terminal: the router rejected the configuration.
            Retryable: the router did not confirm in time, or could not be reached.
        """

    def pool(self, service: str, version: str) -> str:
        """The router's own name for the instances of one version, as its metrics show it."""

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests sent so far to the instances of each version, as the router counts them.

        One entry for each version that has a pool. Counted when a request starts and where it went;
        only those that the split sent there count, not those that ask for a version by header or
        cookie. The counts begin again when the router restarts: take a smaller reading than the one
        before as a new beginning.

        Raises:
            UnknownRoute: the router has no such service.
            Retryable: the router could not be asked.
        """


@runtime_checkable
class Instances(Protocol):
    """A router that knows which instances it finds healthy. Not every router does."""

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each version that has a pool, whether or not there is a route.

        Where several proxies disagree, the one that sees the fewest counts. None: it can't tell.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class Registrar(Protocol):
    """A router to which services can be introduced. Not every router does that."""

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route.

        Raises:
            UnknownRoute: `stable` has no pool of instances.
            Retryable: the route could not be written.
        """


@runtime_checkable
class CountsUsers(Protocol):
    """A router that knows, beside `Router`, how its requests are shared among users."""

    async def requests_by_user(self, service: str) -> Mapping[str, int]:
        """Requests so far of each user, or of each bucket of users, by any name.

        Empty where nothing is known. The counts begin again as those of `Router.requests` do.

        Raises:
            Retryable: the router could not be asked.
        """


@runtime_checkable
class Pools(Protocol):
    """A router that tells of a pool without asking its proxies; of others `requests` tells."""

    async def has_pool(self, service: str, version: str) -> bool:
        """Whether a version has a pool of instances, whether or not the service has a route.

        Raises:
            Retryable: the router could not be asked.
        """


class MetricsSource(Protocol):
    """Answers instant queries in PromQL."""

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Every series of the answer as of `at`; empty when there is no data.

        A source that may lack a part of the data answers a `schemas.reading.Answer`, which says so.

        Raises:
            Terminal: the query itself is wrong; `WrongQuery`, where that is known.
            Retryable: the source could not be reached or answered with an error of its own;
                `Unanswered`, where kinds are told apart.
        """


class AlertSource(Protocol):
    """Knows which alerts fire now (asked before a canary starts, and after a loss of alerts)."""

    async def firing(
        self, receiver: str | None = None, kept: Container[str] = ()
    ) -> Sequence[Alert]:
        """All alerts that fire now, silenced and inhibited ones left out.

        Args:
            receiver: only those that the source sends to this receiver.
            kept: labels that decide, which are left out last from a label set too large.

        Raises:
            Terminal: the source has no such receiver, or refused the question.
            Retryable: no answer, or none that can be read.
        """


class EventLog(Protocol):
    """Keeps what happened for other systems."""

    async def publish(self, events: Sequence[CloudEvent]) -> None:
        """Append the events in order; returns once they are durable."""


class ReportWriter(Protocol):
    """Keeps the reports of releases where people find them."""

    async def write(self, release: str) -> None:
        """Write the report of a release, in place of an earlier one."""


class Notifier(Protocol):
    """Tells people."""

    async def notify(self, notice: Notice) -> None:
        """Deliver one notice."""
