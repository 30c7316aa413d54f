"""Metrics by OTLP: what the scrape shows, converted and pushed every so often.

Counters become monotonic sums, gauges gauges, histograms histograms with the same buckets; names
and labels stay, a counter without its `_total`, as OpenTelemetry's rules for Prometheus' metrics
say. Imported only where metrics are pushed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from aviary.settings import SettingsError
from aviary.telemetry.registry import exported

_log = structlog.get_logger("aviary.telemetry")
_EVERY: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_MS: Final = "60000"
_NS: Final = 1_000_000_000
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_BEGAN: Final = time.time_ns()
_Labels = tuple[tuple[str, str], ...]


class MetricsPusher:
    """Pushes every metric of this process from a thread of its own."""

    def __init__(self, resource: Resource, options: Mapping[str, Any]) -> None:
        """Prepare to push.

        Raises:
            SettingsError: the interval is no number of milliseconds.
        """
        text = os.environ.get(_EVERY) or _DEFAULT_MS
        if not text.isdecimal() or int(text) == 0:
            raise SettingsError(f"{_EVERY}: got {text!r}, expected milliseconds")
        self._every_s = int(text) / 1000
        self._resource = resource
        self._exporter = OTLPMetricExporter(**options)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="push-metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Push once more, and stop."""
        self._stop.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.push()
        self.push()

    def push(self) -> None:
        """Push now; a failure is the exporter's to log, and the next push says all again."""
        data = convert(exported().collect(), self._resource, time.time_ns())
        if data is not None:
            self._exporter.export(data)


def convert(families: Iterable[Family], resource: Resource, now_ns: int) -> MetricsData | None:
    """OpenTelemetry's form of Prometheus' metrics; None where there are none."""
    metrics = [metric for family in families if (metric := _metric(family, now_ns)) is not None]
    if not metrics:
        return None
    scope = ScopeMetrics(InstrumentationScope("aviary"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metric(family: Family, now_ns: int) -> Metric | None:
    data: Sum | Gauge | Histogram
    match family.type:
        case "counter":
            points = _numbers(family, "_total", now_ns)
            data = Sum(points, aggregation_temporality=_CUMULATIVE, is_monotonic=True)
        case "histogram":
            data = Histogram(_histograms(family, now_ns), aggregation_temporality=_CUMULATIVE)
        case _:
            data = Gauge(_numbers(family, "_info" if family.type == "info" else "", now_ns))
    if not data.data_points:
        return None
    return Metric(family.name, family.documentation, family.unit, data)


def _numbers(family: Family, suffix: str, now_ns: int) -> list[NumberDataPoint]:
    began = _created(family)
    return [
        NumberDataPoint(one.labels, began.get(tuple(one.labels.items()), _BEGAN), now_ns, one.value)
        for one in family.samples
        if one.name == f"{family.name}{suffix}"
    ]


def _created(family: Family) -> dict[_Labels, int]:
    return {
        tuple(one.labels.items()): round(one.value * _NS)
        for one in family.samples
        if one.name == f"{family.name}_created"
    }


def _histograms(family: Family, now_ns: int) -> list[HistogramDataPoint]:
    series: dict[_Labels, list[Sample]] = {}
    for one in family.samples:
        labels = tuple((key, value) for key, value in one.labels.items() if key != "le")
        series.setdefault(labels, []).append(one)
    began = _created(family)
    return [
        _histogram(labels, samples, began.get(labels, _BEGAN), now_ns)
        for labels, samples in series.items()
    ]


def _histogram(
    labels: _Labels, samples: Iterable[Sample], began_ns: int, now_ns: int
) -> HistogramDataPoint:
    bounds, counts, before, total = [], [], 0.0, 0.0
    for one in samples:
        if one.name.endswith("_bucket"):
            counts.append(round(one.value - before))
            before = one.value
            if one.labels["le"] != "+Inf":
                bounds.append(float(one.labels["le"]))
        elif one.name.endswith("_sum"):
            total = one.value
    return HistogramDataPoint(
        attributes=dict(labels),
        start_time_unix_nano=began_ns,
        time_unix_nano=now_ns,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=bounds,
        min=0.0,
        max=0.0,
    )
