"""Judge: one long activity for each bake, or for as long as a canary is watched.

It reads the metrics once per interval, or at the pace of the traffic where that is allowed, asks
the router itself beside that where it shows what it counts, keeps its evidence in heartbeats, and
returns as soon as the evidence is enough. Another attempt goes on from the last heartbeat;
cancelled, it hands back the evidence so far, which the next step starts from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.clock import server_now
from activities.live import Heartbeat, ShowLive, show_nobody
from activities.observe import RouterCheck, SampleRatioCheck, SampleRatioChecks
from activities.own_counts import Arms, OwnCounts, countable, whichever_first
from activities.policy import Policy, forever, may_come_back, terminal_errors
from activities.ramp import RampState, Resolve, counted, next_state
from activities.report_delivery import PendingReport, SendReport, send_nothing
from activities.shared_heartbeat import SharedHeartbeat, lost_after
from adapters.errors import AdapterError, ForeignChange, Retryable, fault_of
from adapters.ports import MetricsSource, Routing
from analysis import evidence_series
from analysis.ab_judge import AbJudge
from analysis.judge import Judge
from analysis.pace import ReadingPace
from analysis.ramp import bound_cluster
from analysis.sample_ratio import ONE_BY_ONE, PINNED, UNKNOWN, Crowd, crowd_of
from schemas.base import Model, Percent, ServiceName, Version
from schemas.capabilities import Capabilities
from schemas.ids import STOPPED_SHORT
from schemas.judging import JudgeSpec, MetricSpec, render
from schemas.lane_counts import LaneCounts
from schemas.live import Live
from schemas.outside import TEXT_MOST, cut
from schemas.reading import (
    ArmReading,
    Fault,
    Gap,
    MetricReading,
    Snapshot,
    partial_of,
    shown,
)
from schemas.route import Route
from schemas.router_spec import RouterSpec
from schemas.strategy import Bake
from schemas.verdict import Reason, SampleRatio, Verdict, VerdictKind

JUDGE: Final = "aviary.judge"

SETTLE = timedelta(seconds=2)
"""After a change of weight, before the share of requests is looked at."""
_ODD = frozenset({SampleRatio.MISMATCH, SampleRatio.EXPLAINED})
"""Of a share of requests that may be somebody else's doing."""
_PAIR = 2
"""Readings that make an interval: an attempt that resumes after the bake's end takes as many."""
_WHOLE: Final = 100.0
"""Percent, at which there is no stable to compare with."""
_NEVER = timedelta.max
"""A bake that only a failure or a cancellation ends."""

Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


def _untold(_: Fault) -> None:
    """Nobody is told."""


def judge_policy(spec: JudgeSpec) -> Policy:
    """For as long as it takes, and taken over by another worker soon after its own is lost."""
    return Policy(
        start_to_close=timedelta(days=30),
        retry=forever(timedelta(seconds=5)),
        heartbeat=lost_after(spec.interval),
    )


class JudgeRequest(Model):
    """Judge a canary against its stable version."""

    router: RouterSpec
    service: ServiceName
    stable: Version
    canary: Version
    spec: JudgeSpec
    metrics: tuple[MetricSpec, ...]
    weight: Percent
    apart: bool = Field(default=False, exclude_if=lambda apart: not apart)
    """Whether the canary gets only what no split sends there, and is judged by that."""
    weight_changed_at: datetime
    bake: Bake | None = None
    """How long; None: until it fails or is cancelled."""
    started_at: datetime
    """When this bake began: with the weight, or later where the weight stays."""
    exposure: float = Field(default=1.0, gt=0, le=1)
    """Share of requests that the canary gets next: a small next step tolerates a worse bound."""
    evidence: dict[str, Any] | None = None
    """What an earlier step collected."""
    ramp: RampState | None = None
    """Where the ramp is, for a canary that has one."""
    report: PendingReport | None = None
    """What the release is told as this begins."""
    route: Route | None = None
    """As it was confirmed, for what somebody else may have changed since; None: not looked at."""
    mixed: bool = False
    """Requests of those whom the weight is not for are counted with the others: no share of
    requests is held against it then."""
    compare: str = Field(default="", exclude_if=lambda name: not name)
    """Of an A/B test: the metric that decides which version is better; empty: it is none."""
    overruled: bool = False
    """Somebody else's change is known and stands: no share of requests is held against a weight."""


