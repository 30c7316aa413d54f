"""What a judge saw over one bake, as columns: short enough for a history, enough for a chart."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator

from schemas.base import Model

Column = tuple[float, ...]
Gaps = tuple[float | None, ...]


class StreamSeries(Model):
    """Requests of both versions, counted from one point to the next.

    Of a histogram, `bad` are those slower than one edge; of a gauge, `bad` is the sum over
    instances and the other column counts instances.
    """

    bad_canary: Column
    canary: Column
    bad_stable: Column
    stable: Column


class MetricEvidenceSeries(Model):
    """One metric, point by point."""

    streams: tuple[StreamSeries, ...] = Field(
        default=(), description="One; of a histogram, one for each edge; of a limit, none."
    )
    edges: tuple[float, ...] = Field(default=(), description="In seconds, one for each stream.")
    odds: Column | None = Field(
        default=None, description="log10 of the e-value; None: the method has none."
    )
    bound: Gaps | None = Field(
        default=None, description="At most this extra share is bad; None: there is no bound."
    )
    value: Gaps | None = Field(
        default=None, description="Of a fixed limit: the worst value since the point before."
    )


class RouterMetricSeries(Model):
    """One metric, as the router itself counted it."""

    streams: tuple[StreamSeries, ...] = Field(
        description="One; of a histogram, one for each edge. Zeros: nothing was counted then."
    )
    edges: tuple[float, ...] = Field(default=(), description="In seconds, one for each stream.")


class RouterEvidenceSeries(Model):
    """What the router's own counters showed. Every column has as many numbers as `at`.

    Of a long bake the newest readings are as they were, and older ones are added up.
    """

    began_at: datetime
    at: Column = Field(min_length=1, description="When a reading ended, in s since `began_at`.")
    took: Column = Field(description="Seconds from where it begins until then.")
    metrics: dict[str, RouterMetricSeries]

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        columns: list[tuple[str, Column]] = [("took", self.took)]
        for name, one in self.metrics.items():
            for stream in one.streams:
                columns += [
                    (f"{name}.{of}", getattr(stream, of)) for of in StreamSeries.model_fields
                ]
        for name, column in columns:
            if len(column) != len(self.at):
                raise ValueError(
                    f"router.{name}: expected {len(self.at)} numbers, got {len(column)}"
                )
        return self


class EvidenceSeries(Model):
    """One bake. Every column has as many numbers as `at`."""

    began_at: datetime
    at: Column = Field(min_length=1, description="Seconds since `began_at`, growing.")
    odds: Column | None = Field(
        default=None, description="log10 of the e-value over all metrics that are acted upon."
    )
    needed: float = Field(description="log10 of the odds that fail the canary: of 1/alpha.")
    metrics: dict[str, MetricEvidenceSeries]
    router: RouterEvidenceSeries | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="What the router itself counted, where it was asked.",
    )

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        columns: list[tuple[str, Gaps | None]] = [("odds", self.odds)]
        for name, one in self.metrics.items():
            columns += [(f"{name}.{of}", getattr(one, of)) for of in ("odds", "bound", "value")]
            for stream in one.streams:
                columns += [
                    (f"{name}.{of}", getattr(stream, of)) for of in StreamSeries.model_fields
                ]
        for name, column in columns:
            if column is not None and len(column) != len(self.at):
                raise ValueError(f"{name}: expected {len(self.at)} numbers, got {len(column)}")
        return self
