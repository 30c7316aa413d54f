"""Judging inside a canary: one activity at a time, and the evidence that goes from step to step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, RetryState, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TimeoutFailure

with workflow.unsafe.imports_passed_through():
    from activities.judge import JudgeResult
    from activities.ramp import RampState
    from activities.report_delivery import PendingReport
    from schemas.capabilities import Counting
    from schemas.catalog import Bake
    from schemas.fitting import fitted
    from schemas.release import VERDICT_BYTES, ServicePlan
    from schemas.verdict import Verdict, VerdictKind
    from workflows import describe
    from workflows.calls import Carried, start_judging
    from workflows.traffic import Traffic


class BakeFailed(Exception):  # noqa: N818 - an outcome, not an error
    """The judge said FAIL, or was silent where the strategy takes that as one."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.sentence)
        self.verdict = verdict


class TooLong(Exception):  # noqa: N818 - an outcome, not an error
    """The history has become long: another run goes on."""


class Judging:
    """Judges one canary, step after step."""

    def __init__(self, plan: ServicePlan, traffic: Traffic, late: timedelta) -> None:
        """`late`: how long after a bake's end its last reading may take."""
        self._plan = plan
        self._traffic = traffic
        self._late = late
        self.evidence: dict[str, Any] | None = None
        """Of the steps so far."""
        self.verdict: Verdict | None = None
        """The last final one."""
        self.ramp: RampState | None = None
        """Where the ramp is, once it has begun."""
        self.ramp_began: datetime | None = None
        self.report: PendingReport | None = None
        """What the release is told as the next judging begins."""

    async def judge(
        self, bake: Bake | None, until: Callable[[], bool], *, exposure: float = 1.0
    ) -> Verdict | None:
        """Judge for a bake, or without one until told; None when `until` came first.

        Args:
            bake: how long.
            until: told to stop.
            exposure: share of requests that the canary gets next.

        Raises:
            BakeFailed: the verdict is FAIL.
            TooLong: the history is too long to go on in this run; the evidence is kept.
        """
        if not self.watched:
            return await self._let_time_pass(bake, until)
        carried = Carried(
            evidence=self.evidence, ramp=self.ramp, exposure=exposure, report=self.report
        )
        self.report = None
        within = self._left(bake.max) + self._late if bake else None
        judging = start_judging(self._plan, self._traffic, bake, carried, within)
        unasked = False
        try:
            await workflow.wait_condition(lambda: judging.done() or until() or _too_long())
            unasked = not judging.done()
        finally:
            judging.cancel()
        try:
            result = await _result_of(judging, unasked=unasked)
        except ActivityError as error:
            if bake is None or not _out_of_time(error):
                raise
            return self._not_judged(error)
        if result is None:
            _check_length(until)
            return None
        self.evidence = result.evidence
        self.ramp = result.ramp or self.ramp
        if not result.verdict.final:
            _check_length(until)
            return None
        self.verdict = verdict = fitted(result.verdict, VERDICT_BYTES)
        if verdict.kind is VerdictKind.FAIL:
            raise BakeFailed(verdict)
        return verdict

    @property
    def watched(self) -> bool:
        """Whether there is a canary to look at: by metrics, or by requests that are counted."""
        counted = self._plan.capabilities.counts is not Counting.NONE
        return (bool(self._plan.metrics) or counted) and self._traffic.weight > 0

    async def _let_time_pass(self, bake: Bake | None, until: Callable[[], bool]) -> Verdict | None:
        """A bake without anything to look at: a timer instead of an activity."""
        try:
            await workflow.wait_condition(
                lambda: until() or _too_long(),
                timeout=self._left(bake.max) if bake else None,
                timeout_summary=f"bake {self._plan.service} at {self._traffic.weight:g} %",
            )
        except TimeoutError:
            self.verdict = describe.time_elapsed(self._plan, workflow.now())
            return self.verdict
        _check_length(until)
        return None

    def _not_judged(self, error: ActivityError) -> Verdict:
        """The bake is over, and the judge said nothing; what it had seen goes on."""
        cause = error.cause
        if isinstance(cause, TimeoutFailure) and cause.last_heartbeat_details:
            seen = cause.last_heartbeat_details[0]
            self.evidence = {part: one for part, one in seen.items() if part != "evidence_series"}
        self.verdict = describe.not_judged(self._plan, error, workflow.now())
        return self.verdict

    def _left(self, most: timedelta) -> timedelta:
        """Of a bake, which may have begun in an earlier run; those of a ramp begin now."""
        began = self._traffic.confirmed_at if self.ramp is None else None
        began = began or workflow.now()
        return max(timedelta(0), began + most - workflow.now())


def _out_of_time(error: ActivityError) -> bool:
    """Whether the judge was given up at the end of its bake."""
    late = isinstance(error.cause, TimeoutFailure) and error.cause.type in {
        TimeoutType.SCHEDULE_TO_CLOSE,
        TimeoutType.SCHEDULE_TO_START,
    }
    return late or error.retry_state is RetryState.TIMEOUT


def _too_long() -> bool:
    return workflow.info().is_continue_as_new_suggested()


def _check_length(until: Callable[[], bool]) -> None:
    """Judging ended without a verdict: it was told to, or this run has to end.

    Raises:
        TooLong: this run has to end.
    """
    if not until() and _too_long():
        raise TooLong


async def _result_of(
    judging: workflow.ActivityHandle[JudgeResult], *, unasked: bool
) -> JudgeResult | None:
    """What the judge says; None when it was told to stop and says nothing.

    Args:
        judging: the activity.
        unasked: its word is not wanted any more. However it ends then (its worker may have died
            with it, which is a time-out and not a cancellation), that is no reason to go back: the
            release may be past the point of no return.
    """
    try:
        return await judging
    except ActivityError as error:
        if unasked or is_cancelled_exception(error):
            return None
        raise
