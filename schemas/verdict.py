"""What the judge says: a verdict, why, and on which evidence."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from schemas.base import Model
from schemas.outside import Text
from schemas.reading import Fault


class VerdictKind(StrEnum):
    """The three answers."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Reason(StrEnum):
    """Why; a closed set, the same in logs, metrics, notices and tests."""

    WORSE_THAN_STABLE = "worse_than_stable"
    """FAIL: the odds against chance passed 1/alpha."""
    OVER_LIMIT = "over_limit"
    """FAIL: a limit (slo, threshold) was broken."""
    KAYENTA_SCORE = "kayenta_score"
    """FAIL: Kayenta's score is below the marginal score."""
    SAMPLE_RATIO_MISMATCH = "sample_ratio_mismatch"
    """FAIL: the observed share of requests is not the weight that the router confirmed, and no
    user's rate explains it. INCONCLUSIVE: all requests started on one version."""
    GOOD_ENOUGH = "good_enough"
    """PASS: the upper bound on the extra failures is within the tolerance, for every metric."""
    WITHIN_LIMITS = "within_limits"
    """PASS: every check held until the bake ended, and there was data."""
    TIME_ELAPSED = "time_elapsed"
    """PASS: the bake ended and no metric was asked for."""
    COLLECTING = "collecting"
    """INCONCLUSIVE, not final: the bake goes on."""
    NO_DATA = "no_data"
    """INCONCLUSIVE: at least one metric had nothing to judge."""
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"
    """INCONCLUSIVE: the bake ended before the bound came within the tolerance."""
    FOREIGN_CHANGE = "foreign_change"
    """INCONCLUSIVE: somebody else has changed the route, so that the weight is not the canary's."""
    NOT_JUDGED = "not_judged"
    """INCONCLUSIVE: the judge itself never said anything: it failed, hung, or had no worker."""
    BETTER = "better"
    """PASS: an A/B test has shown that the new version is better by its metric."""
    WORSE = "worse"
    """INCONCLUSIVE: an A/B test has shown that the new version is worse; a person decides."""
    NO_DIFFERENCE = "no_difference"
    """INCONCLUSIVE: an A/B test has ended without showing a difference."""
    KAYENTA_MARGINAL = "kayenta_marginal"
    """INCONCLUSIVE: Kayenta's score is between marginal and pass."""


class Source(StrEnum):
    """Who counted the requests, where there are two."""

    ROUTER = "router"
    """The router itself, asked at a pace of its own."""
    METRICS = "metrics"
    """The metrics source."""


class Counts(Model):
    """What was seen of one arm."""

    bad: float = Field(ge=0, description="Bad requests, or the sum of a gauge over instances.")
    total: float = Field(ge=0, description="Requests, or instances.")
    rate: float | None = Field(description="bad / total; None without any.")


class RouterEvidence(Model):
    """The same requests, as the router itself counted them."""

    canary: Counts
    stable: Counts
    e_value: float = Field(ge=0, description="Odds against chance by these counts alone.")
    intervals: int = Field(ge=0, description="Readings with new requests.")
    since: datetime | None = Field(description="Start of the first interval judged.")
    until: datetime | None = Field(description="End of the last interval judged.")
    edge: float | None = Field(
        default=None, description="Histogram: the edge, in seconds, that the counts are of."
    )
    note: Text = Field(default="", description="What kept the last reading from being evidence.")


class MetricEvidence(Model):
    """The evidence of one metric."""

    name: str
    canary: Counts
    stable: Counts
    e_value: float = Field(
        ge=0,
        description="Odds against chance so far; 1 is no evidence. Where the router is asked as "
        "well, of whoever saw more, times its part of alpha.",
    )
    threshold: float = Field(
        description="The odds that fail the canary: 1/alpha, over all metrics."
    )
    upper_bound: float | None = Field(
        description="With confidence 1-beta, at most this extra share is bad; None: no bound."
    )
    tolerance: float | None = Field(
        description="The bound at which the metric is good enough for the next step: the "
        "configured tolerance divided by the share of requests that step gives to the canary."
    )
    intervals: int = Field(ge=0, description="Intervals judged.")
    since: datetime | None = Field(description="Start of the first interval judged.")
    until: datetime | None = Field(description="End of the last interval judged.")
    passed_at: datetime | None = Field(
        default=None, description="When this metric alone passed the odds, or broke its limit."
    )
    dry_run: bool = False
    edge: float | None = Field(
        default=None, description="Histogram: the edge, in seconds, that the counts are of."
    )
    note: Text = Field(default="", description="What kept the metric from being judged.")
    fault: Fault | None = Field(
        default=None, description="Its kind, where the last reading was no evidence."
    )
    router: RouterEvidence | None = Field(
        default=None,
        description="What the router itself counted, where it is asked as well; the rest is by the "
        "metrics source.",
        exclude_if=lambda router: router is None,
    )


class Verdict(Model):
    """The judge's word on one step of one canary."""

    kind: VerdictKind
    reason: Reason
    sentence: Text = Field(description="One line that a person understands.")
    metrics: tuple[MetricEvidence, ...] = ()
    at: datetime
    final: bool = Field(
        default=True, description="False while the bake goes on and nothing is decided yet."
    )
    decided_at: datetime | None = Field(
        default=None, description="When a FAIL was reached, which may be before `at`."
    )
    decided_by: Source | None = Field(
        default=None,
        description="Whose counts a FAIL was reached by, where the router is asked as well.",
        exclude_if=lambda source: source is None,
    )


class SampleRatio(StrEnum):
    """What the counts say."""

    MATCH = "match"
    """The share is within what chance allows, and a very different one would have been noticed."""
    TOO_LITTLE = "too_little"
    """Not enough requests to tell; no verdict."""
    EXPLAINED = "explained"
    """Chance does not explain the share, if requests came one by one; the rates of users may."""
    MISMATCH = "mismatch"
    """Nothing explains the share: the router does not do what it confirmed."""
