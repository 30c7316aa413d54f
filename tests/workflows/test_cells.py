"""Two cells in one namespace, with the same services and release ids: neither sees the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial

import pytest
from prometheus_client import CollectorRegistry
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.drift import DriftInput, DriftReport
from aviary.attributes import ensure_attributes
from aviary.bridge.temporal import TemporalGateway
from aviary.history.fetch import fetch_timeline
from aviary.releases.finding import Filters
from aviary.releases.remote import Releases
from aviary.settings import Settings
from aviary.telemetry.census import Census
from schemas.ids import (
    NO_CELL,
    Cell,
    admission_workflow_id,
    canary_workflow_id,
    drift_schedule_id,
)
from schemas.release import ReleasePhase
from tests.workflows.kit import QUICK, Release, World, eventually
from workflows.drift import DRIFT_WORKFLOW

CHAIN = {"ledger": [], "payments": ["ledger"]}
GATED = {"steps": [{"weight": 50, "gate": "is it green?"}], "bake": "100ms"}
CELLS = (NO_CELL, Cell("eu"), Cell("us"))


@pytest.fixture
async def worlds(server: WorkflowEnvironment) -> AsyncIterator[Sequence[World]]:
    """One a cell, with the same names of everything."""
    here = [World(server.client, cell) for cell in CELLS]
    async with AsyncExitStack() as stack:
        for world in here:
            world._suffix = here[0]._suffix
            await stack.enter_async_context(world.working())
        yield here


async def test_cells_share_a_namespace_and_nothing_else(worlds: Sequence[World]) -> None:
    assert await ensure_attributes(worlds[0].client)
    listed = QUICK.model_copy(update={"search_attributes": True})
    name = f"same{worlds[0]._suffix}"
    releases = [
        await one.release(CHAIN, strategy=GATED, name=name, tuning=listed) for one in worlds
    ]
    await asyncio.gather(*(one.until(ledger="gated") for one in releases))
    service = worlds[0].service("ledger")

    for world in worlds:
        await _sees_its_own(world, name, service)
    await releases[1].alert("ledger")
    assert (await releases[1].result()).phase is ReleasePhase.ROLLED_BACK
    assert await releases[0].phases() == await releases[2].phases()
    assert (await releases[0].phases())["ledger"] == "gated"
    assert [world.router.weights(service)[-1] for world in worlds] == [50, 0, 50]

    other = await worlds[1].release(CHAIN, strategy=GATED, name=f"next{name}", version="3")
    await other.until(ledger="gated")  # another cell's release of the same services is no reason
    timeline = await fetch_timeline(worlds[1].client, name, cell=worlds[1].cell)
    assert timeline.release == name
    await _end(releases[0], releases[2], other)


async def _sees_its_own(world: World, name: str, service: str) -> None:
    gateway = TemporalGateway(world.client, world.queue, QUICK, world.cell)
    canary = world.client.get_workflow_handle(canary_workflow_id(service, world.cell))
    assert await gateway.canary(service) == (await canary.describe()).run_id
    settings = Settings(cell=world.cell.name, task_queue=world.queue.removeprefix(str(world.cell)))
    assert settings.main_queue == world.queue
    registry = CollectorRegistry()
    census = Census(world.client, registry, cell=world.cell)
    query = Filters(services=(service,))

    async def listed() -> bool:
        found = await Releases(world.client, settings).find(query, 10)
        await census.ask()
        counted = registry.get_sample_value("aviary_releases_running", {"state": "running"})
        alone = counted == 1 or world.cell == NO_CELL  # there other tests' releases run as well
        return [one.release for one in found] == [name] and found[0].running and alone

    await eventually(listed)
    await eventually(partial(_canaries, gateway, service))
    admission = admission_workflow_id(world.queue, world.cell)
    state = await world.client.get_workflow_handle(admission).query("status")
    assert [entry["release"] for entry in state["holding"]] == [name]


async def _canaries(gateway: TemporalGateway, service: str) -> bool:
    return (await gateway.running()).count(service) == 1


async def test_a_drift_check_looks_for_canaries_of_its_cell(worlds: Sequence[World]) -> None:
    bare, eu, _ = worlds
    left = await eu.release({"ledger": []}, strategy=GATED)
    await left.until(ledger="gated")
    looked_after = await bare.release({"ledger": []}, strategy=GATED)
    await looked_after.until(ledger="gated")
    await left.handle.terminate()
    await _terminated(eu.client, left.canary("ledger").id)

    reports = [await _check(one) for one in (bare, eu)]
    assert [len(one.found) for one in reports] == [0, 1]
    await eventually(lambda: eu.router.weights(eu.service("ledger"))[-1] == 0)
    assert bare.router.weights(bare.service("ledger"))[-1] == 50
    await _end(looked_after)


async def _terminated(client: Client, workflow_id: str) -> None:
    await client.get_workflow_handle(workflow_id).terminate()


async def _check(world: World) -> DriftReport:
    report: DriftReport = await world.client.execute_workflow(
        DRIFT_WORKFLOW,
        DriftInput(tuning=QUICK),
        id=f"{drift_schedule_id(world.cell)}-{world.queue}",
        task_queue=world.queue,
        result_type=DriftReport,
    )
    return report


async def _end(*releases: Release) -> None:
    for one in releases:
        await one.handle.cancel()
        await one.result()
