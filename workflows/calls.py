"""The activity calls of a canary: one table of policies, and how a call is made.

A call hands back its answer, or what stopped it: nothing is raised for a turn of the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.blame import BLAME, AskBlame, blame_policy
    from activities.decided import DECIDED, DECIDED_POLICY, Decided
    from activities.deploy import (
        COUNT,
        COUNT_POLICY,
        NOT_READY,
        ORDER_POLICY,
        PUT_UP,
        RECALL,
        SCALE,
        TAKE_DOWN,
        TAKE_DOWN_POLICY,
        Order,
    )
    from activities.flags import LOOK_AT_FLAG, LOOK_AT_FLAG_POLICY, FlagLook
    from activities.hooks import CALL_HOOK, HOOK_POLICY
    from activities.judge import JUDGE, JudgeResult, judge_policy
    from activities.lease import KEEP_LEASE, KeepLease, lease_policy
    from activities.observe import SEE_BACK, SEE_POLICY, TrafficWindow
    from activities.policy import Policy
    from activities.preflight import PREFLIGHT, PREFLIGHT_POLICY, Firing
    from activities.ramp import BEGIN_POLICY, BEGIN_RAMP, RampState
    from activities.standing import (
        FIRST,
        LOOK_POLICY,
        REGISTER,
        STAND,
        WAIT_POLICY,
        FirstLook,
        Stand,
        Standing,
    )
    from activities.traffic import APPLY, READ, traffic_policy
    from schemas.blame import Blame
    from schemas.deployment import WantedVersion
    from schemas.hooks import HookAnswer
    from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue
    from schemas.release import Cause, CauseKind, ServicePlan, Tuning
    from schemas.route import Confirmation, Route
    from workflows import describe
    from workflows.outcomes import Failed, Stopped
    from workflows.trying import TellFailure, only_out_of_attempts, rounds

Stop = Callable[[], Stopped | None]
"""Says what stops a wait; None while nothing does."""


def never() -> None:
    """Nothing stops a way back, nor what is past the point of no return."""


def not_yet() -> bool:
    """The answer stays needed."""
    return False


class Call(StrEnum):
    """What a canary may call."""

    READ_ROUTE = "read_route"
    APPLY_ROUTE = "apply_route"
    REGISTER_ROUTE = "register_route"
    ASK_ALERTS = "ask_alerts"
    FIND_FIRST = "find_first"
    BEGIN_RAMP = "begin_ramp"
    JUDGE = "judge"
    SEE_BACK = "see_back"
    LOOK_AT_INSTANCES = "look_at_instances"
    AWAIT_INSTANCES = "await_instances"
    ASK_DECIDED = "ask_decided"
    CALL_HOOK = "call_hook"
    PUT_UP = "put_up"
    COUNT = "count"
    RECALL = "recall"
    SCALE = "scale"
    TAKE_DOWN = "take_down"
    KEEP_LEASE = "keep_lease"
    LOOK_AT_FLAG = "look_at_flag"
    BLAME = "blame"


@dataclass(frozen=True)
class CallSpec:
    """How one activity is called."""

    activity: str
    answer: Any
    """The type of its answer."""
    policy: Callable[[Any, ServicePlan, Tuning], Policy]
    """From the request, the plan and its times."""
    queue: Callable[[str], str]
    """The task queue, from that of the workflow."""
    for_ever: bool = True
    """Whether it is called again until it succeeds, its last failure told meanwhile."""
    writes: bool = False
    """Whether it changes something outside; what only looks may be done twice."""
    cancellation: workflow.ActivityCancellationType = workflow.ActivityCancellationType.TRY_CANCEL


def _own(queue: str) -> str:
    """Router writes begin with the answer of the workflow task that decides them."""
    return queue


def _traffic(_: Any, __: ServicePlan, tuning: Tuning) -> Policy:
    return traffic_policy(tuning.retry_cap)


def _judging(_: Any, plan: ServicePlan, __: Tuning) -> Policy:
    return judge_policy(plan.judge)


def _looking(request: Stand, _: ServicePlan, __: Tuning) -> Policy:
    """One look, and as much longer as the instances may take."""
    return LOOK_POLICY.longer(request.within or timedelta(0))


def _ordering(request: Order, _: ServicePlan, __: Tuning) -> Policy:
    """As long as the instances may take, and what the worker needs beside it."""
    return ORDER_POLICY.longer(request.within)


def _keeping(request: KeepLease, _: ServicePlan, __: Tuning) -> Policy:
    return lease_policy(request.lease)


def _blaming(request: AskBlame, _: ServicePlan, __: Tuning) -> Policy:
    return blame_policy(request.within)


def _fixed(policy: Policy) -> Callable[[Any, ServicePlan, Tuning], Policy]:
    return lambda _, __, ___: policy


CALLS: Final[Mapping[Call, CallSpec]] = {
    Call.READ_ROUTE: CallSpec(READ, Route | None, _traffic, _own),
    Call.APPLY_ROUTE: CallSpec(APPLY, Confirmation, _traffic, _own, writes=True),
    Call.REGISTER_ROUTE: CallSpec(REGISTER, Route, _traffic, _own, writes=True),
    Call.ASK_ALERTS: CallSpec(PREFLIGHT, Firing, _fixed(PREFLIGHT_POLICY), waiting_queue),
    Call.FIND_FIRST: CallSpec(FIRST, FirstLook, _fixed(WAIT_POLICY), judging_queue),
    Call.BEGIN_RAMP: CallSpec(BEGIN_RAMP, RampState, _fixed(BEGIN_POLICY), judging_queue),
    # Cancelled, it still hands back its evidence; a rollback does not wait for that.
    Call.JUDGE: CallSpec(
        JUDGE,
        JudgeResult,
        _judging,
        judging_queue,
        for_ever=False,
        cancellation=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    ),
    Call.SEE_BACK: CallSpec(SEE_BACK, TrafficWindow, _fixed(SEE_POLICY), judging_queue),
    Call.LOOK_AT_INSTANCES: CallSpec(STAND, Standing, _looking, judging_queue, for_ever=False),
    Call.AWAIT_INSTANCES: CallSpec(
        STAND, Standing, _fixed(WAIT_POLICY), judging_queue, for_ever=False
    ),
    Call.PUT_UP: CallSpec(PUT_UP, None, _ordering, deploying_queue, for_ever=False, writes=True),
    Call.COUNT: CallSpec(COUNT, int, _fixed(COUNT_POLICY), deploying_queue),
    Call.RECALL: CallSpec(
        RECALL, WantedVersion | None, _fixed(COUNT_POLICY), deploying_queue, for_ever=False
    ),
    Call.SCALE: CallSpec(SCALE, None, _ordering, deploying_queue, for_ever=False, writes=True),
    Call.TAKE_DOWN: CallSpec(
        TAKE_DOWN, None, _fixed(TAKE_DOWN_POLICY), deploying_queue, for_ever=False, writes=True
    ),
    Call.ASK_DECIDED: CallSpec(
        DECIDED, bool, _fixed(DECIDED_POLICY), effects_queue, for_ever=False
    ),
    Call.CALL_HOOK: CallSpec(
        CALL_HOOK, HookAnswer, _fixed(HOOK_POLICY), waiting_queue, for_ever=False, writes=True
    ),
    Call.BLAME: CallSpec(BLAME, Blame, _blaming, effects_queue, for_ever=False),
    Call.KEEP_LEASE: CallSpec(KEEP_LEASE, Route, _keeping, waiting_queue, for_ever=False),
    Call.LOOK_AT_FLAG: CallSpec(LOOK_AT_FLAG, FlagLook, _fixed(LOOK_AT_FLAG_POLICY), judging_queue),
}
"""The only place that says how a canary's activities are called."""


