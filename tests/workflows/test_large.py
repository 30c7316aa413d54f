"""A release of a thousand services that each spell out their own metrics, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from aviary.bridge.temporal import TemporalGateway
from aviary.catalogs import make_catalog
from schemas.deploy import DeployRequested
from schemas.ids import release_workflow_id
from schemas.release import CanaryPhase, ReleasePhase, ReleasePlan, ReleaseStatus
from tests.workflows.kit import QUICK, Release, World, eventually
from workflows.planning import plan_release

SERVICES = 1000
METRICS = 8
AT_ONCE = 20


def _metrics(service: str) -> list[dict[str, Any]]:
    """Eight kilobytes of PromQL that no other service has."""
    found = []
    for number in range(METRICS):
        paths = "|".join(f"/api/v1/{service}/{number}/{at}" for at in range(25))
        query = f'http_requests_total{{service="{service}",pool="{{{{pool}}}}",path=~"{paths}"}}'
        found.append({"kind": "threshold", "name": f"m{number}", "value": query, "limit": 1})
    return found


def _plan(world: World) -> ReleasePlan:
    names = [world.service(f"s{at}") for at in range(SERVICES)]
    catalog = make_catalog(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "strategy": "test"},
            "strategies": {"test": {"steps": [{"weight": 10, "gate": True}]}},
            "services": {name: {"metrics": _metrics(name)} for name in names},
            "max_parallel": AT_ONCE,
        }
    )
    services = [{"service": name, "version": "2"} for name in names]
    deploy = DeployRequested.model_validate(
        {"release": world.service("large"), "services": services}
    )
    return plan_release(catalog, deploy)


@pytest.fixture
async def release(world: World) -> AsyncIterator[Release]:
    plan = _plan(world)
    gateway = TemporalGateway(world.client, world.queue, QUICK)
    assert await gateway.start(plan, "digest", "request")
    assert not await gateway.start(plan, "digest", "another request")  # it is known
    handle = world.client.get_workflow_handle(
        release_workflow_id(plan.release), result_type=ReleaseStatus
    )
    yield Release(world, handle)
    await handle.terminate("the test is over")


@pytest.mark.timeout(800)
async def test_a_thousand_services_with_their_own_metrics_begin(release: Release) -> None:
    async def begun() -> bool:
        status = await release.status()
        return sum(one.phase is CanaryPhase.GATED for one in status.services) == AT_ONCE

    await eventually(begun, within=600)
    status = await release.status()
    assert status.phase is ReleasePhase.RUNNING
    assert len(status.services) == SERVICES
    assert len(status.model_dump_json()) < 2_000_000
