"""Judging inside a canary: one activity at a time, and the evidence that goes from step to step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    RetryState,
    TimeoutType,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as TimeoutFailure

with workflow.unsafe.imports_passed_through():
    from activities.judge import JudgeRequest, JudgeResult
    from activities.ramp import RampState
    from activities.report_delivery import PendingReport
    from schemas.audience_judging import by_limits, limits_of
    from schemas.base import format_duration
    from schemas.capabilities import Counting
    from schemas.fitting import fitted
    from schemas.ids import STOPPED_SHORT
    from schemas.release import VERDICT_BYTES, Cause, CauseKind, ServicePlan
    from schemas.strategy import Bake
    from schemas.verdict import Reason, Verdict, VerdictKind
    from workflows import describe
    from workflows.calls import Call, Calls, Stop, failure_of, until_done
    from workflows.outcomes import Failed, Stopped
    from workflows.traffic import Traffic
    from workflows.trying import only_out_of_attempts, rounds
    from workflows.untold import Untold


@dataclass(frozen=True)
class Stops:
    """What ends judging before its time."""

    stop: Stop
    """Nothing of this run is to go on."""
    halt: Stop
    """Likewise, but for a history that is too long: its evidence is still waited for."""
    until: Callable[[], bool]
    """What it is done for has come."""


class Judging:
    """Judges one canary, step after step.

    Args:
        plan: of its service.
        traffic: which weight is judged.
        calls: makes the calls.
        late: how long after a bake's end its last reading may take.
    """

    def __init__(self, plan: ServicePlan, traffic: Traffic, calls: Calls, late: timedelta) -> None:
        self._plan = plan
        self._traffic = traffic
        self._calls = calls
        self._late = late
        self.evidence: dict[str, Any] | None = None
        """Of the steps so far."""
        self.limited = False
        """Whether it is of limits only, without stable: of the other kind it says nothing."""
        self.verdict: Verdict | None = None
        """The last final one."""
        self.ramp: RampState | None = None
        """Where the ramp is, once it has begun."""
        self.ramp_began: datetime | None = None
        self.made_by: tuple[str, ...] = ()
        """Hooks that make the requests that are judged."""
        self.report: PendingReport | None = None
        """What the release is told as the next judging begins."""
        self.untold = Untold()

    async def judge(
        self,
        bake: Bake | None,
        stops: Stops,
        *,
        exposure: float = 1.0,
        overruled: bool = False,
        compare: str = "",
    ) -> Verdict | Stopped | None:
        """Judge the weight that is confirmed now, for a bake, or without one until told.

        Args:
            bake: how long.
            stops: what ends it before its time.
            exposure: share of requests, 0 to 1, that the canary gets next.
            overruled: somebody else's change of the route is known, and stands.
            compare: of an A/B test, the metric that decides; empty: it is none.

        Returns:
            The verdict; what stopped it, FAIL among them; None when what it waited for has come.
        """
        if not self.watched:
            return await self._let_time_pass(bake, stops)
        request = self._request(bake, exposure, overruled=overruled)
        request = request.model_copy(update={"compare": compare})
        self.report = None
        what = _summary(f"{self._plan.service} at {self._traffic.portion.text}", bake)
        for retry in rounds(self._calls.policy(Call.JUDGE, request).retry):
            within = self._left(bake.max) + self._late if bake else None
            judging = self._calls.start(Call.JUDGE, request, what, retry=retry, within=within)
            # Also where nobody waits for its word any more: what it counted is evidence.
            judging.add_done_callback(partial(self._keep_measured, request, self._traffic.whom))
            await until_done(judging, stops.stop, stops.until)
            unasked = not judging.done()
            if unasked:
                judging.cancel()
                # Its evidence is handed back; a rollback does not wait for that.
                if (halted := await until_done(judging, stops.halt)) is not None:
                    return halted
            error = failure_of(judging)
            if unasked or error is None or not only_out_of_attempts(error):
                return self._answered(judging, bake, stops, unasked=unasked)
            self._keep_seen(error)
            self._calls.told(describe.failure(error))
            request = request.model_copy(update={"evidence": self.evidence})
        raise AssertionError("rounds has no end")

    def _keep_measured(
        self, request: JudgeRequest, whom: str, judging: asyncio.Future[JudgeResult]
    ) -> None:
        """Keep what it counted; where it counted nothing, there is nothing to keep."""
        if judging.cancelled() or judging.exception() is not None:
            return
        series, lane = judging.result().evidence_series, judging.result().lane
        if series is not None or lane is not None:
            self.untold.measure(
                series,
                at=workflow.now(),
                stable=request.stable,
                weight=request.weight,
                whom=whom,
                apart=request.apart,
                lane=lane,
            )

    @property
    def watched(self) -> bool:
        """Whether there is a canary to look at: by metrics, or by requests that are counted."""
        counted = self._plan.capabilities.counts is not Counting.NONE
        given = self._traffic.weight > 0 or self._traffic.apart
        return (bool(self._plan.metrics) or counted) and given

    def _answered(
        self,
        judging: workflow.ActivityHandle[JudgeResult],
        bake: Bake | None,
        stops: Stops,
        *,
        unasked: bool,
    ) -> Verdict | Stopped | None:
        """What the judge said.

        Args:
            judging: the activity, which is done.
            bake: how long it was to judge.
            stops: what may have ended it.
            unasked: its word is not wanted any more. However it ends then (its worker may have
                died with it, which is a time-out and not a cancellation), that is no reason to go
                back: the release may be past the point of no return.
        """
        error = failure_of(judging)
        if error is not None:
            if unasked or is_cancelled_exception(error):
                return _too_long(stops)
            if bake is None or not _out_of_time(error):
                return Failed(self._calls.cause_of(error))
            return self._not_judged(error)
        self._calls.told("")
        result = judging.result()
        self.evidence = result.evidence
        self.ramp = result.ramp or self.ramp
        if not result.verdict.final:
            return _too_long(stops)
        verdict = fitted(result.verdict, VERDICT_BYTES)
        if verdict.reason is Reason.FOREIGN_CHANGE:
            return verdict  # of no version
        verdict = describe.by_limits(verdict, self._traffic.unlike)
        verdict = describe.made_traffic(verdict, self.made_by)
        self.verdict = verdict = describe.unseen(verdict, self._traffic.portion)
        return Failed(self.cause(verdict)) if verdict.kind is VerdictKind.FAIL else verdict

    def cause(self, verdict: Verdict) -> Cause:
        """Why something goes back that was judged so."""
        return Cause(
            kind=CauseKind.VERDICT,
            service=self._plan.service,
            text=verdict.sentence,
            verdict=verdict,
            at=workflow.now(),
        )

    def _request(self, bake: Bake | None, exposure: float, *, overruled: bool) -> JudgeRequest:
        plan, route = self._plan, self._traffic.route
        changed_at = self._traffic.confirmed_at
        if route is None or route.canary is None or changed_at is None:
            raise RuntimeError("there is no confirmed canary to judge")
        if (limited := bool(self._traffic.unlike)) is not self.limited:
            self.limited, self.evidence = limited, None
        told_apart = route.audience is None and not route.kept
        return JudgeRequest(
            router=plan.router,
            service=plan.service,
            stable=route.stable,
            canary=route.canary,
            spec=limits_of(plan.judge) if limited else plan.judge,
            metrics=by_limits(plan.judge, plan.metrics) if limited else plan.metrics,
            mixed=not (told_apart or plan.capabilities.apart),
            weight=route.weight,
            apart=self._traffic.apart,
            weight_changed_at=changed_at,
            bake=bake,
            exposure=exposure,
            evidence=self.evidence,
            ramp=self.ramp,
            report=self.report,
            started_at=workflow.now() if self.ramp else changed_at,
            route=route,
            overruled=overruled,
        )

    async def _let_time_pass(self, bake: Bake | None, stops: Stops) -> Verdict | Stopped | None:
        """A bake without anything to look at: a timer instead of an activity."""
        try:
            await workflow.wait_condition(
                lambda: stops.until() or stops.stop() is not None,
                timeout=self._left(bake.max) if bake else None,
                timeout_summary=f"bake {self._plan.service} at {self._traffic.portion.text}",
            )
        except TimeoutError:
            self.verdict = describe.time_elapsed(self._plan, workflow.now())
            return self.verdict
        return None if stops.until() else stops.stop()

    def _not_judged(self, error: FailureError) -> Verdict:
        """The bake is over, and the judge said nothing; what it had seen goes on."""
        self._keep_seen(error)
        self.verdict = describe.not_judged(self._plan, error, workflow.now())
        return self.verdict

    def _keep_seen(self, error: FailureError) -> None:
        """The evidence of a judge that has ended without a verdict."""
        cause = error.__cause__
        details: Sequence[Any] = ()
        if isinstance(cause, TimeoutFailure):
            details = cause.last_heartbeat_details
        elif isinstance(cause, ApplicationError) and cause.type == STOPPED_SHORT:
            details = cause.details
        if details:
            seen = details[0]
            self.evidence = {part: one for part, one in seen.items() if part != "evidence_series"}

    def _left(self, most: timedelta) -> timedelta:
        """Of a bake, which may have begun in an earlier run; those of a ramp begin now."""
        began = self._traffic.confirmed_at if self.ramp is None else None
        began = began or workflow.now()
        return max(timedelta(0), began + most - workflow.now())


def _out_of_time(error: FailureError) -> bool:
    """Whether the judge was given up at the end of its bake."""
    late = isinstance(error.__cause__, TimeoutFailure) and error.__cause__.type in {
        TimeoutType.SCHEDULE_TO_CLOSE,
        TimeoutType.SCHEDULE_TO_START,
    }
    return late or (isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT)


def _too_long(stops: Stops) -> Stopped | None:
    """Judging ended without a verdict: what it waited for has come, or this run has to end."""
    return None if stops.until() else stops.stop()


def _summary(what: str, bake: Bake | None) -> str:
    """In a few words, for the timeline."""
    if bake is None:
        return f"watch {what} while it waits"
    most = f", {format_duration(bake.max)} at most" if bake.max != timedelta.max else ""
    return f"judge {what}{most}"
