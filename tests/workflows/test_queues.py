"""The workers of one process: what settings make of them."""

from __future__ import annotations

from uuid import uuid4

from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from aviary.queues import ActivitySet, build_workers
from aviary.settings import load_settings


@activity.defn(name="nothing")
async def nothing() -> None:
    """Do nothing."""


async def test_slots_and_cache_are_as_set(server: WorkflowEnvironment) -> None:
    queue = f"test-{uuid4()}"  # of its own: two workers of one process may not share one
    changed = {"task_queue": queue, "cached_runs": 7, "router_slots": 3, "judging_slots": 5}
    settings = load_settings().model_copy(update=changed)
    activities = ActivitySet(*[[nothing]] * 5)
    main, judging, *_ = (one.config() for one in build_workers(server.client, settings, activities))
    assert main["max_cached_workflows"] == 7
    assert main["max_concurrent_activities"] == 3
    assert judging["max_concurrent_activities"] == 5
