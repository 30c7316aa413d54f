"""Whether instances stand behind the version that gets the requests: the calls that look."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.standing import (
        FIRST,
        LOOK_POLICY,
        STAND,
        WAIT_POLICY,
        First,
        FirstLook,
        Stand,
        Standing,
    )
    from schemas.ids import judging_queue
    from schemas.release import ServicePlan
    from workflows.trying import Told, for_ever


async def look_at(plan: ServicePlan, stable: str, within: timedelta) -> Standing:
    """What stands behind stable, which may take `within` to have a healthy instance.

    Nothing waits long for this: where it can't be told soon, nothing is known.
    """
    try:
        found: Standing = await workflow.execute_activity(
            STAND,
            _request(plan, stable, within),
            result_type=Standing,
            task_queue=judging_queue(workflow.info().task_queue),
            start_to_close_timeout=LOOK_POLICY.start_to_close + within,
            schedule_to_close_timeout=(LOOK_POLICY.schedule_to_close or timedelta(0)) + within,
            retry_policy=LOOK_POLICY.retry,
            summary=f"{plan.service}: has {stable} a healthy instance?",
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        workflow.logger.warning("instances can't be seen", extra={"error": str(error.cause)})
        return Standing(target=stable)
    return found


def wait_until_healthy(plan: ServicePlan, stable: str) -> workflow.ActivityHandle[Standing]:
    """Wait until stable has a healthy instance, however long it takes."""
    return workflow.start_activity(
        STAND,
        _request(plan, stable, None),
        result_type=Standing,
        task_queue=judging_queue(workflow.info().task_queue),
        start_to_close_timeout=WAIT_POLICY.start_to_close,
        heartbeat_timeout=WAIT_POLICY.heartbeat,
        retry_policy=WAIT_POLICY.retry,
        summary=f"{plan.service}: wait for a healthy instance of {stable}",
    )


async def find_first(plan: ServicePlan, absent_for: timedelta | None, told: Told) -> FirstLook:
    """Wait until a service without a route is believed to have none, and its version is healthy.

    Without `absent_for` it is never believed: its route is waited for.
    """
    request = First(
        router=plan.router,
        service=plan.service,
        version=plan.version,
        absent_for=absent_for,
    )
    why = "is its route back?" if absent_for is None else f"no route; is {plan.version} healthy?"
    return await for_ever(
        lambda retry: workflow.execute_activity(
            FIRST,
            request,
            result_type=FirstLook,
            task_queue=judging_queue(workflow.info().task_queue),
            start_to_close_timeout=WAIT_POLICY.start_to_close,
            heartbeat_timeout=WAIT_POLICY.heartbeat,
            retry_policy=retry,
            summary=f"{plan.service}: {why}",
        ),
        WAIT_POLICY.retry,
        told,
    )


def _request(plan: ServicePlan, stable: str, within: timedelta | None) -> Stand:
    return Stand(
        router=plan.router,
        service=plan.service,
        target=stable,
        others=(plan.version,),
        within=within,
    )
