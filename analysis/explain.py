"""Evidence and verdicts in the words of people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from analysis.tracks import Track, WatchTrack
from schemas.judging import Direction, GaugeMetric, HistogramMetric
from schemas.verdict import Counts, MetricEvidence, RouterEvidence, Source

_MINUTE = 60.0
_HOUR = 3600.0


def moment(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as a time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def evidence(track: Track | WatchTrack, threshold: float, exposure: float = 1.0) -> MetricEvidence:
    """The numbers of one metric; its tolerance is the one for `exposure` (see `good_enough`)."""
    none = Counts(bad=0.0, total=0.0, rate=None)
    canary, stable, e_value, edge = none, none, 1.0, None
    upper: float | None = None
    if isinstance(track, WatchTrack):
        worst = None if math.isnan(track.watch.worst) else track.watch.worst
        canary, tolerance, note = Counts(bad=0.0, total=0.0, rate=worst), None, track.note
    else:
        totals = track.test.totals()
        canary, stable = _counts(totals.bad_c, totals.n_c), _counts(totals.bad_b, totals.n_b)
        e_value, tolerance, note = track.e_value, track.test.tolerance, track.reader.note
        upper = track.test.upper()
        edge = _edge(track, track.test.telling(), track.reader.edges)
    return MetricEvidence(
        name=track.metric.name,
        canary=canary,
        stable=stable,
        e_value=e_value,
        threshold=threshold,
        upper_bound=upper,
        tolerance=None if tolerance is None else min(tolerance / exposure, 1.0),
        intervals=track.intervals,
        since=moment(track.since),
        until=moment(track.until),
        passed_at=moment(track.passed_at),
        dry_run=track.metric.dry_run,
        edge=edge,
        note=note,
        fault=track.fault,
        router=_by_router(track) if isinstance(track, Track) else None,
    )


def _by_router(track: Track) -> RouterEvidence | None:
    own = track.own
    if own is None:
        return None
    totals = own.test.totals()
    return RouterEvidence(
        canary=_counts(totals.bad_c, totals.n_c),
        stable=_counts(totals.bad_b, totals.n_b),
        e_value=own.test.e_value,
        intervals=own.intervals,
        since=moment(own.since),
        until=moment(own.until),
        edge=_edge(track, own.test.telling(), own.reader.edges),
        note=own.reader.note,
    )


def _edge(track: Track, telling: int, edges: Sequence[float]) -> float | None:
    """The edge that a histogram's counts are of."""
    if not isinstance(track.metric, HistogramMetric) or not edges:
        return None
    edge = edges[min(telling, len(edges) - 1)]
    return None if math.isnan(edge) else edge


def as_router_saw(track: Track, numbers: MetricEvidence) -> MetricEvidence:
    """The numbers of one metric with what the router counted in place of the metrics source."""
    own = _by_router(track)
    if own is None:
        return numbers
    same = ("canary", "stable", "intervals", "since", "until", "edge")
    return numbers.model_copy(update={name: getattr(own, name) for name in same})


def sources(source: Source | None, numbers: MetricEvidence) -> str:
    """Whose counts they were, and what the other source had shown by then; empty where one is."""
    own = numbers.router
    if source is None or own is None:
        return ""
    if source is Source.ROUTER:
        return f", by the router's own counts; {_other('the metrics source', numbers)}"
    return f", by the metrics source; {_other('the router', own)}"


def _other(who: str, seen: MetricEvidence | RouterEvidence) -> str:
    """What a source that did not decide had seen: it confirms, or was not that far."""
    canary = seen.canary
    if seen.until is None or canary.total <= 0:
        return f"{who} had shown no requests yet" + (f" ({seen.note})" if seen.note else "")
    worse = (canary.rate or 0.0) > (seen.stable.rate or 0.0)
    said = "which confirms it" if worse else "which does not show it yet"
    return f"{who} had {canary.bad:,.0f} of {canary.total:,.0f} by {clock(seen.until)}, {said}"


def _counts(bad: float, total: float) -> Counts:
    return Counts(bad=bad, total=total, rate=bad / total if total > 0 else None)


def comparison(subject: str, track: Track, numbers: MetricEvidence) -> str:
    """What was observed of both arms: "payments 2.0.1 fails 0.52 % of requests against ..."."""
    metric, canary, stable = track.metric, numbers.canary, numbers.stable
    if isinstance(metric, GaugeMetric):
        means = f"{plain(canary.rate)} per instance against {plain(stable.rate)} on stable"
        return f"{subject} has a {metric.name} of {means}"
    rate, other = percent(canary.rate), percent(stable.rate)
    slower = "faster" if metric.direction is Direction.LOWER_IS_BAD else "slower"
    if isinstance(metric, HistogramMetric):
        what = f"answers {rate} of requests {slower} than {length(numbers.edge)}"
    elif metric.name == "errors":
        what = f"fails {rate} of requests"
    else:
        what = f"has {rate} bad requests by {metric.name}"
    if metric.slo is not None:
        return f"{subject} {what}; the limit is {percent(metric.slo)} ({requests(numbers)})"
    return f"{subject} {what} against {other} on stable ({requests(numbers)})"


def pace(intervals: int | None, numbers: MetricEvidence, burst: float | None = None) -> str:
    """Why it was then: how many intervals had bad requests, and what one of them can tell.

    Args:
        intervals: with bad requests; None: not counted by this method.
        numbers: of the metric.
        burst: seconds between two bets on a router's counts; None: each interval was one.
    """
    whole = numbers.canary.total + numbers.stable.total
    if not intervals or numbers.canary.total <= 0 or numbers.stable.total <= 0:
        return ""
    share = numbers.canary.total / whole
    had = "1 interval" if intervals == 1 else f"{intervals:,} intervals"
    apart = f", {plain(burst)} s apart as one burst may last {plain(burst)} s" if burst else ""
    return (
        f", after {had} with bad requests{apart} (at {percent(share)} of the requests one burst "
        f"on the canary alone is {1 / share:.2g}:1)"
    )


def requests(numbers: MetricEvidence) -> str:
    """How much was seen, and in which time."""
    seen = f"{numbers.canary.total:,.0f}"
    if numbers.stable.total > 0:
        seen += f" and {numbers.stable.total:,.0f}"
    if numbers.since is None or numbers.until is None:
        return f"{seen} requests"
    return f"{seen} requests in {span((numbers.until - numbers.since).total_seconds())}"


def bounded(numbers: MetricEvidence, exposure: float = 1.0) -> str:
    """The bound against the tolerance, and which next step that tolerance is for."""
    upper = 1.0 if numbers.upper_bound is None else numbers.upper_bound
    accepted = percent(numbers.tolerance)
    step = f" for a next step of {percent(exposure)}" if exposure < 1 else ""
    return f"{numbers.name}: at most {percent(max(upper, 0.0))} extra, {accepted} is accepted{step}"


def percent(share: float | None) -> str:
    """A share as a percentage with two significant digits: 0.0052 is "0.52 %"."""
    if share is None:
        return "none"
    value = 100 * share
    if value == 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def plain(value: float | None) -> str:
    """A number with three significant digits."""
    return "none" if value is None else f"{value:.3g}"


def length(seconds: float | None) -> str:
    """A latency: 0.25 is "250 ms"."""
    if seconds is None:
        return "the edges"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def span(seconds: float) -> str:
    """A length of time, roughly: "45 s", "3 min", "2.5 h"."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def clock(at: float | datetime) -> str:
    """A time of day, in UTC."""
    time = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return time.strftime("%H:%M:%S")
