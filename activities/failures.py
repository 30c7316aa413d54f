"""What failed of a service over the last half hour, version by version, from raw counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from activities.ramp import Resolve
from adapters.errors import AdapterError
from adapters.ports import MetricsSource, Routing
from analysis.counters import ArmCounters
from analysis.rises import Point
from schemas.catalog import ResolvedService
from schemas.judging import Direction, HistogramMetric, RatioMetric, render
from schemas.reading import Series
from schemas.router_spec import RouterSpec

METRICS_MOST: Final = 3
"""Of one service; of more, the first."""
_PARTS: Final = ("bad", "total")

Failures = Mapping[str, Mapping[str, tuple[Point, ...]]]
"""By metric, then by version: what failed in each interval, the same intervals for each."""


class FailureReader(Protocol):
    """Knows what failed of a service."""

    async def versions(self, service: ResolvedService) -> Sequence[str]:
        """The versions that have requests now. Raises an adapter's errors."""
        ...

    async def read(
        self, service: ResolvedService, versions: Sequence[str], times: Sequence[float]
    ) -> Failures:
        """What failed between each two of these times; see `ReadFailures`."""
        ...


class ReadFailures:
    """Reads a service's own metrics at several times in the past.

    Args:
        source: answers the queries.
        router_for: finds the router of a specification, and what names its versions.
        resolve: fills in a metric's PromQL from its pack.
    """

    def __init__(
        self,
        source: MetricsSource,
        router_for: Callable[[RouterSpec], Routing],
        resolve: Resolve,
    ) -> None:
        self._source = source
        self._router_for = router_for
        self._resolve = resolve

    async def versions(self, service: ResolvedService) -> tuple[str, ...]:
        """The versions that have requests now. Raises an adapter's errors."""
        route = await self._router_for(service.router).router.read(service.service)
        return tuple(arm.version for arm in route.arms)

    async def read(
        self, service: ResolvedService, versions: Sequence[str], times: Sequence[float]
    ) -> Failures:
        """What failed between each two of these times.

        A metric that counts nothing, or can't be asked, is left out.

        Args:
            service: with its metrics.
            versions: whose requests are counted.
            times: in seconds since the epoch, oldest first.
        """
        locator = self._router_for(service.router).locator
        pools = {one: await locator.locate(service.service, one) for one in versions}
        found: dict[str, Mapping[str, tuple[Point, ...]]] = {}
        for metric in self._counting(service):
            try:
                arms = await asyncio.gather(
                    *(
                        self._arm(
                            metric,
                            {"service": service.service, "version": one, "pool": pools[one]},
                            times,
                        )
                        for one in versions
                    )
                )
            except AdapterError:  # of one metric; without any the caller is told nothing
                continue
            found[metric.name] = dict(zip(versions, arms, strict=True))
        return found

    def _counting(self, service: ResolvedService) -> list[RatioMetric | HistogramMetric]:
        """The metrics that count requests that fail, or are too slow."""
        metrics = [self._resolve(service.judge, metric) for metric in service.metrics or ()]
        counting = [
            metric
            for metric in metrics
            if isinstance(metric, RatioMetric)
            or (isinstance(metric, HistogramMetric) and metric.edges)
        ]
        return counting[:METRICS_MOST]

    async def _arm(
        self,
        metric: RatioMetric | HistogramMetric,
        variables: Mapping[str, str],
        times: Sequence[float],
    ) -> tuple[Point, ...]:
        readings = await asyncio.gather(
            *(self._reading(metric, dict(variables), at) for at in times)
        )
        counters, points = ArmCounters(), []
        for at, before, reading in zip(times, [None, *times], readings, strict=False):
            grown, counters = counters.advance(reading, before)
            if before is not None:
                sums = {part: sum(grown[part].values()) for part in _PARTS}
                points.append(_point(metric, at, sums))
        return tuple(points)

    async def _reading(
        self, metric: RatioMetric | HistogramMetric, variables: dict[str, str], at: float
    ) -> dict[str, Sequence[Series]]:
        templates = {part: text for part, text in metric.templates.items() if part != "shown_by"}
        moment = datetime.fromtimestamp(at, UTC)
        answers = await asyncio.gather(
            *(self._source.query(render(text, variables), moment) for text in templates.values())
        )
        found = dict(zip(templates, answers, strict=True))
        return _by_edge(metric, found) if isinstance(metric, HistogramMetric) else found


def _by_edge(
    metric: HistogramMetric, found: Mapping[str, Sequence[Series]]
) -> dict[str, Sequence[Series]]:
    """Of cumulative buckets, those quicker than the last edge, as `bad`; and all."""
    edge = metric.edges[-1] * (1000.0 if metric.unit == "ms" else 1.0)
    buckets = found["buckets"]
    quick = [one for one in buckets if _is_edge(one.labels.get("le", ""), edge)]
    all_of = [one for one in buckets if one.labels.get("le") == "+Inf"]
    return {"bad": quick, "total": found.get("total") or all_of}


def _is_edge(text: str, edge: float) -> bool:
    try:
        return abs(float(text) - edge) <= 1e-9 * edge
    except ValueError:
        return False


def _point(metric: RatioMetric | HistogramMetric, at: float, sums: Mapping[str, float]) -> Point:
    total = sums["total"]
    counted = min(sums["bad"], total)
    good = isinstance(metric, HistogramMetric) or metric.direction is Direction.LOWER_IS_BAD
    return Point(at, total - counted if good else counted, total)
