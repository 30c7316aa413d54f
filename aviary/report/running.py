"""The points of bakes that still go on, from the judges' heartbeats: no worker is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.judge import JUDGE
from analysis.evidence_series import columns, of_judge
from analysis.judge import Judge
from aviary.history.events import decoded
from schemas.ids import NO_CELL, Cell, canary_workflow_id
from schemas.release import ServicePlan
from schemas.timeline import ServiceTimeline, Timeline

_AT_ONCE: Final = 10


async def with_running(client: Client, timeline: Timeline, *, cell: Cell = NO_CELL) -> Timeline:
    """The same timeline, with what the bakes that go on have seen so far.

    Raises:
        RPCError: Temporal can't answer.
    """
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(service: ServiceTimeline) -> ServiceTimeline:
        async with limit:
            return with_kept(service, await _kept(client, service, cell))

    found = await asyncio.gather(*(one(service) for service in timeline.services.values()))
    services = {service.plan.service: service for service in found}
    return timeline.model_copy(update={"services": services})


def with_kept(service: ServiceTimeline, kept: Any) -> ServiceTimeline:
    """A service whose last judging goes on, with the evidence series that its judge kept."""
    evidence_series = evidence_series_of_kept(service.plan, kept)
    if evidence_series is None or not service.judgings or service.judgings[-1].ended_at is not None:
        return service
    last = service.judgings[-1].model_copy(update={"evidence_series": evidence_series})
    return service.model_copy(update={"judgings": (*service.judgings[:-1], last)})


def evidence_series_of_kept(plan: ServicePlan, kept: Any) -> dict[str, Any] | None:
    """The evidence series in what a judge keeps for another attempt; None for another version's."""
    if not isinstance(kept, Mapping) or kept.get("evidence_series") is None:
        return None
    try:
        judge = Judge.load(plan.judge, plan.metrics, kept)
    except ValueError:
        return None
    return columns(of_judge(judge, kept["evidence_series"]), judge)


async def _kept(client: Client, service: ServiceTimeline, cell: Cell) -> Any:
    """The first part of the judge's heartbeat; None where none runs."""
    if not service.judgings or service.judgings[-1].ended_at is not None:
        return None
    name, run_id = service.plan.service, service.judgings[-1].run_id
    try:
        handle = client.get_workflow_handle(canary_workflow_id(name, cell), run_id=run_id)
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
