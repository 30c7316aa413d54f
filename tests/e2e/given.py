"""The words of the end-to-end tests: what is put up, asked for and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from temporalio.client import Client
from temporalio.service import RPCError

from adapters.routers.envoy.names import pool_name
from aviary.local import evidence
from aviary.local.shop import Fault
from aviary.local.stack import Stack
from schemas import ids
from schemas.release import CanaryPhase, ReleaseStatus

_NUMBERS = count(1)
_WITHIN_S = 120.0


@dataclass
class Release:
    """A release that a test asked for."""

    id: str
    versions: Mapping[str, str]
    faults: Mapping[str, Fault] = field(default_factory=dict)
    """What is wrong with the new versions of some services."""
    before: dict[str, dict[str, int]] = field(default_factory=dict)
    """What Envoy routed before, by service."""


async def new_versions(
    shop: Stack, *services: str, faults: Mapping[str, Fault] | None = None
) -> Release:
    """A release of a new version of each service, which nobody was asked for yet."""
    number = next(_NUMBERS)
    release = Release(f"release-{number}", dict.fromkeys(services, f"2.{number}.0"), faults or {})
    await shop.reset_load()
    for service in release.versions:
        release.before[service] = await evidence.clusters_routed(shop, service)
    return release


async def request(shop: Stack, release: Release, strategy: str | None = None) -> None:
    """Ask for it, as a pipeline does."""
    await shop.request(release.id, release.versions, strategy, release.faults)


async def settled(shop: Stack, *services: str) -> None:
    """Wait until no version of the services is up but those that the router gives requests to."""
    async with asyncio.timeout(_WITHIN_S):
        for service in services:
            while not await _is_settled(shop, service):  # noqa: ASYNC110 - others are asked
                await asyncio.sleep(0.2)


async def _is_settled(shop: Stack, service: str) -> bool:
    routed = await shop.front.routed(service)
    return all(routed.get(pool_name(service, version)) for version in await shop.up(service))


async def until(
    client: Client, release: Release, told: Callable[[ReleaseStatus], bool]
) -> ReleaseStatus:
    """Ask a release where it is until that is so."""
    async with asyncio.timeout(_WITHIN_S):
        while True:
            status = await _asked(client, release)
            if status is not None and told(status):
                return status
            await asyncio.sleep(0.1)


async def _asked(client: Client, release: Release) -> ReleaseStatus | None:
    """None while it has not begun, or no worker answers."""
    handle = client.get_workflow_handle(ids.release_workflow_id(release.id))
    try:
        status: ReleaseStatus = await handle.query(ids.QUERY_STATUS, result_type=ReleaseStatus)
    except RPCError:
        return None
    return status


async def ended(client: Client, release: Release) -> ReleaseStatus:
    """Wait for a release's end."""
    await until(client, release, lambda status: status.phase.closed)
    return await evidence.status(client, release.id)


def phase(status: ReleaseStatus, service: str) -> CanaryPhase:
    """Where a service is."""
    return next(one.phase for one in status.services if one.service == service)
