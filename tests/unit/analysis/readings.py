"""A small imaginary service whose raw counters the tests read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from schemas.reading import ArmReading, MetricReading, Series, Snapshot

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
EDGES = (0.1, 0.5, 1.0)


def at(seconds: float) -> datetime:
    """That many seconds after the start."""
    return START + timedelta(seconds=seconds)


def series(value: float, started: datetime | None = None, **labels: str) -> Series:
    """One raw series."""
    return Series(labels=labels, value=value, started_at=started)


@dataclass
class Pod:
    """Raw counters of one instance."""

    name: str
    total: float = 1000.0
    bad: float = 0.0
    slow: dict[float, float] = field(default_factory=lambda: dict.fromkeys(EDGES, 0.0))

    def serve(self, requests: float, bad: float = 0.0, slower: float = 0.0) -> None:
        """Serve requests: so many bad ones, and so many slower than every edge."""
        self.total += requests
        self.bad += bad
        for edge in EDGES:
            self.slow[edge] += slower


def arm(*pods: Pod) -> ArmReading:
    """All parts of all kinds for these instances; no error series before the first error."""
    buckets = [
        series(pod.total - pod.slow[edge], instance=pod.name, le=f"{edge:g}")
        for pod in pods
        for edge in EDGES
    ]
    buckets += [series(pod.total, instance=pod.name, le="+Inf") for pod in pods]
    return ArmReading(
        parts={
            "total": tuple(series(pod.total, instance=pod.name) for pod in pods),
            "bad": tuple(series(p.bad, instance=p.name, code="5") for p in pods if p.bad > 0),
            "buckets": tuple(buckets),
            "value": tuple(series(100.0, instance=pod.name) for pod in pods),
        }
    )


def only(reading: ArmReading, *parts: str) -> ArmReading:
    """These parts alone."""
    return ArmReading(parts={part: reading.parts[part] for part in parts})


def both(canary: ArmReading | None, stable: ArmReading | None) -> MetricReading:
    """One metric of both arms."""
    return MetricReading(canary=canary, stable=stable)


def snapshot(
    seconds: float, metrics: Mapping[str, MetricReading] | None = None, changed: float = 0.0
) -> Snapshot:
    """All metrics at one time."""
    return Snapshot(
        at=at(seconds), weight=5.0, weight_changed_at=at(changed), metrics=dict(metrics or {})
    )
