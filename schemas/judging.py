"""How a canary is judged: the method, its settings, and the metrics.

The words of the formulas are those of `docs/judging.md`: *alpha* is the chance of failing a good
canary, *beta* the chance of passing one that is worse than the tolerance, the *margin* is how many
times stable's rate a canary may have before that counts against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, WithJsonSchema, model_validator

from schemas.base import Duration, Model, SomeDuration, SomePercent, format_duration
from schemas.catalog_check import nearest

_VARIABLE = re.compile(r"\{\{([^{}]*+)\}\}")
_MOST_QUERY = 10_000
_PARTS = frozenset({"bad", "total", "shown_by", "buckets", "value"})
"""Fields that may hold own PromQL."""
_SHOWN = 80
_FASTEST = timedelta(milliseconds=100)
_ROUTER_PACE = timedelta(milliseconds=250)
TEMPLATE_VARIABLES = ("service", "version", "pool")
"""What a PromQL template may use: the service, the arm's version, the router's name for both."""

PromQL = Annotated[
    str,
    Field(min_length=1, max_length=_MOST_QUERY),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": _MOST_QUERY,
            "not": {"pattern": r"\{\{(?!\s*(service|version|pool)\s*\}\})[^{}]*\}\}"},
        }
    ),
]
"""A template, of a length that is ten times what is usual."""

MetricName = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_-]{0,62}$",
        description="Lower-case letters, digits, _ and -, at most 63.",
    ),
]


LabelName = Annotated[
    str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,127}$", description="A label of Prometheus.")
]


Rate = Annotated[float, Field(ge=0, le=1, description="A share of requests, 0 to 1.")]


class Arm(StrEnum):
    """The two versions that are compared."""

    CANARY = "canary"
    STABLE = "stable"


class Method(StrEnum):
    """How evidence becomes a verdict."""

    ADAPTIVE = "adaptive"
    """Bets on the canary's share of the bad requests, with stakes that follow from what was seen:
    holds when errors come in bursts."""
    SHARE = "share"
    """The same with stakes that stay: slower where the regression is clear, or begins late."""
    LR = "lr"
    """Likelihood ratio: faster, and only right when requests fail independently."""
    KAYENTA = "kayenta"
    """Spinnaker's Mann-Whitney judge, for those who move over: no promise when looked at often."""
    THRESHOLD = "threshold"
    """Fixed limits."""


class Direction(StrEnum):
    """Which way is worse."""

    HIGHER_IS_BAD = "higher_is_bad"
    LOWER_IS_BAD = "lower_is_bad"


def render(template: str, variables: Mapping[str, str]) -> str:
    """Fill the `{{service}}`, `{{version}}` and `{{pool}}` of a PromQL template.

    Values are escaped for a PromQL string in double quotes.

    Raises:
        ValueError: the template names another variable, or one without a value.
    """

    def fill(match: re.Match[str]) -> str:
        name = match.group(1).strip()
        if name not in TEMPLATE_VARIABLES or name not in variables:
            raise ValueError(
                f"PromQL template: unknown variable {{{{{name[:_SHOWN]}}}}}, "
                f"expected one of {', '.join(TEMPLATE_VARIABLES)}"
                f"{nearest(name, TEMPLATE_VARIABLES)}"
            )
        return variables[name].replace("\\", "\\\\").replace('"', '\\"')

    return _VARIABLE.sub(fill, template)


