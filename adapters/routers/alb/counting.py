"""An ALB whose requests CloudWatch counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.ports import RequestCounts
from adapters.routers.alb.client import Elb
from adapters.routers.alb.counts import CloudWatchCounts, now
from adapters.routers.alb.router import AlbRouter


class CountingAlbRouter(AlbRouter):
    """An `AlbRouter` that is a `LateCounts` as well.

    Args:
        elb: the API; closed with it.
        listeners: as ARNs.
        watch: the API of CloudWatch; closed with it.
        late: longest time from the end of a minute until its sum is whole.
        wall_clock: the time, for its minutes.
        others: of an `AlbRouter`.
    """

    def __init__(
        self,
        elb: Elb,
        listeners: Sequence[str],
        *,
        watch: Elb,
        late: timedelta,
        wall_clock: Callable[[], datetime] = now,
        **others: Any,
    ) -> None:
        super().__init__(elb, listeners, **others)
        self.late = late
        self._watch = watch
        balancers = [balancer_of(listener) for listener in listeners]
        counts = CloudWatchCounts(watch, self.groups, balancers, late, wall_clock)
        self._counts = counts
        self._each: dict[str, CloudWatchCounts] = defaultdict(counts.anew)

    def anew(self) -> RequestCounts:
        """Counts that begin with their first reading."""
        return self._counts.anew()

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests of each version since the first reading of this service."""
        return await self._each[service].requests(service)

    async def aclose(self) -> None:
        """Close the connections to both APIs."""
        await super().aclose()
        await self._watch.aclose()


def balancer_of(listener: str) -> str:
    """The load balancer of a listener, as CloudWatch names it."""
    return listener.partition(":listener/")[2].rpartition("/")[0]
