"""The activity calls of a canary, each with its policy, queue and summary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.decided import DECIDED, DECIDED_POLICY, Decided
    from activities.judge import JUDGE, JudgeRequest, JudgeResult, judge_policy
    from activities.observe import SEE_BACK, SEE_POLICY, SeeBack, Seen
    from activities.policy import Policy
    from activities.preflight import PREFLIGHT, PREFLIGHT_POLICY, Firing, Preflight
    from activities.ramp import BEGIN_POLICY, BEGIN_RAMP, BeginRamp, RampState
    from activities.report_delivery import PendingReport
    from schemas.base import format_duration
    from schemas.catalog import Bake
    from schemas.ids import effects_queue, judging_queue, waiting_queue
    from schemas.judging import RampSpec
    from schemas.release import ServicePlan, Tuning
    from workflows.traffic import Traffic
    from workflows.trying import Told, for_ever


async def ask_preflight(
    plan: ServicePlan, tuning: Tuning, stable: str | None, known: Firing | None, told: Told
) -> Firing:
    """The alerts that hold the service back, once they are others than `known`."""
    policy = plan.alerts
    request = Preflight(
        service=plan.service,
        labels=plan.service_labels,
        version_labels=policy.version_labels,
        version=plan.version,
        stable=None if policy.stable_holds else stable,
        poll=tuning.preflight_poll,
        known=known,
    )
    queue = waiting_queue(workflow.info().task_queue)
    summary = f"{plan.service}: does an alert fire?"
    firing: Firing = await _tried(
        PREFLIGHT, request, Firing, PREFLIGHT_POLICY, queue, summary, told
    )
    return firing


async def _tried(  # noqa: PLR0913, PLR0917 - what a call is
    name: str, request: Any, answer: Any, policy: Policy, queue: str, summary: str, told: Told
) -> Any:
    """Call an activity for as long as it takes, and tell why it fails on the way."""
    return await for_ever(
        lambda retry: workflow.execute_activity(
            name,
            request,
            result_type=answer,
            task_queue=queue,
            start_to_close_timeout=policy.start_to_close,
            heartbeat_timeout=policy.heartbeat,
            retry_policy=retry,
            summary=summary,
        ),
        policy.retry,
        told,
    )


async def begin_ramp(plan: ServicePlan, traffic: Traffic, spec: RampSpec, told: Told) -> RampState:
    """The first weight of a ramp.

    Raises:
        ActivityError: the ramp can't end within its budget; the cause says which budget would do.
    """
    if traffic.stable is None:
        raise RuntimeError("the route must be read before a ramp begins")
    request = BeginRamp(
        router=plan.router,
        service=plan.service,
        stable=traffic.stable,
        spec=plan.judge,
        metrics=plan.metrics,
        ramp=spec,
    )
    queue = judging_queue(workflow.info().task_queue)
    summary = f"{plan.service}: measure stable, find the first weight"
    state: RampState = await _tried(
        BEGIN_RAMP, request, RampState, BEGIN_POLICY, queue, summary, told
    )
    return state


async def see_back(plan: ServicePlan, tuning: Tuning, told: Told) -> Seen:
    """Whether requests still start on the version that was taken back."""
    request = SeeBack(
        router=plan.router,
        service=plan.service,
        version=plan.version,
        quiet=tuning.see_quiet,
        within=tuning.see_within,
    )
    queue = judging_queue(workflow.info().task_queue)
    summary = f"{plan.service}: does a request still start on {plan.version}?"
    seen: Seen = await _tried(SEE_BACK, request, Seen, SEE_POLICY, queue, summary, told)
    return seen


@dataclass(frozen=True)
class Carried:
    """What judging is given beside the step itself."""

    evidence: dict[str, Any] | None
    """Of the steps before."""
    ramp: RampState | None
    exposure: float
    """Share of requests, 0 to 1, that the canary gets next."""
    report: PendingReport | None
    """What the release is told as judging begins."""


def start_judging(
    plan: ServicePlan,
    traffic: Traffic,
    bake: Bake | None,
    carried: Carried,
    within: timedelta | None,
) -> workflow.ActivityHandle[JudgeResult]:
    """Begin to judge the weight that is confirmed now; without a bake, until cancelled.

    It ends `within` that time whatever becomes of the activity: hung, failing, or with no worker
    that takes it.

    Cancelled, it still hands back its evidence (`WAIT_CANCELLATION_COMPLETED`); a rollback does not
    wait for that.
    """
    policy = judge_policy(plan.judge)
    request = _judge_request(plan, traffic, bake, carried)
    return workflow.start_activity(
        JUDGE,
        request,
        result_type=JudgeResult,
        task_queue=judging_queue(workflow.info().task_queue),
        schedule_to_close_timeout=within,
        start_to_close_timeout=policy.start_to_close,
        heartbeat_timeout=policy.heartbeat,
        retry_policy=policy.retry,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=_judging(f"{plan.service} at {request.weight:g} %", bake),
    )


def _judge_request(
    plan: ServicePlan, traffic: Traffic, bake: Bake | None, carried: Carried
) -> JudgeRequest:
    route, changed_at = traffic.route, traffic.confirmed_at
    if route is None or route.canary is None or changed_at is None:
        raise RuntimeError("there is no confirmed canary to judge")
    return JudgeRequest(
        router=plan.router,
        service=plan.service,
        stable=route.stable,
        canary=route.canary,
        spec=plan.judge,
        metrics=plan.metrics,
        weight=route.weight,
        weight_changed_at=changed_at,
        bake=bake,
        exposure=carried.exposure,
        evidence=carried.evidence,
        ramp=carried.ramp,
        report=carried.report,
        started_at=workflow.now() if carried.ramp else changed_at,
    )


def _judging(what: str, bake: Bake | None) -> str:
    """In a few words, for the timeline."""
    if bake is None:
        return f"watch {what} while it waits"
    most = f", {format_duration(bake.max)} at most" if bake.max != timedelta.max else ""
    return f"judge {what}{most}"


async def decided(release: str, *, before_reset: bool = False) -> bool:
    """Whether a release had begun to finalize before it ended or was reset.

    False when that can't be learnt in time: traffic does not wait for it.

    Args:
        release: its workflow's id.
        before_reset: ask the run that was reset, and not the newest one.
    """
    request = Decided(workflow_id=release, before_reset=before_reset)
    try:
        answer: bool = await workflow.execute_activity(
            DECIDED,
            request,
            result_type=bool,
            task_queue=effects_queue(workflow.info().task_queue),
            start_to_close_timeout=DECIDED_POLICY.start_to_close,
            schedule_to_close_timeout=DECIDED_POLICY.schedule_to_close,
            retry_policy=DECIDED_POLICY.retry,
            summary="had the release begun to finalize?",
        )
    except ActivityError as error:
        workflow.logger.warning(
            "what a release had decided is not known", extra={"error": str(error.cause)}
        )
        return False
    return answer
