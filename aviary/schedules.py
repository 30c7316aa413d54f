"""What Temporal starts by itself: the drift check."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.drift import DriftInput
from adapters.backoff import doubling
from adapters.errors import Retryable
from aviary.settings import Settings
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested, Images
from schemas.ids import drift_schedule_id
from schemas.release import ServicePlan
from schemas.route import Route
from workflows.drift import DRIFT_WORKFLOW, TASK_TIMEOUT
from workflows.planning import plan_release

_FIRST_BACKOFF_S: Final = 0.5
_CAP_BACKOFF_S: Final = 30.0
_log = structlog.get_logger("aviary.schedules")


async def keep_drift_schedule(client: Client, settings: Settings) -> None:
    """See to it that the schedule is there and has this interval, however long that takes."""
    for delay in doubling(_FIRST_BACKOFF_S, _CAP_BACKOFF_S):
        try:
            await ensure_drift_schedule(client, settings)
        except RPCError as error:
            _log.warning("waiting", waits_for="schedule", error=f"{error.status}: {error.message}")
            await asyncio.sleep(delay)
        else:
            return


async def ensure_drift_schedule(client: Client, settings: Settings) -> None:
    """Create the schedule, or change its interval; a person's pause stays.

    Raises:
        temporalio.service.RPCError: Temporal could not be asked.
    """
    wanted = drift_schedule(settings)

    def changed(now: ScheduleUpdateInput) -> ScheduleUpdate | None:
        there = now.description.schedule
        action = there.action
        same = isinstance(action, ScheduleActionStartWorkflow) and (
            action.task_queue == settings.main_queue
        )
        if same and there.spec.intervals == wanted.spec.intervals:
            return None
        wanted.state = there.state
        return ScheduleUpdate(wanted)

    try:
        await client.create_schedule(drift_schedule_id(settings.in_cell), wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(drift_schedule_id(settings.in_cell)).update(changed)


def drift_schedule(settings: Settings) -> Schedule:
    """A check every so often, one at a time; those missed while Temporal was away are not made up.

    The check itself has no time-out: what it starts must not depend on one.
    """
    every = timedelta(seconds=settings.drift_every_s)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            DRIFT_WORKFLOW,
            DriftInput(every=every),
            id=drift_schedule_id(settings.in_cell),
            task_queue=settings.main_queue,
            task_timeout=TASK_TIMEOUT,
            static_summary="traffic on canaries that nobody looks after",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP, catchup_window=max(every, timedelta(seconds=10))
        ),
    )


async def is_running(client: Client, workflow_id: str) -> bool:
    """Whether a workflow of that id runs now, by Temporal's own word (no index that lags).

    Raises:
        Retryable: Temporal could not be asked.
    """
    try:
        found = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise Retryable(f"Temporal: {error.status.name}: {error.message}") from error
    return found.status in {
        WorkflowExecutionStatus.RUNNING,
        WorkflowExecutionStatus.CONTINUED_AS_NEW,
    }


def plan_back(catalog: Catalog, route: Route) -> ServicePlan:
    """What a canary needs to take this route back, by the catalog as it is now."""
    services = [{"service": route.service, "version": route.canary}]
    deploy = DeployRequested.model_validate({"release": route.owner, "services": services})
    return plan_release(catalog, deploy, images=Images.UNKNOWN).services[route.service]
