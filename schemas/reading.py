"""What the judge is shown: the raw series of every metric of both arms, at one time."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from schemas.base import Model, Percent


class Series(Model):
    """One raw series at one time."""

    labels: dict[str, str]
    value: float
    started_at: datetime | None = Field(
        default=None, description="When its instance started, where that is known."
    )


class ArmReading(Model):
    """What one query per part answered for one arm."""

    parts: dict[str, tuple[Series, ...]] = Field(
        description="By part name; an empty tuple where the query answered with no series."
    )


class MetricReading(Model):
    """One metric of both arms. An arm whose query failed is None: delayed, never guessed."""

    canary: ArmReading | None
    stable: ArmReading | None


class Snapshot(Model):
    """All metrics of one canary, read at one time."""

    at: datetime
    weight: Percent
    weight_changed_at: datetime = Field(
        description="When the weight was last changed and confirmed: no interval across it counts."
    )
    metrics: dict[str, MetricReading]
