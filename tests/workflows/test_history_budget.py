"""What each kind of stage costs in events of the canary's history: read from the stage table.

A history is what a new worker replays before it can roll back, so that each stage has a budget.
"""

from __future__ import annotations

import asyncio

import pytest

from schemas.ids import canary_workflow_id
from schemas.release import ReleasePhase
from schemas.stages import KINDS, Stage, When
from tests.workflows.kit import World
from tests.workflows.stage_examples import answered, prepare, with_stage
from workflows.stages import STAGES

SHORT = {"steps": [50], "bake": "0s"}
"""Preflight, two shifts, hold, promote."""
OWN = 6
"""Events of a run's beginning and end."""
GROWS = 6
"""Of a step before which the version gets more instances."""


async def events(world: World, kind: str) -> tuple[int, tuple[Stage, ...]]:
    """Of a canary with one more stage of this kind, and its stages."""
    stages: list[tuple[Stage, ...]] = []

    def reshape(planned: tuple[Stage, ...]) -> tuple[Stage, ...]:
        stages.append(with_stage(planned, kind))
        return stages[-1]

    name = kind.replace("_", "-")
    prepare(world, kind, world.service(name))
    release = await world.release({name: []}, strategy=SHORT, reshape=reshape)
    async with asyncio.timeout(60):
        await answered(release)
        assert (await release.result()).phase is ReleasePhase.FINALIZED
    canary = world.client.get_workflow_handle(canary_workflow_id(world.service(name)))
    return len((await canary.fetch_history()).events), stages[0]


def budget(stages: tuple[Stage, ...], *, routed: bool) -> int:
    left_out = When.UNROUTED if routed else When.CHANGED
    grows = GROWS if any(one.kind == "deploy" for one in stages) else 0
    return OWN + sum(
        STAGES[one.kind].most_events + (grows if one.kind == "shift" else 0)
        for one in stages
        if one.when is not left_out
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_no_stage_costs_more_events_than_its_budget(world: World, kind: str) -> None:
    found, stages = await events(world, kind)
    assert found <= budget(stages, routed=KINDS[kind].when is not When.UNROUTED)


async def test_a_step_costs_two_activities_and_a_workflow_task_after_each() -> None:
    assert STAGES["shift"].most_events + STAGES["bake"].most_events == 12
