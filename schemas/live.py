"""What a bake that runs has seen so far: the second element of the judge's heartbeat.

The first element is the judge's evidence, which another attempt resumes from; this one is for
people, and nothing resumes from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError

from schemas.base import Model, Percent
from schemas.lane_counts import LaneCounts
from schemas.verdict import Counts, VerdictKind

BoundaryProgress = Annotated[float, Field(ge=0, le=1)]
"""0 is no sign of it, 1 is there."""


class LiveMetric(Model):
    """One metric, now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: str = Field(
        default="ratio",
        description="Of the metric: ratio and histogram count requests, gauge and threshold don't.",
    )
    canary: Counts = Field(description="Of all the evidence.")
    stable: Counts
    canary_now: float | None = Field(
        default=None, description="The canary's rate in the last minute; None without data."
    )
    stable_now: float | None = None
    e_value: float = Field(default=1.0, ge=0, description="Odds against chance, of it alone.")
    to_fail: BoundaryProgress = Field(
        default=0.0, description="How close it alone would be to FAIL: `analysis.boundaries`."
    )
    upper_bound: float | None = Field(default=None, description="At most this extra share is bad.")
    tolerance: float | None = Field(default=None, description="The bound that is good enough.")
    to_go_on: BoundaryProgress | None = Field(
        default=None, description="How far the bound has come; None: it has no bound."
    )
    edge: float | None = Field(
        default=None, description="Histogram: counts are of requests slower than this, in seconds."
    )
    dry_run: bool = False
    note: str = ""


class Live(Model):
    """What the judge sees of one canary at one time.

    Unknown fields are ignored, unlike elsewhere: a newer worker may show more.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    kind: VerdictKind
    sentence: str
    weight: Percent
    started_at: datetime = Field(description="When this bake began.")
    bake_min: float | None = Field(default=None, description="Seconds; None: until told.")
    bake_max: float | None = None
    share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of requests that the router sent to the canary; None: not seen.",
    )
    requests: int | None = Field(default=None, ge=0, description="That share is out of so many.")
    e_value: float = Field(
        default=1.0, ge=0, description="Odds against chance, over all metrics that are acted upon."
    )
    threshold: float = Field(default=20.0, gt=1, description="The odds that fail the canary.")
    to_fail: BoundaryProgress = Field(default=0.0, description="How close to FAIL; 1 is FAIL.")
    to_go_on: BoundaryProgress | None = Field(
        default=None,
        description="How close the metric is that is farthest from good enough; None: no metric "
        "has a bound, and only time decides.",
    )
    metrics: tuple[LiveMetric, ...] = ()
    lane: LaneCounts | None = Field(
        default=None, description="What came with the lane of the release; None: not counted."
    )

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """What a heartbeat brought; None for nothing, or for another version's."""
        try:
            return cls.model_validate(value)
        except ValidationError:
            return None