class JudgeResult(Model):
    """The verdict, and the evidence for the next step."""

    verdict: Verdict
    evidence: dict[str, Any]
    ramp: RampState | None = None
    evidence_series: dict[str, Any] | None = None
    """What was seen, for people (`schemas.evidence_series`); the next step has its own."""
    lane: LaneCounts | None = Field(default=None, exclude_if=lambda one: one is None)
    """What came with the lane; None where the service has none, or nobody counts it."""


class JudgeActivities:
    """Activities over the metrics source.

    Args:
        source: answers the queries.
        router_for: finds the router of a specification, and what names its versions.
        resolve: fills in a metric's PromQL from its pack.
        send_report: tells the release that judging has begun.
        clock: now, in UTC; Temporal's own when left out.
        sleep: waits that many seconds.
        shared_heartbeat: paces the heartbeats of all judges of this process.
        missed: told of each reading of a metric that was no evidence, and why.
        show_live: shows what a judge sees while it judges.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing that judging needs
        self,
        source: MetricsSource,
        router_for: Callable[[RouterSpec], Routing],
        resolve: Resolve,
        send_report: SendReport = send_nothing,
        clock: Clock = server_now,
        sleep: Sleep = asyncio.sleep,
        shared_heartbeat: SharedHeartbeat | None = None,
        missed: Callable[[Fault], None] = _untold,
        show_live: ShowLive = show_nobody,
    ) -> None:
        self._source = source
        self._router_for = router_for
        self._resolve = resolve
        self._send_report = send_report
        self._clock = clock
        self._sleep = sleep
        self._shared_heartbeat = shared_heartbeat or SharedHeartbeat()
        self._missed = missed
        self._show_live = show_live

    @activity.defn(name=JUDGE)
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Judge until the evidence is enough, the bake is over, or the activity is cancelled."""
        with self._show_live(request.service) as shown:
            return await self._judge(request, shown)

    async def _judge(self, request: JudgeRequest, shown: Callable[[Live], None]) -> JudgeResult:
        metrics = tuple(self._resolve(request.spec, metric) for metric in request.metrics)
        with _terminal_evidence():
            routing = self._router_for(request.router)
            own = countable(routing, request.spec, request.metrics, metrics)
            judge = _judge(request, metrics, own)
            seen = _evidence_series(judge)
        heartbeat = Heartbeat(judge, shown)
        # As it was scheduled, which may have been by another version of us.
        lost = activity.info().heartbeat_timeout or lost_after(request.spec.interval)
        heartbeats = self._heartbeats(lambda: heartbeat.send(_kept(judge, seen)), lost)
        async with self._send_report(request.report), heartbeats:
            try:
                verdict = await self._first_verdict(judge, seen, heartbeat, request, metrics)
            except asyncio.CancelledError:
                if activity.is_worker_shutdown():
                    raise _stopped_short("this worker ends", judge, seen) from None
                verdict = _interrupted(self._clock())
            except ApplicationError:
                raise
            except Exception as error:
                raise _stopped_short(str(error), judge, seen) from error
        ramp = await self._next_weight(judge, request)
        return JudgeResult(
            verdict=verdict,
            evidence=judge.dump(),
            ramp=ramp,
            evidence_series=evidence_series.columns(seen, judge),
            lane=heartbeat.lane,
        )

    @asynccontextmanager
    async def _heartbeats(self, send: Callable[[], None], lost: timedelta) -> AsyncIterator[None]:
        """Heartbeat between readings, which may be further apart than the time-out."""

        async def go_on() -> None:
            while True:
                await asyncio.sleep(self._shared_heartbeat.pause(lost))
                send()

        with self._shared_heartbeat.counted():
            task = asyncio.create_task(go_on())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _next_weight(self, judge: Judge, request: JudgeRequest) -> RampState | None:
        if request.ramp is None:
            return None
        routing = self._router_for(request.router)
        with terminal_errors(), may_come_back():
            counts = await counted(routing, request.service).requests(request.service)
        return next_state(
            request.ramp,
            canary=request.canary,
            weight=request.weight,
            counts=counts,
            bound=judge.failure_bound,
            now=self._clock(),
            weights=routing.capabilities.weights,
        )

    async def _first_verdict(
        self,
        judge: Judge,
        seen: evidence_series.EvidenceSeries,
        heartbeat: Heartbeat,
        request: JudgeRequest,
        metrics: tuple[MetricSpec, ...],
    ) -> Verdict:
        """By the metrics source; a FAIL also by what the router itself counts, if that is first."""
        sample_ratio = _sample_ratio(request, self._router_for(request.router))
        watching = self._watch(judge, seen, heartbeat, sample_ratio, request, metrics)
        if not (judge.ask_router and (request.apart or 0 < request.weight < _WHOLE)):
            return await watching

        async def failed() -> Verdict:
            now = self._clock()
            seen.add(evidence_series.look(judge, now.timestamp()))
            return await self._by_share(_verdict(judge, request, now), sample_ratio, request)

        asking = self._ask_router(judge, seen, request, metrics)
        return await whichever_first(watching, asking, failed)

    async def _ask_router(
        self,
        judge: Judge,
        seen: evidence_series.EvidenceSeries,
        request: JudgeRequest,
        metrics: tuple[MetricSpec, ...],
    ) -> bool:
        """Judge by the router's own counts; whether the canary has failed by them."""
        counters = self._router_for(request.router).counters
        if counters is None:  # it was, when the evidence began
            return False
        while True:
            try:
                canary, stable = await self._both_located(request)
                break
            except Retryable:
                await self._sleep(request.spec.interval.total_seconds())
        arms = Arms(
            service=request.service,
            canary=canary,
            stable=stable,
            weight=request.weight,
            weight_changed_at=request.weight_changed_at,
        )
        spec, shared = request.spec, self._shared_heartbeat
        clock, sleep = self._clock, self._sleep
        own = OwnCounts(counters, judge, seen.router, metrics, arms, spec, shared, clock, sleep)
        with _terminal_evidence():
            return await own.until_failed()

    async def _watch(  # noqa: PLR0913, PLR0917 - what one reading changes
        self,
        judge: Judge,
        seen: evidence_series.EvidenceSeries,
        heartbeat: Heartbeat,
        sample_ratio: SampleRatioChecks,
        request: JudgeRequest,
        metrics: tuple[MetricSpec, ...],
    ) -> Verdict:
        pace = ReadingPace(request.spec, judge)
        quick = tuple(metric for metric in metrics if metric.name in pace.quick)
        readings = 0
        while True:
            now = self._clock()
            whole = pace.whole(now.timestamp())
            asked = metrics if whole else quick
            with _terminal_evidence():
                snapshot = await self._snapshot(now, request, asked)
                judge.observe(snapshot, {metric.name for metric in asked})
            pause = pace.pause(now.timestamp(), self._shared_heartbeat.between_readings)
            verdict = _verdict(judge, request, now)
            if not whole and not verdict.final:  # the rest of a reading is once an interval
                await self._rest(pause, request)
                continue
            readings += 1
            for fault in judge.faults.values():
                self._missed(fault)
            seen.add(evidence_series.look(judge, now.timestamp()))
            verdict = await self._by_share(verdict, sample_ratio, request)
            if verdict.reason is Reason.FOREIGN_CHANGE:
                return verdict
            heartbeat.update(
                verdict,
                sample_ratio,
                weight=request.weight,
                started_at=request.started_at,
                bake=request.bake,
            )
            if self._shared_heartbeat.at_leisure:
                heartbeat.send(_kept(judge, seen))
            resumed_late = readings < _PAIR and verdict.kind is VerdictKind.INCONCLUSIVE
            if verdict.final and not resumed_late:
                return verdict
            await self._rest(pause, request)

    async def _by_share(
        self, verdict: Verdict, sample_ratio: SampleRatioChecks, request: JudgeRequest
    ) -> Verdict:
        """The verdict, held against the share of requests, and against who has changed it."""
        if request.overruled or request.mixed:
            return verdict
        found = await sample_ratio.look(verdict.at)
        if found in _ODD and (change := await self._changed(request)):
            return _foreign(verdict, change)
        return _with_sample_ratio(verdict, found, sample_ratio, request)

    async def _rest(self, pause: float, request: JudgeRequest) -> None:
        """Wait until the next reading, or until the bake may end."""
        await self._sleep(min(pause, _until_end(request, self._clock(), pause)))

    async def _changed(self, request: JudgeRequest) -> str:
        """What somebody else has changed of the route, as far as that can be seen now."""
        if request.route is None:
            return ""
        try:
            return await self._router_for(request.router).changed(request.route)
        except ForeignChange as found:
            return str(found)
        except AdapterError as error:
            activity.logger.warning("route can't be seen", extra={"error": str(error)})
            return ""

    async def _snapshot(
        self, at: datetime, request: JudgeRequest, metrics: tuple[MetricSpec, ...]
    ) -> Snapshot:
        lax = request.spec.accept_warnings
        readings: Sequence[ArmReading | Gap]
        try:
            arms = await self._both_located(request)
        except Retryable as error:
            gap = self._gap(request.service, Gap(fault=fault_of(error), detail=shown(str(error))))
            readings = [gap] * (2 * len(metrics))
        else:
            readings = await asyncio.gather(
                *(self._arm(metric, arm, at, lax=lax) for metric in metrics for arm in arms)
            )
        pairs = zip(readings[::2], readings[1::2], strict=True)
        return Snapshot(
            at=at,
            weight=request.weight,
            weight_changed_at=request.weight_changed_at,
            metrics={
                metric.name: MetricReading(canary=canary, stable=stable)
                for metric, (canary, stable) in zip(metrics, pairs, strict=True)
            },
        )

    async def _both_located(self, request: JudgeRequest) -> list[dict[str, str]]:
        """What the queries of canary and stable are filled in with."""
        return [await self._located(request, one) for one in (request.canary, request.stable)]

    async def _located(self, request: JudgeRequest, version: str) -> dict[str, str]:
        """What the queries of one arm are filled in with."""
        routing = self._router_for(request.router)
        apart = routing.apart if request.apart and version == request.canary else None
        with terminal_errors(), may_come_back():
            if apart is not None:
                pool = await apart.locate_apart(request.service, version)
            else:
                pool = await routing.locator.locate(request.service, version)
        return {"service": request.service, "version": version, "pool": pool}

    async def _arm(
        self, metric: MetricSpec, variables: dict[str, str], at: datetime, *, lax: bool
    ) -> ArmReading | Gap:
        """One arm's series, or what kept the source from answering: a gap delays.

        Args:
            metric: what is asked for.
            variables: of its PromQL.
            at: the time that is asked for.
            lax: whether an answer with warnings is one.
        """
        parts = {part: render(template, variables) for part, template in metric.templates.items()}
        queries = list(dict.fromkeys(parts.values()))
        try:
            with terminal_errors():
                answers = await asyncio.gather(
                    *(self._source.query(promql, at) for promql in queries)
                )
        except Retryable as error:
            return self._gap(metric.name, Gap(fault=fault_of(error), detail=shown(str(error))))
        partial = next((text for one in answers if (text := partial_of(one))), "")
        if partial and not lax:
            return self._gap(metric.name, Gap(fault=Fault.PARTIAL, detail=shown(partial)))
        found = dict(zip(queries, map(tuple, answers), strict=True))
        return ArmReading(
            parts={part: found[promql] for part, promql in parts.items()}, partial=partial
        )

    @staticmethod
    def _gap(subject: str, gap: Gap) -> Gap:
        activity.logger.warning(
            "metrics source did not answer",
            extra={"metric": subject, "fault": gap.fault.value, "error": gap.detail},
        )
        return gap


