"""The Temporal workers of one process: one for each task queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from aviary.sandbox import sandbox
from aviary.settings import Settings
from schemas.ids import deploying_queue, effects_queue, judging_queue, waiting_queue
from workflows.admission import AdmissionWorkflow
from workflows.canary import CanaryWorkflow
from workflows.contract import ContractWorkflow
from workflows.drift import DriftWorkflow
from workflows.guard import GuardInterceptor
from workflows.hook import HookWorkflow
from workflows.release import ReleaseWorkflow
from workflows.retire import RetireWorkflow
from workflows.stale import StaleWorkflow
from workflows.watch import WatchWorkflow

Activity = Callable[..., Any]


@dataclass(frozen=True)
class ActivitySet:
    """The activities of a worker, by task queue."""

    routers: Sequence[Activity]
    judging: Sequence[Activity]
    effects: Sequence[Activity]
    waiting: Sequence[Activity]
    deploying: Sequence[Activity]


WORKFLOWS: Sequence[type] = (
    ReleaseWorkflow,
    CanaryWorkflow,
    AdmissionWorkflow,
    DriftWorkflow,
    HookWorkflow,
    ContractWorkflow,
    RetireWorkflow,
    WatchWorkflow,
    StaleWorkflow,
)
STICKY_TIMEOUT = timedelta(seconds=1)
"""A killed worker's cached runs move on after this (the SDK's default is 10 s)."""
GRACE = timedelta(seconds=3)
_WAITING_SLOTS = 10_000
"""Waiting costs next to nothing; those without a slot notice a lost admission later."""
_DEPLOYING_SLOTS = 1_000
"""Versions of one process that are waited for at once: of a release of a thousand services, all."""


def deployed(version: WorkerDeploymentVersion | None) -> WorkerDeploymentConfig | None:
    """How a worker takes part in worker versioning; None: not at all.

    What does not say otherwise stays on the build that it began on. So do its activities: every
    queue is one of the deployment's.
    """
    if version is None:
        return None
    return WorkerDeploymentConfig(
        version=version,
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


@dataclass(frozen=True)
class WorkerOptions:
    """What the workers of a process have in common."""

    on_fatal: Callable[[BaseException], Awaitable[None]] | None = None
    """Told when a worker has failed for good, which may never come to its end."""
    version: WorkerDeploymentVersion | None = None
    """The build of this process; None without worker versioning."""
    grace: timedelta = GRACE
    """What activities that run are given to end, when the worker is to."""
    heartbeats_every: timedelta = timedelta(seconds=4)
    """The most that a heartbeat is held back; the server's word of a cancellation answers one."""


def build_workers(
    client: Client,
    settings: Settings,
    activities: ActivitySet,
    options: WorkerOptions = WorkerOptions(),
) -> list[Worker]:
    """One worker per queue: slow queries never take the place of a rollback.

    Router writes are on the queue of the workflows, and on none of their own: the worker that
    decides on a write then begins it at once, without asking the server for it.

    Args:
        client: of Temporal.
        settings: of the process.
        activities: what they do.
        options: what they have in common.
    """
    prefix = settings.main_queue
    common: dict[str, Any] = {
        "graceful_shutdown_timeout": options.grace,
        "max_heartbeat_throttle_interval": options.heartbeats_every,
        "on_fatal_error": options.on_fatal,
        "deployment_config": deployed(options.version),
    }
    return [
        Worker(
            client,
            task_queue=prefix,
            workflows=WORKFLOWS,
            activities=activities.routers,
            max_concurrent_activities=settings.router_slots,
            max_cached_workflows=settings.cached_runs,
            interceptors=[GuardInterceptor()],
            workflow_runner=sandbox(versioned=options.version is not None),
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            **common,
        ),
        Worker(
            client,
            task_queue=judging_queue(prefix),
            activities=activities.judging,
            max_concurrent_activities=settings.judging_slots,
            **common,
        ),
        Worker(client, task_queue=effects_queue(prefix), activities=activities.effects, **common),
        Worker(
            client,
            task_queue=waiting_queue(prefix),
            activities=activities.waiting,
            max_concurrent_activities=_WAITING_SLOTS,
            **common,
        ),
        Worker(
            client,
            task_queue=deploying_queue(prefix),
            activities=activities.deploying,
            max_concurrent_activities=_DEPLOYING_SLOTS,
            **common,
        ),
    ]
