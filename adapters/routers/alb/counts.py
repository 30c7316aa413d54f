"""Requests of each version, as CloudWatch has them: sums of minutes, which come minutes late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from adapters.routers.alb.client import Elb
from adapters.routers.alb.groups import TargetGroups

_MINUTE: Final = timedelta(minutes=1)
_MOST_PAGES: Final = 50
_NAMESPACE: Final = "AWS/ApplicationELB"


def now() -> datetime:
    """The time of this machine, which the client signs its calls with as well."""
    return datetime.now(UTC)


class CloudWatchCounts:
    """Counts whole minutes from the first reading on, for which 0 is counted.

    `RequestCount` of a target group counts the requests for which a target was chosen, whatever
    became of them.

    Args:
        watch: the API of CloudWatch.
        groups: the target groups.
        balancers: load balancers, as its dimension has them: `app/edge/50dc6c495c0c9188`.
        late: longest time from the end of a minute until its sum is whole.
        clock: the time.
    """

    def __init__(
        self,
        watch: Elb,
        groups: TargetGroups,
        balancers: Sequence[str],
        late: timedelta,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.late = late
        self._watch = watch
        self._groups = groups
        self._balancers = tuple(dict.fromkeys(balancers))
        self._clock = clock
        self._until: datetime | None = None
        """Minutes before this are counted."""
        self._sums: dict[str, int] = {}

    def anew(self) -> Self:
        """Another that has counted nothing yet."""
        return type(self)(self._watch, self._groups, self._balancers, self.late, self._clock)

    async def requests(self, service: str) -> dict[str, int]:
        """Requests of each version since the first reading: of one service, for each its own.

        Raises:
            Retryable: CloudWatch did not answer.
        """
        whole = self._clock() - self.late
        end = whole.replace(second=0, microsecond=0)
        if self._until is None:
            self._until = end if end == whole else end + _MINUTE
        groups = await self._groups.of(service)
        self._sums = {**dict.fromkeys(groups, 0), **self._sums}
        if end > self._until:
            grown = await self._between(groups, self._until, end)
            for version, count in grown.items():
                self._sums[version] += count
            self._until = end
        return dict(self._sums)

    async def _between(
        self, groups: dict[str, str], start: datetime, end: datetime
    ) -> dict[str, int]:
        """The requests of each version in whole minutes."""
        pairs = [(version, balancer) for version in groups for balancer in self._balancers]
        queries = [
            _query(f"m{at}", groups[version].rpartition(":")[2], balancer)
            for at, (version, balancer) in enumerate(pairs)
        ]
        grown = dict.fromkeys(groups, 0)
        given: dict[str, Any] = {"StartTime": start, "EndTime": end, "MetricDataQueries": queries}
        for _ in range(_MOST_PAGES):
            answer = await self._watch.call("get_metric_data", **given)
            for one in answer.get("MetricDataResults", ()):
                version, _balancer = pairs[int(one["Id"].removeprefix("m"))]
                grown[version] += round(sum(one.get("Values", ())))
            if not answer.get("NextToken"):
                break
            given["NextToken"] = answer["NextToken"]
        return grown


def _query(name: str, group: str, balancer: str) -> dict[str, Any]:
    dimensions = [
        {"Name": "TargetGroup", "Value": group},
        {"Name": "LoadBalancer", "Value": balancer},
    ]
    metric = {"Namespace": _NAMESPACE, "MetricName": "RequestCount", "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
