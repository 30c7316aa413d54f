"""How a canary is judged that is for some requests only. Pure.

Like is compared with like: the canary with stable among the requests of the same audience. That
takes metrics that tell them apart, as those of a router do that counts all others apart. Where
there are none, or nobody of the audience is on stable, the canary is held against limits alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.catalog import ResolvedService
from schemas.judging import (
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    Method,
    MetricSpec,
    RatioMetric,
    ThresholdMetric,
)


def unlike(service: ResolvedService) -> str:
    """Why the metrics of a service can't tell an audience, for a person; empty: they can.

    Args:
        service: with its router's kind and its metrics.
    """
    if not service.audiences:
        return ""
    if not service.capabilities.apart:
        return f"the router {service.router.text} counts all requests of a version together"
    own = [
        metric.name
        for metric in service.metrics or ()
        if _compares(metric) and (metric.templates or service.judge.pack != service.pack)
    ]
    if own:
        return f"{', '.join(own)}: not a metric of the router, whose counts tell an audience"
    return ""


def _compares(metric: MetricSpec) -> bool:
    """Whether a metric holds the canary against stable."""
    if isinstance(metric, ThresholdMetric):
        return False
    return isinstance(metric, GaugeMetric) or metric.slo is None


def by_limits(spec: JudgeSpec, metrics: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """The metrics of a canary that is held against limits alone; those without one are left out.

    The limit of a metric is its own `slo`, or else that of the section `threshold` of the judge.
    """
    return tuple(limited for metric in metrics if (limited := _limited(spec, metric)) is not None)


def _limited(spec: JudgeSpec, metric: MetricSpec) -> MetricSpec | None:
    limits = spec.threshold
    if isinstance(metric, GaugeMetric):
        return None
    if isinstance(metric, ThresholdMetric) or metric.slo is not None:
        return metric
    if isinstance(metric, RatioMetric):
        ratio = limits.max_error_ratio
        return metric.model_copy(update={"slo": ratio}) if ratio and ratio < 1 else None
    return _limited_latency(spec, metric)


def _limited_latency(spec: JudgeSpec, metric: HistogramMetric) -> MetricSpec | None:
    most = spec.threshold.max_latency
    if most is None:
        return None
    update = {"slo": 1.0 - spec.threshold.quantile, "edges": (most.total_seconds(),)}
    return metric.model_copy(update=update)


def limits_of(spec: JudgeSpec) -> JudgeSpec:
    """A judge that holds the canary against limits alone, and asks nothing of stable.

    An audience may be a few people: one error of theirs is no proof that the limit is passed.
    """
    chance = spec.alpha if spec.threshold.chance is None else spec.threshold.chance
    update = {"max_times_stable": None, "chance": chance}
    limits = spec.threshold.model_copy(update=update)
    kayenta = spec.kayenta.model_copy(update={"critical": frozenset()})
    changed = {"method": Method.THRESHOLD, "threshold": limits, "kayenta": kayenta}
    return spec.model_copy(update=changed)
