"""An A/B test: two versions for a fixed time on equal audiences, with a declared metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final, Self

from pydantic import Field, model_validator

from schemas.base import Duration, Model, SomeDuration
from schemas.judging import JudgeSpec, Method, MetricName, MetricSpec, RatioMetric

LONGEST: Final = timedelta(days=28)
"""Of a test: one call of the judge, which may take 30 days."""
HALF: Final = 50.0
_SEQUENTIAL: Final = (Method.ADAPTIVE, Method.SHARE, Method.LR)


class AbSpec(Model):
    """What an A/B test is decided by, and how long it goes on."""

    metric: MetricName = Field(
        description="The declared metric: one of the service, of kind ratio. It is compared, and "
        "takes nothing back; the service's others do."
    )
    lasts: SomeDuration = Field(
        le=LONGEST, description="How long, if no difference is shown before; at most 28d."
    )
    at_least: Duration = Field(
        default=timedelta(0),
        description="Not shorter, whatever is shown: whole weeks, where weekdays differ.",
    )

    @model_validator(mode="after")
    def _least_up_to_most(self) -> Self:
        if self.at_least > self.lasts:
            raise ValueError("expected at_least to be at most lasts")
        return self


def ab_lacks(ab: AbSpec, judge: JudgeSpec, metrics: Sequence[MetricSpec] | None) -> Iterator[str]:
    """Say what a service lacks for an A/B test: what was expected of its strategy.

    Args:
        ab: the test.
        judge: of the service.
        metrics: of the service; None: it names none.
    """
    found = next((one for one in metrics or () if one.name == ab.metric), None)
    if found is None:
        known = ", ".join(one.name for one in metrics or ()) or "it names none"
        yield f"ab.metric to be one of the service's metrics ({known}), got {ab.metric}"
    elif not isinstance(found, RatioMetric) or found.slo is not None:
        yield f"ab.metric {ab.metric} to be of kind ratio, compared with stable (without slo)"
    if judge.method not in _SEQUENTIAL:
        able = ", ".join(_SEQUENTIAL)
        yield f"a judge with a sequential test ({able}), got method {judge.method}"


def compared(ab: AbSpec | None, metrics: Sequence[MetricSpec]) -> tuple[MetricSpec, ...]:
    """The metrics as they are judged by: the declared one is shown, and takes nothing back."""
    name = None if ab is None else ab.metric
    return tuple(
        one.model_copy(update={"dry_run": True}) if one.name == name else one for one in metrics
    )