@contextmanager
def _terminal_evidence() -> Iterator[None]:
    """What no later attempt can mend: series without the labels that the metric needs."""
    try:
        yield
    except ValueError as error:
        raise ApplicationError(str(error), type="UnusableEvidence", non_retryable=True) from error


def _judge(request: JudgeRequest, metrics: tuple[MetricSpec, ...], own: frozenset[str]) -> Judge:
    """A judge with the newest evidence: of an earlier attempt, else of an earlier step.

    Who is asked for which metric stays as it was when the evidence began: alpha is split by it.

    Args:
        request: what is judged.
        metrics: with their PromQL.
        own: those that the router counts as well, where the evidence begins now.
    """
    details = activity.info().heartbeat_details
    evidence = details[0] if details else request.evidence
    subject = f"{request.service} {request.canary}"
    spec = request.spec
    if request.ramp is not None:
        cluster = bound_cluster(request.ramp.spec, spec)
        spec = spec.model_copy(update={"bound_cluster": cluster})
    kind = AbJudge if request.compare in {one.name for one in metrics} else Judge
    if evidence is None:
        judge = kind(spec, metrics, subject=subject, ask_router=own)
    else:
        judge = kind.load(spec, metrics, evidence, subject=subject)
    if isinstance(judge, AbJudge):
        judge.compare(request.compare, (request.stable, request.canary), evidence)
    return judge