class Calls:
    """Makes the calls of one canary.

    Args:
        plan: of its service.
        tuning: its times.
        told: hears why a call fails that is made again.
    """

    def __init__(self, plan: ServicePlan, tuning: Tuning, told: TellFailure) -> None:
        self._plan = plan
        self._tuning = tuning
        self.told = told
        """Hears why a call fails that is made again."""

    def policy(self, call: Call, request: Any) -> Policy:
        """How a call is made."""
        return CALLS[call].policy(request, self._plan, self._tuning)

    def start(
        self,
        call: Call,
        request: Any,
        summary: str,
        *,
        retry: RetryPolicy | None = None,
        within: timedelta | None = None,
    ) -> workflow.ActivityHandle[Any]:
        """Begin a call.

        Args:
            call: which.
            request: its input.
            summary: in a few words, for the timeline.
            retry: in place of its policy's.
            within: ends it that time from now whatever becomes of it: hung, failing, or with no
                worker that takes it.
        """
        spec = CALLS[call]
        policy = self.policy(call, request)
        policy = replace(
            policy,
            schedule_to_close=within or policy.schedule_to_close,
            retry=retry or policy.retry,
        )
        return workflow.start_activity(
            spec.activity,
            request,
            result_type=spec.answer,
            task_queue=spec.queue(workflow.info().task_queue),
            cancellation_type=spec.cancellation,
            summary=summary,
            **policy.options,
        )

    async def make(  # noqa: PLR0913 - each is one thing that a call needs
        self,
        call: Call,
        request: Any,
        summary: str,
        *,
        stop: Stop = never,
        unless: Callable[[], bool] = not_yet,
        told: TellFailure | None = None,
        within: timedelta | None = None,
    ) -> Any:
        """Call, and wait for the answer.

        Args:
            call: which.
            request: its input.
            summary: in a few words, for the timeline.
            stop: ends the wait, and cancels what is under way.
            unless: makes the answer unneeded.
            told: in place of the canary's.
            within: as in `start`.

        Returns:
            The answer; what stopped the wait, or the failure; None when it became unneeded.
        """
        told, for_ever = told or self.told, CALLS[call].for_ever
        policy = self.policy(call, request)
        for retry in rounds(policy.retry):
            again = retry if for_ever else policy.retry
            handle = self.start(call, request, summary, retry=again, within=within)
            stopped = await until_done(handle, stop, unless)
            if not handle.done():
                handle.cancel()
                return stopped
            error = failure_of(handle)
            if error is None:
                if for_ever:
                    told("")
                return handle.result()
            if not for_ever or not only_out_of_attempts(error):
                return Failed(self.cause_of(error), type_of(error))
            told(describe.failure(error))
        raise AssertionError("rounds has no end")

    def cause_of(self, error: FailureError) -> Cause:
        """Why something goes back whose call failed for good."""
        return Cause(
            kind=CauseKind.NOT_READY if type_of(error) == NOT_READY else CauseKind.ERROR,
            service=self._plan.service,
            text=describe.failure(error),
            at=workflow.now(),
        )


