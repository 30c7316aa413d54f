"""What must hold after an outage, asked of Envoy, of Temporal, of Kafka and of users."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from aviary.local import evidence
from schemas import ids
from schemas.release import CanaryPhase, CauseKind, ReleasePhase, ReleaseStatus
from tests.chaos.outages.releases import ALERTED, BAD, ENDS, SERVICES, Asked, Round
from tests.chaos.outages.site import Site
from tests.durability.parts import records

TOLD = {
    "dev.aviary.release.finalized.v1": ReleasePhase.FINALIZED,
    "dev.aviary.release.rolledback.v1": ReleasePhase.ROLLED_BACK,
}
_CAUSES = {BAD: (CauseKind.VERDICT, SERVICES[BAD][-1]), ALERTED: (CauseKind.ALERT, "inventory")}
_LOOKS = 50


async def broken_by(round_: Round, one: Asked, status: ReleaseStatus) -> list[str]:
    """What does not hold for one release."""
    site = round_.site
    broken = list(_ended_wrong(one, status))
    broken += await _routes(site, one, status)
    broken += await _left_over(site, one)
    broken += await _late_requests(site, one, status)
    told = await _told(site, one.id)
    if told != [status.phase]:
        broken.append(f"aviary.events: told {told}, and the release is {status.phase}")
    return broken


def _ended_wrong(one: Asked, status: ReleaseStatus) -> Iterator[str]:
    if status.phase is not ENDS[one.scenario]:
        yield f"ended {status.phase}, expected {ENDS[one.scenario]}: {status.cause}"
    forward = status.phase is ReleasePhase.FINALIZED
    back = {CanaryPhase.ROLLED_BACK, CanaryPhase.SKIPPED}
    for each in status.services:
        if each.phase not in ({CanaryPhase.FINALIZED} if forward else back):
            yield f"{each.service}: {each.phase} in a release that is {status.phase}"
    expected = _CAUSES.get(one.scenario)
    cause = status.cause
    if expected and (cause is None or (cause.kind, cause.service) != expected):
        yield f"cause: {cause}, expected {expected[0]} of {expected[1]}"


async def _routes(site: Site, one: Asked, status: ReleaseStatus) -> list[str]:
    """Wholly on one version: in the file, in Envoy's own configuration, and for a user."""
    broken = []
    for service, before in one.before.items():
        version = one.version if status.phase is ReleasePhase.FINALIZED else before
        route = await site.route(service)
        if (route.stable, route.canary, route.weight) != (version, None, 0):
            broken.append(f"{service}: {route}, expected {version} alone")
        routed = await evidence.clusters_routed(site, service)
        if not evidence.serves_only(routed, service, version):
            broken.append(f"{service}: Envoy routes to {routed}, expected {version} alone")
        served = {(await site.visit(service)).headers.get("x-served-by") for _ in range(5)}
        if served != {f"{service}/{version}"}:
            broken.append(f"{service}: users got {served}, expected {version}")
    return broken


async def _left_over(site: Site, one: Asked) -> list[str]:
    """Workflows that still run, and releases that ran twice."""
    broken = []
    for service in one.before:
        handle = site.client.get_workflow_handle(ids.canary_workflow_id(service))
        try:
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                broken.append(f"canary/{service} still runs")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
    query = f"WorkflowId = '{ids.release_workflow_id(one.id)}'"
    runs = [run.run_id async for run in site.client.list_workflows(query)]
    return broken if len(runs) == 1 else [*broken, f"runs of the release: {runs}, expected one"]


async def _late_requests(site: Site, one: Asked, status: ReleaseStatus) -> list[str]:
    """Requests that started on a version after its canary had ended as rolled back."""
    if status.phase is ReleasePhase.FINALIZED:
        return []
    versions: Mapping[str, Any] = (await site.load())["versions"]
    broken = []
    for service, canary in (await evidence.canaries(site.client, one.id)).items():
        last = versions.get(f"{service}/{one.version}", {}).get("last_started")
        if canary.ended is None:
            broken.append(f"canary/{service}: has not ended")
        elif last is not None and last > canary.ended:
            broken.append(
                f"{service}: a request started {last - canary.ended:.0f} ms after its end"
            )
    return broken


async def _told(site: Site, release: str) -> list[ReleasePhase]:
    """The ends that were published, each event once."""
    ends: dict[tuple[str, str], ReleasePhase] = {}
    for _ in range(_LOOKS):
        for record in await records(site.kafka, ids.TOPIC_EVENTS):
            event = json.loads(record.value)
            if event["partitionkey"] == release and event["type"] in TOLD:
                ends[event["source"], event["id"]] = TOLD[event["type"]]
        if ends:
            break
        await asyncio.sleep(0.1)
    return list(ends.values())


async def users_lost(round_: Round) -> int:
    """Requests that failed other than by the version that is ill."""
    versions: Mapping[str, Any] = (await round_.site.load())["versions"]
    ill = "/".join(round_.bad)
    return sum(seen["failed"] for name, seen in versions.items() if name != ill)


async def broken_for_all(round_: Round, excused: int) -> list[str]:
    """What does not hold for the site as a whole.

    Args:
        round_: the releases, all ended.
        excused: requests that were lost to the router's own death.
    """
    site, broken = round_.site, []
    lost = await users_lost(round_) - excused
    if lost:
        versions = (await site.load())["versions"]
        seen = Counter({name: one["failed"] for name, one in versions.items() if one["failed"]})
        broken.append(f"users: {lost} requests failed: {dict(seen)}")
    keys = {record.key for record in await records(site.kafka, ids.TOPIC_DEADLETTERS)}
    if round_.junk not in keys:
        broken.append(f"{round_.junk!r} was neither acted upon nor is it a dead letter")
    while not site.supervisor.deaths.empty():
        broken.append(f"died: {site.supervisor.deaths.get_nowait().epitaph()}")
    return broken
