"""What a bake that runs has seen so far: the second element of the judge's heartbeat.

The first element is the judge's evidence, which another attempt resumes from; this one is for
people, and nothing resumes from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError

from schemas.base import Model, Percent
from schemas.verdict import Counts, VerdictKind

Closeness = Annotated[float, Field(ge=0, le=1)]
"""0 is no sign of it, 1 is there."""


class LiveMetric(Model):
    """One metric, now."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    canary: Counts = Field(description="Of all the evidence.")
    stable: Counts
    canary_now: float | None = Field(
        default=None, description="The canary's rate since the reading before; None without data."
    )
    stable_now: float | None = None
    to_fail: Closeness = Field(
        default=0.0,
        description="log(odds) / log(odds that fail): 0 is no evidence against it, 1 is FAIL.",
    )
    to_go_on: Closeness = Field(
        default=0.0,
        description="On a log scale, how far the upper bound has come from 1 (all requests may be "
        "bad) down to the tolerance; 1 is good enough.",
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
    metrics: tuple[LiveMetric, ...] = ()

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """What a heartbeat brought; None for nothing, or for another version's."""
        try:
            return cls.model_validate(value)
        except ValidationError:
            return None

    @property
    def to_fail(self) -> float:
        """How close the closest metric is to FAIL; one alone fails the canary."""
        return max((one.to_fail for one in self._acting), default=0.0)

    @property
    def to_go_on(self) -> float:
        """How close the farthest metric is to going on; all must be good enough."""
        return min((one.to_go_on for one in self._acting), default=0.0)

    @property
    def _acting(self) -> tuple[LiveMetric, ...]:
        return tuple(one for one in self.metrics if not one.dry_run)
