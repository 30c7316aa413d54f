"""What the real parts say of a release.

The router's own configuration and counters, Temporal's own histories, Alertmanager's alerts. The
demo and the end-to-end tests believe nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.traffic import APPLY
from adapters.routers.envoy.names import pool_name
from aviary.local.fronts.front import PoolCount
from aviary.local.http1 import fetch
from aviary.local.stack import Stack
from schemas import ids
from schemas.release import ReleaseStatus

_STARTED: Final = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED


@dataclass(frozen=True)
class Canary:
    """One canary as its history tells it; moments are milliseconds since 1970."""

    service: str
    signals: Mapping[str, float]
    """When the first signal of each name came."""
    written: float | None
    """When the router last confirmed a route: for one that went back, that stable has all."""
    ended: float | None

    @property
    def told_to_go_back(self) -> float | None:
        """When its release ordered it back."""
        return self.signals.get(ids.SIGNAL_ORDER_ROLLBACK)


async def canaries(client: Client, release: str) -> dict[str, Canary]:
    """Every canary that a release began, by service, from Temporal's histories."""
    events = await _history(client, ids.release_workflow_id(release), None)
    runs: dict[str, str] = {}
    for event in events:
        if event.event_type == _STARTED:
            child = event.child_workflow_execution_started_event_attributes.workflow_execution
            runs[child.workflow_id] = child.run_id
    found = [await _canary(client, workflow, run) for workflow, run in runs.items()]
    return {canary.service: canary for canary in found}


async def status(client: Client, release: str) -> ReleaseStatus:
    """The result of a finished release, as Temporal keeps it.

    Raises:
        temporalio.client.WorkflowFailureError: it ended otherwise.
    """
    handle = client.get_workflow_handle(ids.release_workflow_id(release), result_type=ReleaseStatus)
    found: ReleaseStatus = await handle.result()
    return found


async def clusters_routed(stack: Stack, service: str) -> dict[str, int]:
    """Pools that the router's own configuration gives a service's requests to, with their weights.

    Weights are in 1/10,000. Pools that a request must ask for (header, cookie) are left out. Where
    a pool has a fallback, the pool counts.
    """
    return await stack.front.routed(service)


async def pool_counts(stack: Stack) -> Mapping[str, PoolCount]:
    """The router's own counters by pool; zero for one that it does not know."""
    return await stack.front.counts()


async def alert_received(stack: Stack, service: str, version: str) -> float | None:
    """When Alertmanager took the alert on a version, milliseconds since 1970; None: not yet."""
    response = await fetch(stack.ports.alertmanager, "/api/v2/alerts")
    for alert in json.loads(response.body):
        labels = alert["labels"]
        if (labels.get("service"), labels.get("version")) == (service, version):
            return datetime.fromisoformat(alert["updatedAt"]).timestamp() * 1000
    return None


def serves_only(routed: Mapping[str, int], service: str, version: str) -> bool:
    """Whether a service's requests all go to one version."""
    return {pool for pool, weight in routed.items() if weight} == {pool_name(service, version)}


def out_of_order(found: Mapping[str, Canary], depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Pairs that went back in the wrong order.

    Empty if each was told to go back only after the router had confirmed that the traffic of every
    service that depends on it was back. One that never had traffic is in nobody's way.
    """
    wrong = []
    for service, needs in depends_on.items():
        for need in needs:
            if service not in found or need not in found:
                continue
            back, told = found[service].written, found[need].told_to_go_back
            if back is not None and (told is None or told < back):
                wrong.append(f"{need} before {service}")
    return wrong


async def _canary(client: Client, workflow: str, run: str) -> Canary:
    return read_canary(workflow, await _history(client, workflow, run))


def read_canary(workflow: str, events: Sequence[HistoryEvent]) -> Canary:
    """Read one canary's history."""
    signals: dict[str, float] = {}
    writes: set[int] = set()
    written: float | None = None
    ended: float | None = None
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                name = event.workflow_execution_signaled_event_attributes.signal_name
                signals.setdefault(name, _moment(event))
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                if scheduled.activity_type.name == APPLY:
                    writes.add(event.event_id)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed = event.activity_task_completed_event_attributes
                if completed.scheduled_event_id in writes:
                    written = _moment(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                ended = _moment(event)
    service = workflow.removeprefix(ids.canary_workflow_id(""))
    return Canary(service, signals, written, ended)


async def _history(client: Client, workflow: str, run: str | None) -> list[HistoryEvent]:
    handle = client.get_workflow_handle(workflow, run_id=run)
    return list((await handle.fetch_history()).events)


def _moment(event: HistoryEvent) -> float:
    return event.event_time.ToDatetime(tzinfo=UTC).timestamp() * 1000
