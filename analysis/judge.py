"""The judge of one canary: resumable, pure, and free to be asked at any time.

All metrics share one alpha for the whole rollout: their e-values are averaged with fixed weights,
and an average of e-processes is one. The evidence goes on from step to step and is never reset.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from analysis import explain, kayenta
from analysis.evalues import Tally
from analysis.evidence import SequentialTest, merge_state
from analysis.intervals import Interval
from analysis.limits import LimitTest
from analysis.own_counts import SHARE, OwnCounts
from analysis.tracks import MetricTest, PointTest, Track, WatchTrack, make_track
from schemas.judging import (
    GaugeMetric,
    JudgeSpec,
    Method,
    MetricSpec,
    RatioMetric,
    is_acting_ratio,
)
from schemas.reading import Fault, MetricReading, Snapshot
from schemas.verdict import MetricEvidence, Reason, Source, Verdict, VerdictKind

_STATE_VERSION = 1
_DEAF_AFTER = 3
"""Intervals without an answer of the source after which nothing passes: what was good then may be
bad by now."""


class Failure(NamedTuple):
    """When, why and on which metric the canary failed; it stays failed."""

    at: float
    reason: Reason
    metric: str
    intervals: int | None = None
    """With bad requests, until then; None: not counted by this method."""
    source: Source | None = None
    """Whose counts; None: there was but one."""


class Judge:
    """Collects the evidence of one canary, and says what it amounts to.

    Args:
        spec: the method and its settings.
        metrics: what to judge by; none of them means by time alone.
        subject: how sentences call the canary, such as "payments 2.0.1".
        ask_router: names of the ratios and histograms that the router itself counts as well.

    Raises:
        ValueError: two metrics of one name, or a critical metric that does not exist.
        TypeError: a metric that no router counts.
    """

    def __init__(
        self,
        spec: JudgeSpec,
        metrics: Sequence[MetricSpec],
        *,
        subject: str = "the canary",
        ask_router: Collection[str] = (),
    ) -> None:
        names = [metric.name for metric in metrics]
        if len(set(names)) != len(names):
            raise ValueError(f"metrics: each name once, got {', '.join(names)}")
        if unknown := spec.kayenta.critical - set(names):
            raise ValueError(f"kayenta.critical: unknown metric {', '.join(sorted(unknown))}")
        self._spec = spec
        self._subject = subject
        self._threshold = 1.0 / spec.alpha
        self._tracks = {one.name: make_track(one, spec, len(metrics)) for one in metrics}
        self._acting = [t for t in self._tracks.values() if not t.metric.dry_run]
        self._counted = [t for t in self._acting if isinstance(t, Track)]
        for name in ask_router:
            track = self._tracks[name]
            if not isinstance(track, Track):
                raise TypeError(f"metric {name}: a router does not count it")
            track.ask_router()
        self._weight = math.fsum(track.metric.weight for track in self._counted)
        self._last_at: float | None = None
        self._router_at: float | None = None
        self._warm_at: float | None = None
        self._heard_at: float | None = None
        self._score: float | None = None
        self._points = 0
        self.failure: Failure | None = None

    @property
    def tracks(self) -> Mapping[str, Track | WatchTrack]:
        """What is kept for each metric, by name."""
        return self._tracks

    @property
    def threshold(self) -> float:
        """The odds that fail the canary: 1/alpha."""
        return self._threshold

    @property
    def e_value(self) -> float:
        """Odds against the canary being good, over all metrics that are acted upon.

        Where the router is asked as well, by whoever has seen more, each times its part of alpha.
        """
        if not self._counted:
            return 1.0
        weighted = (t.metric.weight * t.test.e_value for t in self._counted)
        odds = math.fsum(weighted) / self._weight
        own = self._by_router
        if not own:
            return odds
        by_router = math.fsum(t.metric.weight * counts.test.sure for t, counts in own)
        by_router /= math.fsum(track.metric.weight for track, _ in own)
        return max(SHARE * by_router, (1.0 - SHARE) * odds)

    @property
    def ask_router(self) -> frozenset[str]:
        """The metrics that the router itself counts as well."""
        tracks = self._tracks.items()
        return frozenset(n for n, t in tracks if isinstance(t, Track) and t.own is not None)

    @property
    def _by_router(self) -> list[tuple[Track, OwnCounts]]:
        return [(t, t.own) for t in self._counted if t.own is not None]

    @property
    def seen(self) -> bool:
        """Whether every metric that is acted upon has canary requests (or values) to judge."""
        return bool(self._acting) and all(
            t.test.totals().n_c > 0 if isinstance(t, Track) else t.intervals > 0
            for t in self._acting
        )

    @property
    def upper_bound(self) -> float | None:
        """The largest bound of all metrics that have one."""
        bounds = [t.test.upper() for t in self._counted]
        return max((bound for bound in bounds if bound is not None), default=None)

    @property
    def failure_bound(self) -> float | None:
        """The largest bound on extra failures: of the acting ratio metrics, None before data."""
        failures = [t.test.upper() for t in self._counted if is_acting_ratio(t.metric)]
        known = [bound for bound in failures if bound is not None]
        return max(known) if known and len(known) == len(failures) else None

    @property
    def faults(self) -> Mapping[str, Fault]:
        """What kept the last reading of each metric from being evidence, of those that it did."""
        return {n: t.fault for n, t in self._tracks.items() if t.fault is not None}

    def observe(self, snapshot: Snapshot, only: Collection[str] | None = None) -> None:
        """Take one reading; one that is not newer than the last is ignored.

        Args:
            snapshot: what was read. A metric that is not there was not answered.
            only: the metrics that were asked for; None: all.

        Raises:
            ValueError: a metric that the judge does not have, or buckets without the label le.
        """
        at = snapshot.at.timestamp()
        if unknown := set(snapshot.metrics) - set(self._tracks):
            raise ValueError(f"snapshot: unknown metric {', '.join(sorted(unknown))}")
        if self._last_at is not None and at <= self._last_at:
            return
        self._last_at = at
        not_before = self._not_before(snapshot)
        missing = MetricReading(canary=None, stable=None)
        for name, track in self._tracks.items():
            if only is not None and name not in only:
                continue
            reading = snapshot.metrics.get(name, missing)
            if isinstance(track, Track):
                interval = track.reader.take(reading, at, not_before)
                if interval is not None:
                    track.count(interval.streams, interval.start, interval.end)
            elif at > not_before:
                track.check(reading.canary, at)
        if all(track.heard for track in self._acting):
            self._heard_at = at
        self._decide(at)

    def observe_router(self, snapshot: Snapshot) -> Mapping[str, Interval]:
        """Take one reading of the router's own counts; one that is not newer is ignored.

        Args:
            snapshot: what was read; a metric that the router is not asked for is left out.

        Returns:
            What was counted by it, of each metric of which an interval is complete.

        Raises:
            ValueError: buckets without the label le.
        """
        at = snapshot.at.timestamp()
        if self._router_at is not None and at <= self._router_at:
            return {}
        self._router_at = at
        not_before = self._not_before(snapshot)
        counted = {}
        for name, reading in snapshot.metrics.items():
            track = self._tracks[name]
            if isinstance(track, Track) and track.own is not None:
                track.share_edges()
                interval = track.own.take(reading, at, not_before)
                if interval is not None:
                    counted[name] = interval
        self._decide(at, Source.ROUTER)
        return counted

    def observe_router_streams(
        self, streams: Mapping[str, Sequence[Tally]], start: float, end: float
    ) -> None:
        """Take one interval of the router's own counts that is counted already.

        Args:
            streams: bad and all requests of both arms, per metric; of a histogram, of each edge.
            start: begin of the interval, in seconds.
            end: its end.

        Raises:
            KeyError: a metric that the router is not asked for.
            ValueError: a metric has another number of streams than before.
        """
        for name, tallies in streams.items():
            track = self._tracks[name]
            if not isinstance(track, Track) or track.own is None:
                raise KeyError(name)
            track.own.count([(tally,) for tally in tallies], start, end)
        self._decide(end, Source.ROUTER)

    def _not_before(self, snapshot: Snapshot) -> float:
        """When an interval may begin: after the change of weight, and after the warm-up."""
        changed = snapshot.weight_changed_at.timestamp()
        if self._warm_at is None:
            self._warm_at = changed + self._spec.warmup.total_seconds()
        return max(changed, self._warm_at)

    def observe_counts(self, counts: Mapping[str, Tally], start: float, end: float) -> None:
        """Take one interval that is counted already.

        Args:
            counts: bad and all requests of both arms, per metric; a metric may be missing.
            start: begin of the interval, in seconds.
            end: its end.

        Raises:
            KeyError: a metric that the judge does not have, or one that is not counted.
        """
        self.observe_streams({name: (tally,) for name, tally in counts.items()}, start, end)

    def observe_streams(
        self, streams: Mapping[str, Sequence[Tally]], start: float, end: float
    ) -> None:
        """The same, of metrics that may have several streams: one for each edge of a histogram.

        Raises:
            KeyError: a metric that the judge does not have, or one that is not counted.
            ValueError: a metric has another number of streams than before.
        """
        for name, tallies in streams.items():
            track = self._tracks[name]
            if not isinstance(track, Track):
                raise KeyError(name)
            track.reader.note = ""
            track.count([(tally,) for tally in tallies], start, end)
        self._heard_at = end
        self._decide(end)

    def good_enough(self, since: float = -math.inf, exposure: float = 1.0) -> bool:
        """Whether every metric has data after `since`, and every bound is within its tolerance.

        Args:
            since: in seconds.
            exposure: share of requests, 0 to 1, that the canary gets next: what is tolerated is
                extra failures among all requests, so a small step tolerates a worse bound.
        """
        tracks = self._acting
        bounds = [t.test.within(exposure) for t in self._counted]
        return (
            bool(tracks)
            and all(t.until is not None and t.until > since for t in tracks)
            and all(bound is not False for bound in bounds)
        )

    def _decide(self, at: float, source: Source = Source.METRICS) -> None:
        for track in self._tracks.values():
            broken = track.test.broken if isinstance(track, Track) else track.watch.broken
            odds = track.e_value if isinstance(track, Track) else 1.0
            if track.passed_at is None and (broken or odds >= self._threshold):
                track.passed_at = at
            if broken and not track.metric.dry_run and self.failure is None:
                self.failure = Failure(at, Reason.OVER_LIMIT, track.metric.name)
        if self.failure is None and self.e_value >= self._threshold:
            self.failure = self._failure(at, source)
        if self._spec.method is Method.KAYENTA:
            self._decide_by_kayenta(at)

    def _failure(self, at: float, source: Source) -> Failure:
        """What the canary failed by, when the odds of this source have just passed."""
        own = self._by_router
        tests: dict[str, tuple[Track, MetricTest]]
        tests = {track.metric.name: (track, track.test) for track in self._counted}
        if own and source is Source.ROUTER:
            tests = {track.metric.name: (track, counts.test) for track, counts in own}
        worst, test = max(tests.values(), key=lambda one: one[0].metric.weight * one[1].e_value)
        limit = not isinstance(worst.metric, GaugeMetric) and worst.metric.slo is not None
        reason = Reason.OVER_LIMIT if limit else Reason.WORSE_THAN_STABLE
        told = test.telling_intervals() if isinstance(test, SequentialTest) else None
        return Failure(at, reason, worst.metric.name, told, source if own else None)

    def _decide_by_kayenta(self, at: float) -> None:
        tests = [(t, t.test) for t in self._counted if isinstance(t.test, PointTest)]
        points = sum(test.taken for _, test in tests)
        least = self._spec.kayenta.min_points
        if points == self._points or any(test.taken < least for _, test in tests):
            return
        self._points = points
        results = {t.metric.name: test.results() for t, test in tests}
        if any(r.label is kayenta.Label.NODATA for rs in results.values() for r in rs):
            return
        groups = [(100 * t.metric.weight / self._weight, results[t.metric.name]) for t, _ in tests]
        self._score = kayenta.score(groups)
        if self._score < self._spec.kayenta.marginal_score and self.failure is None:
            worst = max(results, key=lambda name: sum(r.label != "Pass" for r in results[name]))
            self.failure = Failure(at, Reason.KAYENTA_SCORE, worst)

    def verdict(
        self,
        now: datetime,
        *,
        started_at: datetime,
        bake_min: timedelta,
        bake_max: timedelta,
        exposure: float = 1.0,
    ) -> Verdict:
        """The verdict on a step: FAIL at once, PASS after `bake_min`, at the latest at `bake_max`.

        Without enough evidence by then it is INCONCLUSIVE, never PASS; nor does it PASS while the
        source of a metric has not answered for three intervals.

        Args:
            now: the time.
            started_at: when the step began; every metric must have data from after it.
            bake_min: shortest time of the step, also for a PASS.
            bake_max: its longest time.
            exposure: share of requests that the next step gives to the canary; see `good_enough`.
        """
        numbers = tuple(
            explain.evidence(t, self._threshold, exposure) for t in self._tracks.values()
        )
        elapsed = now - started_at
        ended = elapsed >= bake_max
        good = elapsed >= bake_min and self.good_enough(started_at.timestamp(), exposure)
        kind, reason = self._outcome(started_at.timestamp(), now.timestamp(), ended, good=good)
        final = kind is not VerdictKind.INCONCLUSIVE or ended
        reason = reason if final else Reason.COLLECTING
        failed_at = self.failure.at if kind is VerdictKind.FAIL and self.failure else None
        verdict = Verdict(
            kind=kind,
            reason=reason,
            sentence=self._sentence(reason, numbers, exposure),
            metrics=numbers,
            at=now,
            final=final,
            decided_at=explain.moment(failed_at),
            decided_by=self.failure.source if failed_at is not None and self.failure else None,
        )
        return self._instead(verdict, elapsed, bake_min, bake_max)

    def _instead(
        self, verdict: Verdict, _elapsed: timedelta, _least: timedelta, _most: timedelta, /
    ) -> Verdict:
        """What is said instead of a verdict, by a judge that asks something else."""
        return verdict

    def _deaf(self, now: float) -> bool:
        """Whether there was no whole reading of what is acted upon for some intervals."""
        longest = _DEAF_AFTER * self._spec.interval.total_seconds()
        return bool(self._acting) and (self._heard_at is None or now - self._heard_at > longest)

    def _outcome(
        self, started: float, now: float, ended: bool, *, good: bool
    ) -> tuple[VerdictKind, Reason]:
        kind, reason = self._by_evidence(started, ended, good=good)
        if kind is VerdictKind.PASS and self._deaf(now):
            return VerdictKind.INCONCLUSIVE, Reason.NO_DATA
        return kind, reason

    def _by_evidence(
        self, started: float, ended: bool, *, good: bool
    ) -> tuple[VerdictKind, Reason]:
        if self.failure is not None:
            return VerdictKind.FAIL, self.failure.reason
        if any(t.until is None or t.until <= started for t in self._acting):
            return VerdictKind.INCONCLUSIVE, Reason.NO_DATA
        if any(t.test.tolerance is not None for t in self._counted):
            if good:
                return VerdictKind.PASS, Reason.GOOD_ENOUGH
            return VerdictKind.INCONCLUSIVE, Reason.NOT_ENOUGH_EVIDENCE
        reason = self.by_rule()
        passes = ended and reason in {Reason.TIME_ELAPSED, Reason.WITHIN_LIMITS}
        return VerdictKind.PASS if passes else VerdictKind.INCONCLUSIVE, reason

    def by_rule(self) -> Reason:
        """Where no metric has a bound: how things stand at the end of the bake."""
        if not self._acting:
            return Reason.TIME_ELAPSED
        if self._spec.method is Method.KAYENTA and self._counted:
            if self._score is None:
                return Reason.NOT_ENOUGH_EVIDENCE
            if self._score < self._spec.kayenta.pass_score:
                return Reason.KAYENTA_MARGINAL
        tests = [t.test for t in self._counted]
        if any(isinstance(test, LimitTest) and test.doubtful for test in tests):
            return Reason.NOT_ENOUGH_EVIDENCE
        return Reason.WITHIN_LIMITS

    def _sentence(
        self, reason: Reason, numbers: tuple[MetricEvidence, ...], exposure: float
    ) -> str:
        if self.failure is not None:
            return self._why_failed(self.failure, numbers)
        acting = [one for one in numbers if not one.dry_run]
        bounds = "; ".join(
            explain.bounded(n, exposure) for n in acting if n.tolerance and n.intervals
        )
        notes = "; ".join(f"{n.name}: {n.note}" for n in acting if n.note)
        sure = f"{100 * (1 - self._spec.beta):g} % sure"
        seen = f"({explain.requests(acting[0])})" if acting else ""
        score = f"Kayenta's score of {self._subject} is {self._score}"
        return {
            Reason.GOOD_ENOUGH: f"{self._subject} is good enough, {sure}: {bounds} {seen}",
            Reason.WITHIN_LIMITS: f"{self._subject} kept within every limit {seen}",
            Reason.TIME_ELAPSED: f"{self._subject} has no metrics; the bake ended",
            Reason.NO_DATA: f"nothing to judge {self._subject} by: {notes or 'no data yet'}",
            Reason.NOT_ENOUGH_EVIDENCE: f"too little was seen of {self._subject}: {bounds} {seen}"
            + (f"; {notes}" if notes else ""),
            Reason.KAYENTA_MARGINAL: f"{score}, below {self._spec.kayenta.pass_score:g}",
        }.get(reason, self._collecting(bounds, notes, seen))

    def _collecting(self, bounds: str, notes: str, seen: str) -> str:
        """While the bake goes on: how far it is, and what the last reading lacked."""
        known = "; ".join(part for part in (bounds, notes) if part) or seen
        return f"collecting evidence on {self._subject}: {known}".rstrip()

    def _why_failed(self, failure: Failure, numbers: tuple[MetricEvidence, ...]) -> str:
        track = self._tracks[failure.metric]
        shown = next(one for one in numbers if one.name == failure.metric)
        time = explain.clock(failure.at)
        if isinstance(track, WatchTrack):
            limit, worst = explain.plain(track.metric.limit), explain.plain(shown.canary.rate)
            side = f"{failure.metric} of {self._subject} is {worst}"
            return f"{side}; the limit is {limit}, passed at {time}"
        by_router = failure.source is Source.ROUTER
        counted = explain.as_router_saw(track, shown) if by_router else shown
        observed = explain.comparison(self._subject, track, counted)
        if failure.reason is Reason.KAYENTA_SCORE:
            return f"{observed}; Kayenta's score was {self._score} at {time}"
        if not isinstance(track.test, SequentialTest):
            return f"{observed}; it broke its limit at {time}"
        together = " over all metrics" if len(self._counted) > 1 else ""
        passed = f"the odds against chance{together} passed {self._threshold:g}:1 at {time}"
        burst = self._spec.longest_burst.total_seconds() if by_router else None
        why = f"{observed}; {passed}{explain.pace(failure.intervals, counted, burst)}"
        return f"{why}{explain.sources(failure.source, shown)}"

    def dump(self) -> dict[str, Any]:
        """The state as plain data, for JSON: what a retried attempt goes on from."""
        failure = self.failure
        return {
            "state": _STATE_VERSION,
            "method": self._spec.method.value,
            "times": [self._last_at, self._warm_at, self._heard_at, self._router_at],
            "kayenta": [self._score, self._points],
            "failure": None if failure is None else list(failure),
            "tracks": {name: track.dump() for name, track in self._tracks.items()},
        }

    @classmethod
    def load(
        cls,
        spec: JudgeSpec,
        metrics: Sequence[MetricSpec],
        state: Mapping[str, Any],
        *,
        subject: str = "the canary",
    ) -> Self:
        """Take up a dumped state.

        Raises:
            ValueError: the state is of another version, method or set of metrics.
        """
        judge = cls(spec, metrics, subject=subject)
        if state.get("state") != _STATE_VERSION or state.get("method") != spec.method.value:
            raise ValueError(
                f"judge state: version {state.get('state')}, method {state.get('method')}; "
                f"expected {_STATE_VERSION}, {spec.method.value}"
            )
        judge._last_at, judge._warm_at, *heard = state["times"]
        # A state of an earlier version has less.
        judge._heard_at, judge._router_at = (*heard, None, None)[:2]
        judge._score, judge._points = state["kayenta"]
        if state["failure"] is not None:
            at, reason, metric, told, *source = state["failure"]
            by = Source(source[0]) if source and source[0] else None
            judge.failure = Failure(at, Reason(reason), metric, told, by)
        for name, track in judge._tracks.items():
            track.restore(merge_state(state["tracks"], name))
        return judge


def counted_metrics(names: Sequence[str]) -> tuple[RatioMetric, ...]:
    """Metrics for `observe_counts`: one ratio per name."""
    return tuple(RatioMetric(name=name) for name in names)
