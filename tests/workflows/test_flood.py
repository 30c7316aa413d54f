"""Fifty wait for one service, and a release of another does not notice."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from temporalio.service import RPCError

from schemas.admission import AdmissionState
from schemas.ids import QUERY_STATUS, admission_workflow_id
from schemas.release import ReleasePhase
from tests.workflows.kit import World, eventually

MANY = 50
AT_ONCE = 8
WITHIN_S = 90
"""It takes a second or two beside fifty in the queue; it took minutes."""


async def waiting(world: World) -> int:
    handle = world.client.get_workflow_handle(admission_workflow_id(world.queue))
    state: AdmissionState = await handle.query(QUERY_STATUS, result_type=AdmissionState)
    return state.wait


@pytest.mark.timeout(1200)
async def test_a_free_service_is_admitted_while_fifty_wait_for_another(world: World) -> None:
    world.judge.blocked.add((world.service("a"), 10))
    # A busy machine takes longer than the usual minute until all of them wait.
    bake = {"min": "0s", "max": "1h"}
    first = await world.release({"a": []}, strategy={"steps": [10], "bake": bake})
    await first.until(a="baking")
    starting = asyncio.Semaphore(AT_ONCE)

    async def queue(number: int) -> None:
        async with starting:
            await world.release({"a": []}, version=f"{number + 3}", metrics=False)

    await asyncio.gather(*(queue(number) for number in range(MANY)))

    async def all_wait() -> bool:
        with suppress(RPCError):  # the worker is busy
            return await waiting(world) == MANY
        return False

    await eventually(all_wait, within=500)
    took = [await _took(world, f"free-{number}") for number in range(3)]
    assert max(took) < WITHIN_S
    world.judge.blocked.clear()
    assert (await first.result()).phase is ReleasePhase.FINALIZED


async def _took(world: World, service: str) -> float:
    began = time.monotonic()
    release = await world.release({service: []}, strategy={"steps": [50], "bake": "0s"})
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    return time.monotonic() - began
