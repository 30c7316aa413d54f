"""The Temporal SDK's own metrics, beside Aviary's: pollers, slots, latencies, failures.

The SDK counts in its core; a buffer hands the changes over once a second. Names are the SDK's
(`temporal_…`), durations are in seconds.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_HISTOGRAM,
    BufferedMetricUpdate,
    LogForwardingConfig,
    LoggingConfig,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
HEARTBEAT_S: Final = 5.0
"""How often a process tells Temporal that its workers live (`aviary.builds.liveness`)."""
_ROOM: Final = 20_000
_EVERY_S: Final = 1.0
_DROPPED: Final = frozenset({"service_name"})
# The core's warnings, such as of a workflow task that fails, in the form of every other line.
_LOGGING: Final = LoggingConfig(
    filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
    forwarding=LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
    ),
)
_Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0


@dataclass
class _Family:
    kind: str
    help: str
    numbers: dict[_Labels, float] = field(default_factory=dict)
    histograms: dict[_Labels, _Histogram] = field(default_factory=dict)


class TemporalMetrics(Collector):
    """What the SDK has counted so far."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def take(self, update: BufferedMetricUpdate) -> None:
        """Count one change."""
        metric = update.metric
        name = _named(metric.name)
        family = self._families.get(name)
        if family is None:
            family = _Family(_kind(metric.kind), metric.description or metric.name)
            self._families[name] = family
        labels = tuple(
            sorted((k, str(v)) for k, v in update.attributes.items() if k not in _DROPPED)
        )
        match family.kind:
            case "counter":
                family.numbers[labels] = family.numbers.get(labels, 0) + update.value
            case "histogram":
                histogram = family.histograms.setdefault(labels, _Histogram())
                histogram.counts[bisect.bisect_left(BUCKETS, update.value)] += 1
                histogram.total += update.value
            case _:
                family.numbers[labels] = update.value

    def sums(self, name: str, by: str, **only: str) -> dict[str, float]:
        """What was counted under a name, summed up by the values of one label.

        Of a histogram: how often something was observed.

        Args:
            name: as it is shown, without an ending such as `_total`.
            by: the label.
            only: other labels and the value that they must have.
        """
        family = self._families.get(name)
        found: dict[str, float] = {}
        if family is None:
            return found
        counts = {labels: float(sum(one.counts)) for labels, one in family.histograms.items()}
        for labels, value in (family.numbers | counts).items():
            named = dict(labels)
            if only.items() <= named.items():
                found[named.get(by, "")] = found.get(named.get(by, ""), 0.0) + value
        return found

    def collect(self) -> Iterator[Metric]:
        """Everything, in Prometheus' form."""
        for name, family in list(self._families.items()):
            metric = Metric(name, family.help, family.kind)
            suffix = "_total" if family.kind == "counter" else ""
            for labels, value in list(family.numbers.items()):
                metric.add_sample(f"{name}{suffix}", dict(labels), value)
            for labels, histogram in list(family.histograms.items()):
                _add_histogram(metric, dict(labels), histogram)
            yield metric


def _named(name: str) -> str:
    return name if name.startswith("temporal_") else f"temporal_{name}"


def _kind(kind: int) -> str:
    if kind == BUFFERED_METRIC_KIND_COUNTER:
        return "counter"
    return "histogram" if kind == BUFFERED_METRIC_KIND_HISTOGRAM else "gauge"


def _add_histogram(metric: Metric, labels: dict[str, str], histogram: _Histogram) -> None:
    count = 0
    for bound, more in zip((*BUCKETS, float("inf")), histogram.counts, strict=True):
        count += more
        edge = "+Inf" if bound == float("inf") else str(bound)
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": edge}, count)
    metric.add_sample(f"{metric.name}_count", labels, count)
    metric.add_sample(f"{metric.name}_sum", labels, histogram.total)


@asynccontextmanager
async def measured_runtime(
    registry: CollectorRegistry,
) -> AsyncIterator[tuple[Runtime, TemporalMetrics]]:
    """A runtime of the SDK, and its metrics, which are in a registry as long as this is open."""
    buffer = MetricBuffer(_ROOM, duration_format=MetricBufferDurationFormat.SECONDS)
    runtime = Runtime(
        telemetry=TelemetryConfig(metrics=buffer, logging=_LOGGING),
        worker_heartbeat_interval=timedelta(seconds=HEARTBEAT_S),
    )
    metrics = TemporalMetrics()
    registry.register(metrics)

    async def drain() -> None:
        while True:
            for update in buffer.retrieve_updates():
                metrics.take(update)
            await asyncio.sleep(_EVERY_S)

    draining = asyncio.create_task(drain(), name="temporal-metrics")
    try:
        yield runtime, metrics
    finally:
        draining.cancel()
        with suppress(asyncio.CancelledError):
            await draining
        registry.unregister(metrics)