class _Metric(Model):
    part_names: ClassVar[tuple[str, ...]]
    """The parts whose raw series make up one reading, required ones first."""
    required_parts: ClassVar[tuple[str, ...]]
    """The parts that own PromQL must give."""

    name: MetricName
    query: str | None = Field(
        default=None,
        max_length=63,
        description="A query of the pack; the metric's name if neither it nor own PromQL is given.",
    )
    direction: Direction = Direction.HIGHER_IS_BAD
    weight: float = Field(default=1.0, gt=0, description="Share of the evidence, relative.")
    dry_run: bool = Field(default=False, description="Judged and shown, not acted upon.")
    margin: float | None = Field(
        default=None, ge=1, le=100, description="Instead of the judge's margin."
    )
    absolute_margin: Rate | None = Field(
        default=None, description="Instead of the judge's absolute margin."
    )
    tolerance: float | None = Field(
        default=None, gt=0, le=1, description="Instead of the judge's tolerance."
    )

    @property
    def templates(self) -> dict[str, str]:
        """PromQL template per part; empty until the pack's query is filled in."""
        parts = {part: getattr(self, part) for part in self.part_names}
        return {part: text for part, text in parts.items() if text is not None}

    @model_validator(mode="before")
    @classmethod
    def _query_is_named_like_the_metric(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "name" not in data:
            return data
        given = [part for part in ("query", *cls.part_names) if data.get(part) is not None]
        return data if given else {**data, "query": data["name"]}

    @model_validator(mode="after")
    def _query_or_own(self) -> Self:
        own = self.templates
        if own and self.query is not None:
            raise ValueError(
                f"metric {self.name}: give query or own PromQL ({', '.join(own)}), not both"
            )
        missing = [part for part in self.required_parts if own and part not in own]
        if missing:
            raise ValueError(f"metric {self.name}: own PromQL also needs {', '.join(missing)}")
        for text in own.values():
            render(text, dict.fromkeys(TEMPLATE_VARIABLES, ""))
        return (
            self if own or self.query is not None else self.model_copy(update={"query": self.name})
        )


def _schema_of(*required: str, **more: Any) -> ConfigDict:
    """What JSON Schema can say of a kind of metric: its own PromQL is whole, or there is none."""

    def given(*parts: str) -> dict[str, Any]:
        return {"required": [*parts], "properties": {part: {"type": "string"} for part in parts}}

    def extend(schema: dict[str, Any]) -> None:
        schema["required"] = sorted({*schema.get("required", ()), "kind"})
        parts = [name for name in schema["properties"] if name in _PARTS]
        rules: list[dict[str, Any]] = [
            {"if": given(part), "then": {**given(*required), "not": given("query")}}
            for part in parts
        ]
        schema["allOf"] = [*rules, *([more] if more else [])]

    return ConfigDict(json_schema_extra=extend)


class RatioMetric(_Metric):
    """Bad requests among all requests, from two raw counters."""

    model_config = _schema_of("bad", "total")

    kind: Literal["ratio"] = "ratio"
    bad: PromQL | None = Field(
        default=None,
        description="PromQL of the raw counter of bad requests (of good ones if lower is bad).",
    )
    total: PromQL | None = Field(default=None, description="PromQL of the raw counter of requests.")
    shown_by: PromQL | None = Field(
        default=None,
        description="PromQL of series that are there whenever bad requests would be seen, such as "
        "all classes of the counter: beside them no series of bad requests means none.",
    )
    slo: float | None = Field(
        default=None, gt=0, lt=1, description="Judge against this share instead of stable."
    )

    part_names: ClassVar[tuple[str, ...]] = ("bad", "total", "shown_by")
    required_parts: ClassVar[tuple[str, ...]] = ("bad", "total")


class HistogramMetric(_Metric):
    """Requests slower than an edge among all requests, for a few existing bucket edges."""

    model_config = _schema_of(
        "buckets",
        **{
            "if": {"required": ["slo"], "properties": {"slo": {"type": "number"}}},
            "then": {
                "required": ["edges"],
                "properties": {"edges": {"minItems": 1, "maxItems": 1}},
            },
        },
    )

    kind: Literal["histogram"] = "histogram"
    buckets: PromQL | None = Field(
        default=None, description="PromQL of the raw, cumulative buckets, label le kept."
    )
    total: PromQL | None = Field(
        default=None, description="PromQL of the raw count; the +Inf bucket if left out."
    )
    unit: Literal["s", "ms"] = Field(default="s", description="Unit of the label le.")
    edges: tuple[float, ...] = Field(
        default=(),
        max_length=6,
        json_schema_extra={"uniqueItems": True},
        description="Bucket edges in seconds; near stable's p50, p90 and p99 if left out.",
    )
    slo: float | None = Field(
        default=None, gt=0, lt=1, description="Largest share slower than the one edge."
    )

    part_names: ClassVar[tuple[str, ...]] = ("buckets", "total")
    required_parts: ClassVar[tuple[str, ...]] = ("buckets",)

    @model_validator(mode="after")
    def _edges_fit(self) -> Self:
        if any(edge <= 0 for edge in self.edges) or sorted(set(self.edges)) != list(self.edges):
            raise ValueError(f"metric {self.name}: edges must be positive and grow")
        if self.slo is not None and len(self.edges) != 1:
            raise ValueError(f"metric {self.name}: slo needs exactly one edge")
        return self


class GaugeMetric(_Metric):
    """A value per instance (memory, CPU), compared as a mean over instances."""

    model_config = _schema_of("value")

    kind: Literal["gauge"] = "gauge"
    value: PromQL | None = Field(default=None, description="PromQL: one value per instance, >= 0.")
    margin: float | None = Field(
        default=None,
        ge=1.2,
        le=100,
        description="Instead of the judge's margin; instances differ, so at least 1.2.",
    )

    part_names: ClassVar[tuple[str, ...]] = ("value",)
    required_parts: ClassVar[tuple[str, ...]] = ("value",)


class ThresholdMetric(_Metric):
    """A fixed limit on a value of the canary: nothing statistical."""

    model_config = _schema_of("value")

    kind: Literal["threshold"] = "threshold"
    value: PromQL | None = Field(default=None, description="PromQL: every series is checked.")
    limit: float = Field(allow_inf_nan=False, description="The last value that is still good.")
    checks: int = Field(default=1, ge=1, description="Checks in a row beyond the limit that fail.")

    part_names: ClassVar[tuple[str, ...]] = ("value",)
    required_parts: ClassVar[tuple[str, ...]] = ("value",)


MetricSpec = Annotated[
    RatioMetric | HistogramMetric | GaugeMetric | ThresholdMetric, Field(discriminator="kind")
]
"""One metric of a canary."""

METRIC: TypeAdapter[MetricSpec] = TypeAdapter(MetricSpec)
"""Reads one metric from plain data."""


class ThresholdSettings(Model):
    """Limits of `method: threshold`."""

    max_error_ratio: Rate | None = Field(default=0.01, description="Of a ratio metric.")
    max_latency: Duration | None = Field(
        default=None, description="Of a histogram metric, at the quantile; None is no limit."
    )
    quantile: float = Field(default=0.99, gt=0, lt=1)
    max_times_stable: float | None = Field(
        default=None, ge=1, description="Largest ratio to stable, of any metric."
    )
    window: SomeDuration = Field(default=timedelta(minutes=1), description="Length of one check.")
    checks: int = Field(default=1, ge=1, description="Failed checks, in all, that fail the canary.")
    chance: Rate | None = Field(
        default=None,
        gt=0,
        description="Fail only what a version at the limit would show with less than this chance, "
        "of all that was seen so far; None: any window over the limit. A canary that is judged by "
        "limits for its audience has alpha here, if this is left out.",
    )


class KayentaSettings(Model):
    """Settings of `method: kayenta`, named as Spinnaker names them."""

    pass_score: float = Field(default=75, ge=0, le=100)
    marginal_score: float = Field(
        default=50, ge=0, le=100, description="Below it the canary fails."
    )
    step: SomeDuration = Field(
        default=timedelta(minutes=1), description="Length of one data point."
    )
    min_points: int = Field(
        default=5,
        ge=1,
        description="Ours: below 5 its interval is clamped and fails good canaries.",
    )
    nan_strategy: Literal["remove", "replace"] = "remove"
    outlier_strategy: Literal["keep", "remove"] = "keep"
    effect_size: Literal["meanRatio", "cles"] = "meanRatio"
    allowed_increase: float | None = Field(
        default=None, description="Effect below which an increase is not High; Kayenta's default."
    )
    allowed_decrease: float | None = None
    critical: frozenset[MetricName] = Field(
        default=frozenset(), description="Metrics that fail the canary alone."
    )

    @model_validator(mode="after")
    def _scores_ordered(self) -> Self:
        if self.marginal_score > self.pass_score:
            raise ValueError("marginal_score must not be above pass_score")
        return self


class JudgeSpec(Model):
    """How the metrics of a canary are judged. Every field has a default that is safe to keep."""

    method: Method = Method.ADAPTIVE
    pack: str | None = Field(
        default=None,
        description="The metric pack that names queries; left out: that of the router's kind.",
    )
    language: Literal["promql", "other"] = Field(
        default="promql",
        description="Of own queries; other (such as MetricsQL) is asked as it is, unchecked.",
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Chance to fail a good canary, over the whole rollout and all metrics.",
    )
    beta: float = Field(
        default=0.05, gt=0, lt=1, description="Chance to pass one worse than the tolerance."
    )
    margin: float = Field(
        default=1.0,
        ge=1,
        le=100,
        description="Times stable's rate that is still good; where instances differ for good, "
        "1.25, and 1.5 where one of them is the canary.",
    )
    absolute_margin: Rate = Field(default=0.0, description="Added to what is still good.")
    tolerance: float = Field(
        default=0.005,
        gt=0,
        le=1,
        description="Extra share of bad requests that is good enough to go on.",
    )
    latency_tolerance: float = Field(
        default=0.05, gt=0, le=1, description="The same for requests slower than an edge."
    )
    cluster: int = Field(
        default=1, ge=1, description="lr only: errors that may have come as one (M)."
    )
    bound_cluster: int = Field(
        default=5, ge=1, description="The same for the go-on bound and for limits (slo)."
    )
    interval: SomeDuration = Field(
        default=timedelta(seconds=15), description="How often the metrics are read."
    )
    fastest: SomeDuration | None = Field(
        default=None,
        description="Shortest time between two readings of what counts requests, where there is "
        "traffic: as long as one burst of errors may last, from 100ms. Left out: the interval.",
    )
    router_interval: Duration | None = Field(
        default=None,
        description="How often the counts of the router itself are read, where it shows them, "
        "beside the metrics: 0s for never, or from 100ms. Left out: 250ms where `burst` is said "
        "and shorter than the time between two readings of the metrics, and never elsewhere.",
    )
    burst: Duration | None = Field(
        default=None,
        description="Longest time for which the errors of one version may go on by chance, as of "
        "an instance that pauses: what the router shows within it is no more than one piece of "
        "evidence. Up to the interval. Left out: `fastest`, or the interval.",
    )
    warmup: Duration = Field(
        default=timedelta(0), description="Left out after the canary's start and each pod's."
    )
    looks: int = Field(
        default=240, ge=1, description="Intervals in which a regression may begin (T)."
    )
    max_groups: int = Field(
        default=10, ge=1, le=10, description="Most groups of pods that are compared apart."
    )
    largest_user: SomePercent | None = Field(
        default=None,
        description="Largest share of the requests that one user may have, in percent: what may "
        "explain a share of requests that is not the weight. Left out: nearly all.",
    )
    replica_labels: tuple[LabelName, ...] | None = Field(
        default=None,
        max_length=5,
        description="Labels that tell copies of one series apart, as of a pair of Prometheus "
        "servers: one copy of each instance counts. Left out: copies are refused; empty: there "
        "are none, whatever it looks like.",
    )
    accept_warnings: bool = Field(
        default=False,
        description="Judge by answers with warnings, which may lack a part of the data; no series "
        "of bad requests then never means none. Else they count as failed queries.",
    )
    threshold: ThresholdSettings = ThresholdSettings()
    kayenta: KayentaSettings = KayentaSettings()

    @model_validator(mode="after")
    def _fastest_within_bounds(self) -> Self:
        if self.fastest is not None and not _FASTEST <= self.fastest <= self.interval:
            raise ValueError(
                f"fastest: got {format_duration(self.fastest)}, expected from "
                f"{format_duration(_FASTEST)} to the interval ({format_duration(self.interval)})"
            )
        return self

    @model_validator(mode="after")
    def _router_interval_within_bounds(self) -> Self:
        if self.router_interval and self.router_interval < _FASTEST:
            raise ValueError(
                f"router_interval: got {format_duration(self.router_interval)}, "
                f"expected null, 0s, or {format_duration(_FASTEST)} or more"
            )
        return self

    @model_validator(mode="after")
    def _burst_within_bounds(self) -> Self:
        if self.burst is not None and self.burst > self.interval:
            raise ValueError(
                f"burst: got {format_duration(self.burst)}, "
                f"expected the interval ({format_duration(self.interval)}) or less"
            )
        return self

    @property
    def longest_burst(self) -> timedelta:
        """For how long the errors of one version may go on by chance."""
        return (self.fastest or self.interval) if self.burst is None else self.burst

    @property
    def router_pace(self) -> timedelta | None:
        """How often the router is asked; None: never.

        Where bursts may last as long as an interval, it would be no sooner than the metrics
        source, and cost that a part of alpha: then it is asked only where a catalog says so.
        """
        if self.router_interval is None:
            sooner = self.burst is not None and self.burst < (self.fastest or self.interval)
            return _ROUTER_PACE if sooner else None
        return self.router_interval or None


class RampSpec(Model):
    """A ramp that spends no more than a budget of extra failed requests."""

    budget: float = Field(
        gt=0, allow_inf_nan=False, description="Extra failed requests allowed for the rollout (B)."
    )
    cap: SomePercent = Field(
        default=50.0, description="Largest weight before the canary is accepted."
    )
    interval: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="Time between two decisions, route propagation included; from 1s to 5m.",
    )
    tolerance: float = Field(
        default=0.001, gt=0, le=1, description="Extra share of failed requests that is accepted."
    )
    full_after: Duration = Field(
        default=timedelta(minutes=1),
        description="Time seen at full_weight or more before the canary gets everything.",
    )
    full_weight: SomePercent = 25.0
    hold_after: SomeDuration = Field(
        default=timedelta(hours=1),
        description="A ramp not accepted by then is inconclusive; more than 0s.",
    )
    pace: Literal["robust", "independent"] = Field(
        default="robust",
        description="robust allows for clustered errors; independent is faster and does not.",
    )


def is_acting_ratio(metric: MetricSpec) -> bool:
    """Whether a metric counts failed requests against stable: what a ramp's budget is made of."""
    return isinstance(metric, RatioMetric) and not metric.dry_run and metric.slo is None


def read_metric(value: Any) -> MetricSpec:
    """Read one metric from plain data.

    Raises:
        pydantic.ValidationError: an unknown kind or field, or a value out of range.
    """
    return METRIC.validate_python(value)
