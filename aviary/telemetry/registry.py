"""Where this process's metrics are: one registry for each part, scraped, and pushed from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakSet

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aviary import __version__

_exported: WeakSet[CollectorRegistry] = WeakSet()


def new_registry(role: str) -> CollectorRegistry:
    """A registry whose metrics are pushed as well, where metrics are pushed.

    It says that this process, or this part of it, is there: `aviary_info{role,version}`.
    """
    registry = CollectorRegistry()
    text = "1 for each part of Aviary that runs."
    info = Gauge("aviary_info", text, ["role", "version"], registry=registry)
    info.labels(role, __version__).set(1)
    _exported.add(registry)
    return registry


def exported() -> Collector:
    """All metrics of this process."""
    return Several(tuple(_exported))


class Several(Collector):
    """Several registries as one: a name that two have is shown with the samples of both."""

    def __init__(self, registries: Iterable[CollectorRegistry]) -> None:
        self._registries = tuple(registries)

    def collect(self) -> Iterator[Metric]:
        """Every metric once."""
        found: dict[str, Metric] = {}
        for registry in self._registries:
            for metric in registry.collect():
                first = found.setdefault(metric.name, metric)
                if first is not metric:
                    _add_unknown(first, metric)
        yield from found.values()


def _add_unknown(first: Metric, other: Metric) -> None:
    known = {(one.name, frozenset(one.labels.items())) for one in first.samples}
    first.samples += [
        one for one in other.samples if (one.name, frozenset(one.labels.items())) not in known
    ]