async def until_done(
    handle: workflow.ActivityHandle[Any], stop: Stop, unless: Callable[[], bool] = not_yet
) -> Stopped | None:
    """Wait for a call, until it is stopped or no longer needed."""
    handle.add_done_callback(_seen)
    await workflow.wait_condition(lambda: handle.done() or unless() or stop() is not None)
    return None if handle.done() or unless() else stop()


async def rest(length: timedelta, stop: Stop) -> Stopped | None:
    """Let that time pass, unless the wait is stopped."""
    try:
        await workflow.wait_condition(lambda: stop() is not None, timeout=length)
    except TimeoutError:
        return None
    return stop()


def failure_of(handle: workflow.ActivityHandle[Any]) -> FailureError | None:
    """Why a call that is done has failed; None when it has not.

    Raises:
        BaseException: it is a bug; the workflow task fails, and is retried until it is mended.
    """
    error = handle.exception()
    if error is None or isinstance(error, FailureError):
        return error
    raise error


def type_of(error: FailureError) -> str:
    """The type that an activity gave its failure; empty where it gave none."""
    cause = error.cause
    return (cause.type or "") if isinstance(cause, ApplicationError) else ""


def _seen(handle: asyncio.Task[Any]) -> None:
    """The failure of a call that nobody waits for any more says nothing."""
    if not handle.cancelled():
        handle.exception()


async def decided(release: str, *, before_reset: bool = False) -> bool:
    """Whether a release had begun to finalize before it ended or was reset.

    False when that can't be learnt in time: traffic does not wait for it.

    Args:
        release: its workflow's id.
        before_reset: ask the run that was reset, and not the newest one.
    """
    spec, policy = CALLS[Call.ASK_DECIDED], DECIDED_POLICY
    try:
        answer: bool = await workflow.execute_activity(
            spec.activity,
            Decided(workflow_id=release, before_reset=before_reset),
            result_type=bool,
            task_queue=spec.queue(workflow.info().task_queue),
            summary="had the release begun to finalize?",
            **policy.options,
        )
    except ActivityError as error:
        workflow.logger.warning(
            "what a release had decided is not known", extra={"error": str(error.cause)}
        )
        return False
    return answer
