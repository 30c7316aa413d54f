"""What the judges of this worker see, as it grows: odds, bounds, and how close either is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from schemas.live import Live

METRICS_MOST: Final = 50
"""Metrics of one canary that are shown: the first of its strategy."""
_OF_SERVICE: Final = ("service",)
_OF_METRIC: Final = ("service", "metric")


class JudgeMetrics:
    """Gauges that are there while a service is judged by this worker, and gone right after."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all of them."""

        def gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauge:
            return Gauge(f"aviary_judge_{name}", text, labels, registry=registry)

        text = "Odds against chance that the new version is worse, of one metric."
        self._odds = gauge("odds", text, _OF_METRIC)
        text = "Odds that fail a canary."
        self._limit = gauge("odds_limit", text, _OF_SERVICE)
        text = "At most this extra share of requests is bad, of one metric that has a bound."
        self._bound = gauge("bound", text, _OF_METRIC)
        text = "The bound that is good enough for the next step."
        self._tolerance = gauge("tolerance", text, _OF_METRIC)
        text = "How close a canary is to FAIL, from 0 to 1."
        self._to_fail = gauge("to_fail", text, _OF_SERVICE)
        text = "How close it is to good enough for the next step, from 0 to 1."
        self._to_go_on = gauge("to_go_on", text, _OF_SERVICE)
        self._judged: dict[str, object] = {}
        """By service, who judges it now."""

    @contextmanager
    def judging(self, service: str) -> Iterator[Callable[[Live], None]]:
        """Show what the judge of a service sees until the end."""
        mine = self._judged[service] = object()

        def show(live: Live) -> None:
            if self._judged.get(service) is mine:  # not of an attempt that another has followed
                self._show(service, live)

        try:
            yield show
        finally:
            if self._judged.get(service) is mine:
                del self._judged[service]
                self._forget(service)

    def _show(self, service: str, live: Live) -> None:
        self._limit.labels(service).set(live.threshold)
        self._to_fail.labels(service).set(live.to_fail)
        if live.to_go_on is not None:
            self._to_go_on.labels(service).set(live.to_go_on)
        for one in live.metrics[:METRICS_MOST]:
            self._odds.labels(service, one.name).set(one.e_value)
            if one.upper_bound is not None:
                self._bound.labels(service, one.name).set(one.upper_bound)
            if one.tolerance is not None:
                self._tolerance.labels(service, one.name).set(one.tolerance)

    def _forget(self, service: str) -> None:
        for gauge in (self._odds, self._bound, self._tolerance, self._limit, self._to_fail):
            gauge.remove_by_labels({"service": service})
        self._to_go_on.remove_by_labels({"service": service})
