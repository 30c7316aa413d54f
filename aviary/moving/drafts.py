"""What both tools' manifests become before a catalog is written: one model, neutral of either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aviary.moving.source import Place
from schemas.base import format_duration

ZERO = timedelta(0)
FULL = 100.0
_EXACT = 2.0**53


@dataclass
class StepDraft:
    """A weight, how long it is held, and whether a person is asked then."""

    weight: float
    shortest: timedelta = ZERO
    longest: timedelta = ZERO
    gate: bool = False

    def hold(self, shortest: timedelta, longest: timedelta | None = None) -> None:
        """Hold it longer."""
        self.shortest += shortest
        self.longest += shortest if longest is None else longest

    def data(self) -> Any:
        """The step as a catalog has it."""
        weight = plain(self.weight)
        found: dict[str, Any] = {"weight": weight}
        if self.longest > ZERO:
            found["bake"] = bake(self.shortest, self.longest)
        if self.gate:
            found["gate"] = True
        return found if len(found) > 1 else weight


def plain(number: float) -> float:
    """A number as people write it: 5, and not 5.0."""
    return int(number) if number == int(number) and abs(number) < _EXACT else number


def bake(shortest: timedelta, longest: timedelta) -> Any:
    """A bake as a catalog has it."""
    if shortest == longest:
        return format_duration(longest)
    return {"min": format_duration(shortest), "max": format_duration(longest)}


@dataclass
class MetricDraft:
    """A metric as a catalog has it."""

    spec: dict[str, Any]
    place: Place
    interval: timedelta | None = None
    """How often the tool measures it."""


@dataclass(frozen=True)
class RouterDraft:
    """A router that stands for a traffic routing block."""

    kind: str
    options: dict[str, Any]
    place: Place


@dataclass
class HookDraft:
    """A hook that could stand for a webhook, once its receiver speaks Aviary's events."""

    spec: dict[str, Any]
    place: Place


@dataclass
class NoticeDraft:
    """A rule of the catalog's notices."""

    channel: str
    at_least: str
    place: Place


@dataclass
class ServiceDraft:
    """One service."""

    name: str
    place: Place
    what: str
    """The manifest, in words: `Rollout checkout`."""
    steps: list[StepDraft] = field(default_factory=list)
    metrics: list[MetricDraft] = field(default_factory=list)
    routers: list[RouterDraft] = field(default_factory=list)
    """None: no router is known. Several: all of them carry it."""
    interval: timedelta | None = None
    pack: str | None = None
    analysed: bool = False
    """Whether the tool judges it at all."""
    hooks: list[HookDraft] = field(default_factory=list)
    notices: list[NoticeDraft] = field(default_factory=list)

    def add_metric(self, metric: MetricDraft) -> None:
        """Take a metric, once, under a name that no other one of the service has."""
        if any(known.spec == metric.spec for known in self.metrics):
            return
        taken = {known.spec["name"] for known in self.metrics}
        metric.spec["name"] = next(name for name in names(metric.spec["name"]) if name not in taken)
        self.metrics.append(metric)
        if metric.interval is not None:
            self.interval = min(self.interval or metric.interval, metric.interval)


def names(name: str) -> Iterator[str]:
    """The name, and others like it."""
    yield name
    at = 1
    while True:
        at += 1
        yield f"{name[:58]}-{at}"


def metric_name(text: str) -> str:
    """A name of a metric as a catalog takes it: lower-case letters, digits, _ and -, at most 63."""
    kept = "".join(
        one if one.isascii() and (one.isalnum() or one in "_-") else "-" for one in text.lower()
    )
    kept = kept.strip("-_")
    return (kept if kept[:1].isalpha() else f"m-{kept}".rstrip("-"))[:63]
