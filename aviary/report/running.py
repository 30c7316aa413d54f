"""The points of bakes that still go on, from the judges' heartbeats: no worker is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.judge import JUDGE
from analysis.judge import Judge
from analysis.trail import columns, of_judge
from aviary.history.events import decoded
from schemas.ids import canary_workflow_id
from schemas.release import ServicePlan
from schemas.timeline import ServiceStory, Timeline

_AT_ONCE: Final = 10


async def with_running(client: Client, timeline: Timeline) -> Timeline:
    """The same story, with what the bakes that go on have seen so far.

    Raises:
        RPCError: Temporal can't answer.
    """
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(story: ServiceStory) -> ServiceStory:
        async with limit:
            return with_kept(story, await _kept(client, story))

    found = await asyncio.gather(*(one(story) for story in timeline.services.values()))
    services = {story.plan.service: story for story in found}
    return timeline.model_copy(update={"services": services})


def with_kept(story: ServiceStory, kept: Any) -> ServiceStory:
    """The story of a service whose last judging goes on, with the trail that its judge kept."""
    trail = trail_of_kept(story.plan, kept)
    if trail is None or not story.judgings or story.judgings[-1].ended_at is not None:
        return story
    last = story.judgings[-1].model_copy(update={"trail": trail})
    return story.model_copy(update={"judgings": (*story.judgings[:-1], last)})


def trail_of_kept(plan: ServicePlan, kept: Any) -> dict[str, Any] | None:
    """The trail in what a judge keeps for another attempt; None for another version's."""
    if not isinstance(kept, Mapping) or kept.get("trail") is None:
        return None
    try:
        judge = Judge.load(plan.judge, plan.metrics, kept)
    except ValueError:
        return None
    return columns(of_judge(judge, kept["trail"]), judge)


async def _kept(client: Client, story: ServiceStory) -> Any:
    """The first part of the judge's heartbeat; None where none runs."""
    if not story.judgings or story.judgings[-1].ended_at is not None:
        return None
    service, run_id = story.plan.service, story.judgings[-1].run_id
    try:
        handle = client.get_workflow_handle(canary_workflow_id(service), run_id=run_id)
        described = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    for pending in described.raw_description.pending_activities:
        details = pending.heartbeat_details.payloads
        if pending.activity_type.name == JUDGE and details:
            return decoded(details[0])
    return None
