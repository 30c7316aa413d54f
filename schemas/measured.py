"""What one bake measured, as a canary tells it: the counts that its verdict stands on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from schemas.base import Model, Percent, Version
from schemas.lane_counts import LaneCounts

MEASURED_BYTES: Final = 16 * 1024
"""Of one bake's series as JSON; of one that is longer, only the length is told."""
MEASURED_MOST: Final = 3
"""Bakes that a report carries at most: the oldest are left out, and their numbers show it."""


class MeasuredBake(Model):
    """Where and when one bake was measured, or the watch while a canary waits."""

    number: int = Field(ge=0, description="Of what this canary measured, from 0, without gaps.")
    at: datetime = Field(description="When the judge handed it over.")
    stable: Version | None = Field(description="The version that it was held against.")
    weight: Percent = Field(description="What the canary had meanwhile.")
    whom: str = Field(
        default="",
        description="Name of the audience whose requests the weight is a share of; empty: "
        "everybody's.",
    )
    apart: bool = Field(
        default=False, description="Whether the requests were its own, beside those of users."
    )
    lane: LaneCounts | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="How many came with the lane of the release; left out where nobody counts it.",
    )


class Measured(MeasuredBake):
    """The same with its counts, point by point, as plain data: no report fails for want of them."""

    series: dict[str, Any] | None = Field(
        description="Columns of counts, as `EvidenceSeries` has them; null where they would be too "
        "long, or nothing was measured."
    )
