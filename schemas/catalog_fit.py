"""Whether the services of a catalog can be judged as it says: looked at before anything runs.

A judge and its metrics may stand in different sections (`defaults`, a service); what does not fit
is told where the more particular of the two stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from schemas.catalog import ROUTER_METRICS, Catalog, ServiceSpec
from schemas.catalog_check import Finding, Path, listed, nearest
from schemas.judging import (
    HistogramMetric,
    JudgeSpec,
    MetricSpec,
    RatioMetric,
    is_acting_ratio,
    render,
)
from schemas.promql import SAMPLES, fault

Judged = Callable[[JudgeSpec, Sequence[MetricSpec]], Iterable[Finding]]
"""Looks at a judge and its metrics; its paths begin with `judge` or `metrics`."""

MOST_QUERIES: Final = 200_000
"""Characters of all own queries of a service, which go together to whoever judges it."""
NEEDS_RATIO: Final = (
    "a metric of kind ratio that is acted upon and compared with stable: this strategy is a ramp, "
    "which counts failed requests"
)


def check_fit(catalog: Catalog) -> Iterator[Finding]:
    """Give what the services lack, as far as the catalog itself tells."""
    yield from check_judged(catalog, _unfit)
    for name, spec in catalog.services.items():
        strategy = spec.strategy or catalog.defaults.strategy
        found = catalog.strategy(strategy)
        if found is None or found.ramp is None:
            continue
        if not any(map(is_acting_ratio, _metrics(catalog, spec))):
            yield Finding(("services", name, "strategy"), strategy, NEEDS_RATIO)


def check_judged(catalog: Catalog, look: Judged) -> Iterator[Finding]:
    """Look at every judge with the metrics it gets, each pair once, and place what is found.

    The defaults by themselves are no pair where each service has something of its own.
    """
    defaults = catalog.defaults
    common = ServiceSpec()
    both = (id(defaults.judge), id(_metrics(catalog, common)))
    seen: set[tuple[int, int]] = set()
    told: set[tuple[Path, str]] = set()
    for name, spec in catalog.services.items() or (("", common),):
        judge, metrics = spec.judge or defaults.judge, _metrics(catalog, spec)
        pair = (id(judge), id(metrics))
        if pair in seen:
            continue
        seen.add(pair)
        place = ("", common) if pair == both else (name, spec)
        for found in look(judge, metrics):
            path = _place(found.path, *place)
            if (path, found.expected) not in told:
                told.add((path, found.expected))
                yield Finding(path, found.value, found.expected)


def _metrics(catalog: Catalog, spec: ServiceSpec) -> tuple[MetricSpec, ...]:
    if spec.metrics is not None:
        return spec.metrics
    if catalog.defaults.metrics is not None:
        return catalog.defaults.metrics
    router = spec.router or catalog.defaults.router
    return () if router is None else ROUTER_METRICS[router.kind]


def _place(path: Path, name: str, spec: ServiceSpec) -> Path:
    own = {"judge": spec.judge is not None, "metrics": spec.metrics is not None}
    if path[0] == "metrics" and own["judge"] and not own["metrics"]:
        return ("services", name, "judge")
    if name and (own[str(path[0])] or not any(own.values())):
        return ("services", name, *path)
    return ("defaults", *path)


def _unfit(judge: JudgeSpec, metrics: Sequence[MetricSpec]) -> Iterator[Finding]:
    length = sum(len(text) for metric in metrics for text in metric.templates.values())
    if length > MOST_QUERIES:
        expected = f"queries of at most {MOST_QUERIES:,} characters together, got {length:,}"
        yield Finding(("metrics",), f"{len(metrics)} metrics", expected)
    names = Counter(metric.name for metric in metrics)
    for at, metric in enumerate(metrics):
        if names[metric.name] > 1:
            yield Finding(("metrics", at, "name"), metric.name, "each name of a metric once")
        if judge.language == "promql":
            yield from _wrong_queries(at, metric)
    for name in sorted(judge.kayenta.critical - names.keys()):
        expected = f"a metric of the service ({listed(names) or 'it has none'})"
        expected += nearest(name, names)
        yield Finding(("judge", "kayenta", "critical"), name, expected)


def _wrong_queries(at: int, metric: MetricSpec) -> Iterator[Finding]:
    counted = isinstance(metric, RatioMetric | HistogramMetric)
    for part, template in metric.templates.items():
        raw = counted and part != "shown_by"
        query = render(template, SAMPLES)
        expected = fault(query, raw=raw) if "{{" not in query else "}} after each {{"
        if expected:
            yield Finding(("metrics", at, part), template, expected)
