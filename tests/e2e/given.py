"""The words of the end-to-end tests: what is put up, asked for and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from temporalio.client import Client
from temporalio.service import RPCError

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
    before: dict[str, dict[str, int]] = field(default_factory=dict)
    """What Envoy routed before, by service."""


@asynccontextmanager
async def versions_up(
    shop: Stack, *services: str, faults: Mapping[str, Fault] | None = None
) -> AsyncIterator[Release]:
    """A new version of each service is up and has no traffic; afterwards the unused are down."""
    number = next(_NUMBERS)
    release = Release(f"release-{number}", dict.fromkeys(services, f"2.{number}.0"))
    await shop.reset_load()
    for service, version in release.versions.items():
        release.before[service] = await evidence.clusters_routed(shop, service)
        await shop.deploy(service, version, (faults or {}).get(service))
    yield release
    for service, version in shop.versions:
        if service in release.versions:
            routed = await evidence.clusters_routed(shop, service)
            if not evidence.serves_only(routed, service, version):
                await shop.retire(service, version)


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