def _evidence_series(judge: Judge) -> evidence_series.EvidenceSeries:
    """The evidence series of an earlier attempt, where it kept one."""
    details = activity.info().heartbeat_details
    return evidence_series.of_judge(judge, details[0].get("evidence_series") if details else None)


def _stopped_short(
    why: str, judge: Judge, seen: evidence_series.EvidenceSeries
) -> ApplicationError:
    """A failure after which another attempt, or another call, goes on from what was seen."""
    return ApplicationError(why, _kept(judge, seen), type=STOPPED_SHORT)


def _kept(judge: Judge, seen: evidence_series.EvidenceSeries) -> dict[str, Any]:
    """What another attempt goes on from."""
    return {**judge.dump(), "evidence_series": seen.dump()}


def _verdict(judge: Judge, request: JudgeRequest, now: datetime) -> Verdict:
    """The verdict now; while only watching, nothing but FAIL is one."""
    started = request.started_at
    if request.bake is not None:
        return judge.verdict(
            now,
            started_at=started,
            bake_min=request.bake.min,
            bake_max=request.bake.max,
            exposure=request.exposure,
        )
    verdict = judge.verdict(now, started_at=started, bake_min=_NEVER, bake_max=_NEVER)
    return verdict.model_copy(update={"final": verdict.kind is VerdictKind.FAIL})


def _until_end(request: JudgeRequest, now: datetime, pause: float) -> float:
    """Seconds until the bake may end, so that it ends on time and not a reading later."""
    if request.bake is None:
        return pause
    ends = (request.started_at + length for length in (request.bake.min, request.bake.max))
    ahead = [(end - now).total_seconds() for end in ends if end > now]
    return min(ahead, default=pause)


def _sample_ratio(request: JudgeRequest, routing: Routing) -> SampleRatioChecks:
    """A check of the share for each router of the service."""
    service, canary, weight = request.service, request.canary, request.weight
    in_lane = request.route is not None and request.route.open_lane is not None
    checks = []
    for name, part in routing.each:
        crowd = _crowd(request, part.capabilities)
        if request.route is not None and request.route.sticky is not None:
            # Users are counted by what the router is set up for, and stay by something else.
            part = replace(part, users=None)  # noqa: PLW2901
        check = SampleRatioCheck(part, service, canary, weight, crowd, in_lane=in_lane)
        checks.append(RouterCheck(name, check, request.weight_changed_at + SETTLE + part.late))
    return SampleRatioChecks(checks)


def _crowd(request: JudgeRequest, can: Capabilities) -> Crowd:
    """What the rates of users may explain, of what is known beforehand."""
    if can.pinned:
        return PINNED
    chosen = request.route.sticky if request.route is not None else None
    if not can.sticky if chosen is None else chosen.nothing:
        return ONE_BY_ONE
    largest = request.spec.largest_user
    return UNKNOWN if largest is None else crowd_of(largest / 100)


def _with_sample_ratio(
    verdict: Verdict, found: SampleRatio, sample_ratio: SampleRatioChecks, request: JudgeRequest
) -> Verdict:
    """The verdict, held against the share of requests that was seen.

    Where nothing explains the share, the evidence is not of the weight it was thought to be of.
    Where users may, that is said, and the evidence counts; but nothing passes on one version alone.
    """
    if found is SampleRatio.MISMATCH:
        changed = {"kind": VerdictKind.FAIL, "sentence": sample_ratio.sentence(), "final": True}
        return verdict.model_copy(update={**changed, "reason": Reason.SAMPLE_RATIO_MISMATCH})
    if found is not SampleRatio.EXPLAINED:
        return verdict
    told = {"sentence": f"{verdict.sentence}; {sample_ratio.remark()}"}
    if verdict.kind is VerdictKind.PASS and sample_ratio.one_sided:
        bake = request.bake
        ended = bake is not None and verdict.at - request.started_at >= bake.max
        withheld = {
            "kind": VerdictKind.INCONCLUSIVE,
            "reason": Reason.SAMPLE_RATIO_MISMATCH,
            "final": ended,
        }
        return verdict.model_copy(update={**told, **withheld})
    return verdict.model_copy(update=told)


def _foreign(verdict: Verdict, change: str) -> Verdict:
    """No verdict of the version: whatever is wrong with its share, somebody else did it."""
    changed = {"kind": VerdictKind.INCONCLUSIVE, "reason": Reason.FOREIGN_CHANGE, "final": True}
    return verdict.model_copy(update={**changed, "sentence": cut(change, TEXT_MOST)})


def _interrupted(now: datetime) -> Verdict:
    return Verdict(
        kind=VerdictKind.INCONCLUSIVE,
        reason=Reason.COLLECTING,
        sentence="judging was interrupted before there was a verdict",
        at=now,
        final=False,
    )
